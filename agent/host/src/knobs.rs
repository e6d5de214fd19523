//! Knobs on the fakes: make any call of any tool fail, hang, lose its answer or end the process.
//!
//! Every call of a fake asks [`Knobs::gate`] first, under a name such as `tgt.create_target`. A
//! fake whose call changes something asks [`Knobs::answer`] after the change, so that a test can
//! have the effect without the answer. Rules are kept by pattern: a call's full name, a tool
//! (`tgt.*`) or everything (`*`); the most exact one that applies decides.
//!
//! "The process dies here" is an error like another: from then on every call fails in the same
//! way, until the test starts a new agent over the same fakes and calls [`Knobs::revive`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Notify;

/// What a knob did to a call.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Injected {
    #[error("{call} failed as told: {message}")]
    Failure { call: String, message: String },
    /// Nothing after this point happened: the process counts as dead.
    #[error("the process was cut off at {call}")]
    CutOff { call: String },
}

/// What happens to the calls a rule applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The call has no effect and returns this error.
    Fail { message: String },
    /// The call takes effect, and returns this error all the same.
    LoseAnswer { message: String },
    /// The call does not return until the rule is gone.
    Hang,
    /// The call and all after it have no effect.
    CutOff,
}

/// A rule for the calls of one pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub action: Action,
    /// Calls that pass before the rule begins to bite.
    #[serde(default)]
    pub skip: u64,
    /// How many calls it bites; all when absent.
    #[serde(default)]
    pub times: Option<u64>,
}

impl Rule {
    #[must_use]
    pub fn fail_always() -> Self {
        Self::of(Action::Fail {
            message: "injected".into(),
        })
    }

    #[must_use]
    pub fn fail_once() -> Self {
        Self {
            times: Some(1),
            ..Self::fail_always()
        }
    }

    #[must_use]
    pub fn lose_answer_once() -> Self {
        Self {
            times: Some(1),
            ..Self::of(Action::LoseAnswer {
                message: "the answer was lost".into(),
            })
        }
    }

    #[must_use]
    pub fn hang() -> Self {
        Self::of(Action::Hang)
    }

    /// The process dies at the call after `calls` others.
    #[must_use]
    pub fn cut_off_after(calls: u64) -> Self {
        Self {
            skip: calls,
            ..Self::of(Action::CutOff)
        }
    }

    fn of(action: Action) -> Self {
        Self {
            action,
            skip: 0,
            times: None,
        }
    }
}

/// The knobs of one host's fakes; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Knobs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Woken when a rule is set or cleared: hanging calls look again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    rules: BTreeMap<String, Rule>,
    counts: BTreeMap<String, u64>,
    dead: bool,
    /// Calls whose effect is let through and whose answer is then lost.
    losing: BTreeMap<String, String>,
}

enum Verdict {
    Pass,
    Hang,
}

impl Knobs {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rule of a pattern, in place of the one it had.
    pub fn set(&self, pattern: impl Into<String>, rule: Rule) {
        self.state().rules.insert(pattern.into(), rule);
        self.0.changed.notify_waiters();
    }

    /// Takes a pattern's rule away; hanging calls go on.
    pub fn clear(&self, pattern: &str) {
        self.state().rules.remove(pattern);
        self.0.changed.notify_waiters();
    }

    /// Takes all rules away and ends a cut-off: the next process may call again.
    pub fn revive(&self) {
        let mut state = self.state();
        state.rules.clear();
        state.losing.clear();
        state.dead = false;
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// How often a call was made, whatever became of it.
    #[must_use]
    pub fn count(&self, call: &str) -> u64 {
        self.state().counts.get(call).copied().unwrap_or_default()
    }

    /// How often each call was made.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.state().counts.clone()
    }

    /// Whether a cut-off has happened.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        self.state().dead
    }

    /// Asked by a fake before a call does anything.
    pub async fn gate(&self, call: &str) -> Result<(), Injected> {
        *self.state().counts.entry(call.to_owned()).or_default() += 1;
        loop {
            // Registered before looking, so that a change in between is not missed.
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            let verdict = self.state().judge(call)?;
            match verdict {
                Verdict::Pass => return Ok(()),
                Verdict::Hang => changed.await,
            }
        }
    }

    /// Asked by a fake after a call has taken effect.
    pub fn answer(&self, call: &str) -> Result<(), Injected> {
        match self.state().losing.remove(call) {
            None => Ok(()),
            Some(message) => Err(Injected::Failure {
                call: call.to_owned(),
                message,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn judge(&mut self, call: &str) -> Result<Verdict, Injected> {
        let cut_off = || Injected::CutOff {
            call: call.to_owned(),
        };
        if self.dead {
            return Err(cut_off());
        }
        let tool = call.split('.').next().unwrap_or(call);
        let patterns = [call.to_owned(), format!("{tool}.*"), "*".to_owned()];
        let Some(pattern) = patterns.iter().find(|p| self.rules.contains_key(*p)) else {
            return Ok(Verdict::Pass);
        };
        let rule = self.rules.get_mut(pattern).expect("it was found just now");
        if rule.skip > 0 {
            rule.skip -= 1;
            return Ok(Verdict::Pass);
        }
        let action = rule.action.clone();
        if action != Action::Hang
            && let Some(times) = &mut rule.times
        {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.rules.remove(pattern);
            }
        }
        match action {
            Action::Fail { message } => Err(Injected::Failure {
                call: call.to_owned(),
                message,
            }),
            Action::LoseAnswer { message } => {
                self.losing.insert(call.to_owned(), message);
                Ok(Verdict::Pass)
            }
            Action::Hang => Ok(Verdict::Hang),
            Action::CutOff => {
                self.dead = true;
                Err(cut_off())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_call_fails_once_and_then_passes() {
        let knobs = Knobs::new();
        knobs.set("tgt.create_target", Rule::fail_once());
        assert!(knobs.gate("tgt.create_target").await.is_err());
        assert!(knobs.gate("tgt.create_target").await.is_ok());
        assert_eq!(knobs.count("tgt.create_target"), 2);
        assert_eq!(knobs.count("tgt.delete_target"), 0);
    }

    #[tokio::test]
    async fn the_most_exact_pattern_decides() {
        let knobs = Knobs::new();
        knobs.set("*", Rule::fail_always());
        knobs.set("tgt.*", Rule::cut_off_after(u64::MAX));
        assert!(knobs.gate("nft.apply").await.is_err());
        assert!(knobs.gate("tgt.list").await.is_ok());
    }

    #[tokio::test]
    async fn after_a_cut_off_nothing_passes_until_revived() {
        let knobs = Knobs::new();
        knobs.set("*", Rule::cut_off_after(1));
        assert!(knobs.gate("a.one").await.is_ok());
        assert!(matches!(
            knobs.gate("b.two").await,
            Err(Injected::CutOff { .. })
        ));
        assert!(knobs.gate("a.one").await.is_err());
        assert!(knobs.is_cut_off());
        knobs.revive();
        assert!(knobs.gate("b.two").await.is_ok());
    }

    #[tokio::test]
    async fn a_lost_answer_comes_after_the_effect() {
        let knobs = Knobs::new();
        knobs.set("tgt.create_target", Rule::lose_answer_once());
        assert!(knobs.gate("tgt.create_target").await.is_ok());
        assert!(knobs.answer("tgt.create_target").is_err());
        assert!(knobs.gate("tgt.create_target").await.is_ok());
        assert!(knobs.answer("tgt.create_target").is_ok());
    }

    #[tokio::test]
    async fn a_hanging_call_goes_on_when_the_rule_is_taken_away() {
        let knobs = Knobs::new();
        knobs.set("virt.start", Rule::hang());
        let hanging = tokio::spawn({
            let knobs = knobs.clone();
            async move { knobs.gate("virt.start").await }
        });
        while knobs.count("virt.start") == 0 {
            tokio::task::yield_now().await;
        }
        assert!(!hanging.is_finished());
        knobs.clear("virt.start");
        tokio::time::timeout(Duration::from_secs(30), hanging)
            .await
            .expect("the call hangs although its rule is gone")
            .unwrap()
            .unwrap();
    }
}
