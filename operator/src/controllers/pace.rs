//! How fast statuses that sum things up are written: counts change with every machine, and nobody
//! reads them that fast.
//!
//! No object more often than every few seconds. While machines come and go, one such write every two
//! seconds for all objects together, after a burst, so that a machine costs its own writes and hardly
//! more; once it is quiet, what has waited is written quickly. A change of a condition does not wait
//! here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// No object's counts are written more often.
const EACH: Duration = Duration::from_secs(5);
/// Between two writes of counts, whatever the object, once the burst is used up.
const BUSY: Duration = Duration::from_secs(2);
/// The same once nothing else was written for a while: a thousand objects in less than a minute.
const CALM: Duration = Duration::from_millis(50);
/// How long nothing else must have been written for that.
const CALM_AFTER: Duration = Duration::from_secs(3);
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
    /// When something else than counts was last written.
    others: Option<Instant>,
}

impl Pace {
    /// Takes leave to write the counts of an object now, or says how long to wait.
    pub fn take(&self, object: Uuid) -> Result<(), Duration> {
        self.take_at(object, Instant::now())
    }

    /// Something else than counts is being written.
    pub fn note_other(&self) {
        self.note_other_at(Instant::now());
    }

    fn note_other_at(&self, now: Instant) {
        self.lock().others = Some(now);
    }

    fn take_at(&self, object: Uuid, now: Instant) -> Result<(), Duration> {
        let mut state = self.lock();
        let others = state.others.map(|others| now.duration_since(others));
        let between = match others.is_some_and(|ago| ago < CALM_AFTER) {
            true => BUSY,
            false => CALM,
        };
        state
            .last
            .retain(|_, last| now.duration_since(*last) < EACH);
        if let Some(last) = state.last.get(&object) {
            return Err(EACH.saturating_sub(now.duration_since(*last)));
        }
        // What a busy time has put ahead does not hold up a calm one.
        let allowed = between * BURST;
        let next = state.next.map_or(now, |next| next.max(now));
        let next = next.min(now + allowed + between);
        let ahead = next.duration_since(now);
        if ahead > allowed {
            state.next = Some(next);
            return Err((ahead - allowed).max(CALM));
        }
        state.next = Some(next + between);
        state.last.insert(object, now);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

        pace.note_other_at(start + EACH);
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
        let later = now + BUSY * 10;
        pace.note_other_at(later);
        let taken = takes(3000, later);
        assert!((9..=11).contains(&taken), "{taken}");
    }

    #[test]
    fn what_has_waited_is_written_quickly_once_it_is_quiet() {
        let (pace, start) = (Pace::default(), Instant::now());
        pace.note_other_at(start);
        let mut waiting: Vec<Uuid> = (0..500).map(Uuid::from_u128).collect();
        let write = |waiting: &mut Vec<Uuid>, now| {
            waiting.retain(|object| pace.take_at(*object, now).is_err());
        };
        write(&mut waiting, start);
        assert!(waiting.len() > 460, "{}", waiting.len());
        let quiet = start + CALM_AFTER;
        let mut now = quiet;
        while !waiting.is_empty() {
            now += CALM;
            write(&mut waiting, now);
        }
        assert!(now - quiet <= CALM * 500, "{:?}", now - quiet);
    }
}
