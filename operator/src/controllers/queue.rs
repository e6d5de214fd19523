//! Keys that want to be looked at: each once, never two workers on the same, later if it must wait.
//!
//! ```text
//!            wake                next              done, nothing woke it
//! (absent) ───────▶ ready ─────────────▶ running ───────────────────────▶ (absent)
//!     ▲  later: due ▲   ▲ done, woken meanwhile │
//!     └─────────────┴───┴───────────────────────┘
//! ```
//! A wake-up carries no data. What failed comes back after a pause that grows with each failure and
//! has some chance in it, so that a thousand failures do not come back together.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long what sums up many things may lag behind them.
const SOON: Duration = Duration::from_secs(1);

/// How a look ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Well,
    /// Look again then, if nothing wakes it before.
    Again(Duration),
    /// We could not do our job.
    Failed,
}

#[derive(Debug, PartialEq, Eq)]
enum Next<K> {
    Key(K),
    Later(Instant),
    Nothing,
}

pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Everything in `ready`.
    queued: HashSet<K>,
    /// Keys at work, and whether they were woken meanwhile.
    running: HashMap<K, bool>,
    /// By when they are due; the number tells apart what is due at once.
    later: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    counter: u64,
}

impl<K: Clone + Eq + Hash> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                queued: HashSet::new(),
                running: HashMap::new(),
                later: BTreeMap::new(),
                due: HashMap::new(),
                failures: HashMap::new(),
                counter: 0,
            }),
            wake: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Asks for a look, as soon as a worker is free.
    pub fn wake(&self, key: K) {
        let mut state = self.lock();
        state.undelay(&key);
        if let Some(again) = state.running.get_mut(&key) {
            *again = true;
            return;
        }
        if state.queued.insert(key.clone()) {
            state.ready.push_back(key);
            self.wake.notify_one();
        }
    }

    /// Asks for a look within [`SOON`]: for what sums up many things that change one by one.
    pub fn wake_soon(&self, key: K) {
        self.wake_soon_at(key, Instant::now());
    }

    fn wake_soon_at(&self, key: K, now: Instant) {
        let mut state = self.lock();
        let due = now + SOON;
        let already = state.queued.contains(&key)
            || state
                .due
                .get(&key)
                .is_some_and(|(before, _)| *before <= due);
        if !already {
            state.delay(key, due);
            self.wake.notify_one();
        }
    }

    /// The next key to look at; its worker must call [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            match self.take(Instant::now()) {
                Next::Key(key) => return key,
                Next::Nothing => self.wake.notified().await,
                Next::Later(due) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
            }
        }
    }

    fn take(&self, now: Instant) -> Next<K> {
        let mut state = self.lock();
        state.promote(now);
        if let Some(key) = state.ready.pop_front() {
            state.queued.remove(&key);
            state.running.insert(key.clone(), false);
            if !state.ready.is_empty() {
                self.wake.notify_one();
            }
            return Next::Key(key);
        }
        match state.later.keys().next() {
            Some((due, _)) => Next::Later(*due),
            None => Next::Nothing,
        }
    }

    /// Ends a look.
    pub fn done(&self, key: K, ended: Ended) {
        self.done_at(key, ended, Instant::now());
    }

    fn done_at(&self, key: K, ended: Ended, now: Instant) {
        let mut state = self.lock();
        let woken = state.running.remove(&key).unwrap_or_default();
        let pause = match ended {
            Ended::Well => {
                state.failures.remove(&key);
                None
            }
            Ended::Again(pause) => {
                state.failures.remove(&key);
                Some(pause)
            }
            Ended::Failed => {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures = failures.saturating_add(1);
                Some(pause_after(*failures))
            }
        };
        // Even what was woken meanwhile waits after a failure: it would most likely fail again.
        match (woken, pause) {
            (true, None | Some(_)) if ended != Ended::Failed => {
                state.queued.insert(key.clone());
                state.ready.push_back(key);
            }
            (_, Some(pause)) => state.delay(key, now + pause),
            (_, None) => {}
        }
        // A worker may sleep towards a later time than what is due now.
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // Each change leaves the state whole, so a panic elsewhere has not broken it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn delay(&mut self, key: K, due: Instant) {
        self.undelay(&key);
        self.counter += 1;
        let at = (due, self.counter);
        self.later.insert(at, key.clone());
        self.due.insert(key, at);
    }

    fn undelay(&mut self, key: &K) {
        if let Some(at) = self.due.remove(key) {
            self.later.remove(&at);
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            if self.queued.insert(key.clone()) {
                self.ready.push_back(key);
            }
        }
    }
}

/// Doubles with each failure; between half and all of that.
fn pause_after(failures: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << failures.min(16).saturating_sub(1));
    spread(doubled.min(LONGEST_PAUSE))
}

/// Between half and all of a pause.
#[must_use]
pub fn spread(pause: Duration) -> Duration {
    let chance = u32::from(Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause / 2 * chance / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_woken_soon_is_looked_at_once_for_all_that_came_meanwhile() {
        let (queue, start) = (Queue::default(), Instant::now());
        queue.wake_soon_at("sum", start);
        queue.wake_soon_at("sum", start + SOON / 2);
        assert_eq!(queue.take(start), Next::Later(start + SOON));
        assert_eq!(queue.take(start + SOON), Next::Key("sum"));
        // What changes while it is looked at is looked at again.
        queue.wake_soon_at("sum", start + SOON);
        queue.done_at("sum", Ended::Well, start + SOON);
        assert_eq!(queue.take(start + SOON), Next::Later(start + SOON * 2));
        assert_eq!(queue.take(start + SOON * 2), Next::Key("sum"));
    }

    #[tokio::test]
    async fn a_key_woken_many_times_is_looked_at_once() {
        let queue = Queue::default();
        for _ in 0..5 {
            queue.wake("a");
        }
        queue.wake("b");
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert_eq!(queue.take(Instant::now()), Next::Nothing);
    }

    #[tokio::test]
    async fn a_worker_that_waits_is_woken() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        queue.wake("a");
        assert_eq!(waiting.await.unwrap(), "a");
    }

    #[test]
    fn a_key_woken_while_it_is_looked_at_is_looked_at_again_afterwards() {
        let (queue, now) = (Queue::default(), Instant::now());
        queue.wake("a");
        assert_eq!(queue.take(now), Next::Key("a"));
        queue.wake("a");
        assert_eq!(queue.take(now), Next::Nothing, "never two at once");
        queue.done_at("a", Ended::Well, now);
        assert_eq!(queue.take(now), Next::Key("a"));
        queue.done_at("a", Ended::Well, now);
        assert_eq!(queue.take(now), Next::Nothing);
    }

    #[test]
    fn what_waits_comes_when_it_is_due_or_when_it_is_woken() {
        let (queue, now) = (Queue::default(), Instant::now());
        let pause = Duration::from_secs(30);
        queue.wake("a");
        queue.take(now);
        queue.done_at("a", Ended::Again(pause), now);
        assert_eq!(queue.take(now), Next::Later(now + pause));
        assert_eq!(queue.take(now + pause), Next::Key("a"));
        queue.done_at("a", Ended::Again(pause), now);
        queue.wake("a");
        assert_eq!(queue.take(now), Next::Key("a"));
        queue.done_at("a", Ended::Well, now);
        assert_eq!(
            queue.take(now + pause),
            Next::Nothing,
            "the pause is forgotten"
        );
    }

    #[test]
    fn pauses_grow_with_each_failure_and_begin_anew_after_success() {
        let (queue, mut now) = (Queue::default(), Instant::now());
        queue.wake("a");
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(queue.take(now), Next::Key("a"));
            queue.wake("a");
            queue.done_at("a", Ended::Failed, now);
            let Next::Later(due) = queue.take(now) else {
                panic!("tried again at once");
            };
            pauses.push(due - now);
            now = due;
        }
        assert!(pauses[4] > pauses[0] * 4);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        queue.take(now);
        queue.done_at("a", Ended::Well, now);
        assert!(queue.lock().failures.is_empty());
    }
}
