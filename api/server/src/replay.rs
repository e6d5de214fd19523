//! Idempotency keys: a request that is sent twice is carried out once.
//!
//! A key belongs to the user who sent it. While its request is carried out, a second one is told to
//! wait; after that it gets the same answer. A key with another request is refused. Answers that
//! may differ next time (not signed in, too many, our own failures) are not kept.
//!
//! ```text
//! unknown ── begin ──► in progress ── finish ──► answered ── 24 h or room needed ──► unknown
//!                           └────── abandon (dropped, or an answer not worth keeping) ──► unknown
//! ```
//!
//! This memory is lost with the process. What was created carries the key's digest itself (see
//! [`crate::serve`]), so that a creation is recognised even then, and by another replica.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderName;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

type Key = (String, String);

/// An answer, as it is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    pub status: u16,
    pub headers: Vec<(HeaderName, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub enum Begun {
    /// Carry it out, then tell the ticket.
    First(Ticket),
    Again(Arc<Saved>),
    InProgress,
    OtherRequest,
}

#[derive(Clone)]
pub struct Replays {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    most: usize,
    known: HashMap<Key, Known>,
    /// In the order of their answers.
    answered: VecDeque<(Key, Instant)>,
}

struct Known {
    request: String,
    answer: Option<Arc<Saved>>,
}

/// The right to answer for a key; dropped without an answer, the key is free again.
pub struct Ticket {
    replays: Replays,
    key: Option<Key>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl Replays {
    /// `most` is how many answers are kept.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Inner {
                most,
                known: HashMap::new(),
                answered: VecDeque::new(),
            })),
        }
    }

    /// `request` is a digest of all that the request asks for.
    pub fn begin(&self, user: &str, key: &str, request: String, now: Instant) -> Begun {
        let key = (user.to_owned(), key.to_owned());
        let mut inner = self.lock();
        inner.forget(now);
        match inner.known.get(&key) {
            Some(known) if known.request != request => return Begun::OtherRequest,
            Some(known) => match &known.answer {
                Some(answer) => return Begun::Again(answer.clone()),
                None => return Begun::InProgress,
            },
            None => {}
        }
        let known = Known {
            request,
            answer: None,
        };
        inner.known.insert(key.clone(), known);
        Begun::First(Ticket {
            replays: self.clone(),
            key: Some(key),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Each change leaves it whole, so a panic elsewhere has not broken it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, now: Instant) {
        while let Some((_, at)) = self.answered.front() {
            let old = now.saturating_duration_since(*at) >= KEPT;
            if !old && self.answered.len() < self.most {
                return;
            }
            if let Some((key, _)) = self.answered.pop_front() {
                self.known.remove(&key);
            }
        }
    }
}

impl Ticket {
    pub fn finish(mut self, answer: Saved, now: Instant) {
        let Some(key) = self.key.take() else { return };
        let mut inner = self.replays.lock();
        if let Some(known) = inner.known.get_mut(&key) {
            known.answer = Some(Arc::new(answer));
            inner.answered.push_back((key, now));
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.replays.lock().known.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(status: u16) -> Saved {
        Saved {
            status,
            headers: Vec::new(),
            body: b"{}".to_vec(),
        }
    }

    fn first(replays: &Replays, user: &str, request: &str) -> Ticket {
        match replays.begin(user, "k", request.to_owned(), Instant::now()) {
            Begun::First(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_sent_again_gets_the_same_answer() {
        let replays = Replays::new(10);
        let now = Instant::now();
        first(&replays, "a", "r").finish(saved(201), now);
        let again = replays.begin("a", "k", "r".to_owned(), now);
        assert!(matches!(again, Begun::Again(answer) if *answer == saved(201)));
    }

    #[test]
    fn a_key_with_another_request_is_refused_also_while_the_first_is_under_way() {
        let replays = Replays::new(10);
        let ticket = first(&replays, "a", "r");
        let begin = |request: &str| replays.begin("a", "k", request.to_owned(), Instant::now());
        assert!(matches!(begin("other"), Begun::OtherRequest));
        assert!(matches!(begin("r"), Begun::InProgress));
        ticket.finish(saved(201), Instant::now());
        assert!(matches!(begin("other"), Begun::OtherRequest));
    }

    #[test]
    fn a_request_that_came_to_nothing_may_be_sent_again() {
        let replays = Replays::new(10);
        drop(first(&replays, "a", "r"));
        drop(first(&replays, "a", "r"));
    }

    #[test]
    fn another_users_key_is_another_key() {
        let replays = Replays::new(10);
        first(&replays, "a", "r").finish(saved(201), Instant::now());
        drop(first(&replays, "b", "r"));
    }

    #[test]
    fn old_answers_make_room_and_none_outlives_its_day() {
        let replays = Replays::new(2);
        let now = Instant::now();
        for user in ["a", "b", "c"] {
            first(&replays, user, "r").finish(saved(201), now);
        }
        drop(first(&replays, "a", "r"));
        let begun = replays.begin("c", "k", "r".to_owned(), now + KEPT);
        assert!(matches!(begun, Begun::First(_)));
    }
}
