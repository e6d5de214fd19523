//! How fast statuses that sum things up are written: counts change with every machine, and nobody
//! reads them that fast.
//!
//! One such write every two seconds for all objects together, after a burst; and no object more often than
//! every few seconds. A change of a condition does not wait here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// No object's counts are written more often.
const EACH: Duration = Duration::from_secs(5);
/// Between two writes of counts, whatever the object, once the burst is used up.
const ALL: Duration = Duration::from_secs(2);
/// How many writes may come at once: a small data centre never waits.
const BURST: u32 = 30;

#[derive(Default)]
pub struct Pace {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: HashMap<Uuid, Instant>,
    /// When the next write would be due if writes came evenly.
    next: Option<Instant>,
}

impl Pace {
    /// Takes leave to write the counts of an object now, or says how long to wait.
    pub fn take(&self, object: Uuid) -> Result<(), Duration> {
        self.take_at(object, Instant::now())
    }

    fn take_at(&self, object: Uuid, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .last
            .retain(|_, last| now.duration_since(*last) < EACH);
        if let Some(last) = state.last.get(&object) {
            return Err(EACH.saturating_sub(now.duration_since(*last)));
        }
        let next = state.next.map_or(now, |next| next.max(now));
        let ahead = next.duration_since(now);
        let allowed = ALL * BURST;
        if ahead > allowed {
            return Err(ahead - allowed);
        }
        state.next = Some(next + ALL);
        state.last.insert(object, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_waits_and_many_are_slowed_down_together() {
        let (pace, start) = (Pace::default(), Instant::now());
        let object = Uuid::from_u128(1);
        assert_eq!(pace.take_at(object, start), Ok(()));
        assert_eq!(pace.take_at(object, start), Err(EACH));
        assert_eq!(pace.take_at(object, start + EACH), Ok(()));

        let takes = |from: u128, now: Instant| {
            let objects = (from..from + 200).map(Uuid::from_u128);
            objects
                .filter(|object| pace.take_at(*object, now).is_ok())
                .count()
        };
        let burst = BURST as usize;
        let now = start + EACH;
        assert!((burst - 2..=burst + 2).contains(&takes(1000, now)));
        assert_eq!(takes(2000, now), 0);
        let later = takes(3000, now + ALL * 10);
        assert!((9..=11).contains(&later), "{later}");
    }
}
