//! When a failed key is tried again: pauses that double from half a second to a minute.
//!
//! Time comes in as an argument. A key that is given something new to do (another hash, a release)
//! is tried at once.

use std::collections::BTreeMap;
use std::time::Duration;

use dc_types::plan::ItemKey;
use dc_types::report::Trouble;

/// Long enough that a failing tool is not hammered, short enough that a passing fault is not seen.
pub const FIRST: Duration = Duration::from_millis(500);
/// A fault that lasts is looked at once a minute.
pub const LAST: Duration = Duration::from_secs(60);

/// The pause after so many failures in a row, without jitter.
#[must_use]
pub fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LAST)
}

/// What a key was last asked to do, so that something new is recognised.
pub type Asked = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Failed {
    failures: u32,
    /// Time since the agent started.
    not_before: Duration,
    asked: Asked,
    trouble: Trouble,
}

/// Keys whose last attempt failed.
#[derive(Clone, Debug, Default)]
pub struct Failures(BTreeMap<ItemKey, Failed>);

impl Failures {
    /// Notes a failure. `now` is time since the agent started.
    pub fn failed(&mut self, key: ItemKey, asked: Asked, now: Duration, trouble: Trouble) {
        let before = self.0.get(&key).filter(|f| f.asked == asked);
        let failures = before.map_or(0, |f| f.failures).saturating_add(1);
        let failed = Failed {
            failures,
            not_before: now + pause(failures),
            asked,
            trouble,
        };
        self.0.insert(key, failed);
    }

    pub fn succeeded(&mut self, key: &ItemKey) {
        self.0.remove(key);
    }

    /// Forgets keys for which nothing is left to do.
    pub fn retain(&mut self, keep: impl Fn(&ItemKey) -> bool) {
        self.0.retain(|key, _| keep(key));
    }

    /// Whether a key may be tried now.
    #[must_use]
    pub fn may_try(&self, key: &ItemKey, asked: Asked, now: Duration) -> bool {
        self.0
            .get(key)
            .is_none_or(|f| f.asked != asked || f.not_before <= now)
    }

    /// When the next key may be tried again, after `now`.
    #[must_use]
    pub fn next_try(&self, now: Duration) -> Option<Duration> {
        let next = self.0.values().map(|f| f.not_before);
        next.filter(|&at| at > now).min()
    }

    /// The last failure of each key.
    #[must_use]
    pub fn troubles(&self) -> BTreeMap<ItemKey, Trouble> {
        let one = |(key, failed): (&ItemKey, &Failed)| (*key, failed.trouble.clone());
        self.0.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_types::plan::ItemKind;
    use uuid::Uuid;

    fn key() -> ItemKey {
        ItemKey::new(ItemKind::Vm, Uuid::from_u128(1))
    }

    fn trouble() -> Trouble {
        Trouble {
            reason: "StartFailed".into(),
            message: "no".into(),
        }
    }

    #[test]
    fn pauses_double_and_end_at_a_minute() {
        let pauses: Vec<u128> = (0..9).map(|n| pause(n).as_millis()).collect();
        assert_eq!(
            pauses,
            [500, 500, 1000, 2000, 4000, 8000, 16000, 32000, 60000]
        );
        assert_eq!(pause(u32::MAX), LAST);
    }

    #[test]
    fn a_failed_key_waits_and_something_new_does_not() {
        let mut failures = Failures::default();
        let at = Duration::from_secs;
        failures.failed(key(), 1, at(10), trouble());
        assert!(!failures.may_try(&key(), 1, at(10)));
        assert!(failures.may_try(&key(), 1, at(11)));
        assert!(failures.may_try(&key(), 2, at(10)), "another hash");
        assert_eq!(failures.next_try(at(10)), Some(at(10) + FIRST));
        failures.failed(key(), 1, at(11), trouble());
        assert_eq!(failures.next_try(at(11)), Some(at(12)));
        failures.failed(key(), 2, at(12), trouble());
        assert_eq!(failures.next_try(at(12)), Some(at(12) + FIRST));
        failures.succeeded(&key());
        assert!(failures.troubles().is_empty());
    }
}
