//! Where a process may be cut off: between two effects on a pool.
//!
//! The conformance suite runs a verb in a process of its own and ends that process, without any
//! cleaning up, before its first, second, third … effect; then another process repeats the verb.
//! Each driver calls [`effect`] right before whatever changes something outside the process: a file
//! made, written, renamed or removed, a request to a daemon, a program started. Nobody but that
//! suite calls [`die_before`] and [`call_before`], and until then [`effect`] counts and does nothing
//! else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

static DONE: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(u64::MAX);
static CALL_AT: AtomicU64 = AtomicU64::new(u64::MAX);
static CALL: Mutex<Option<Call>> = Mutex::new(None);

type Call = Box<dyn FnOnce() + Send>;

/// An effect comes next.
pub fn effect() {
    let done = DONE.fetch_add(1, Ordering::SeqCst);
    if done >= LAST.load(Ordering::SeqCst) {
        // As by a loss of power: nothing is dropped, closed or flushed.
        std::process::abort();
    }
    if done >= CALL_AT.load(Ordering::SeqCst)
        && let Some(call) = take_call()
    {
        call();
    }
}

fn take_call() -> Option<Call> {
    CALL_AT.store(u64::MAX, Ordering::SeqCst);
    CALL.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Does something once, right before the effect after `more` others; it takes the place of what was
/// to be done before.
pub fn call_before(more: u64, call: impl FnOnce() + Send + 'static) {
    *CALL.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(call));
    let at = DONE.load(Ordering::SeqCst).saturating_add(more);
    CALL_AT.store(at, Ordering::SeqCst);
}

/// Takes back what is still to be called; whether there was anything.
pub fn call_off() -> bool {
    take_call().is_some()
}

/// Ends this process right before its effect after `more` others.
pub fn die_before(more: u64) {
    LAST.store(
        DONE.load(Ordering::SeqCst).saturating_add(more),
        Ordering::SeqCst,
    );
}

/// How many effects this process has had.
#[must_use]
pub fn effects() -> u64 {
    DONE.load(Ordering::SeqCst)
}
