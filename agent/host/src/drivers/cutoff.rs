//! Where a process may be cut off: between two effects on a pool.
//!
//! The conformance suite runs a verb in a process of its own and ends that process, without any
//! cleaning up, before its first, second, third … effect; then another process repeats the verb.
//! Each driver calls [`effect`] right before whatever changes something outside the process: a file
//! made, written, renamed or removed, a request to a daemon, a program started. Nobody but that
//! suite calls [`die_before`], and until then [`effect`] counts and does nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

static DONE: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(u64::MAX);

/// An effect comes next.
pub fn effect() {
    if DONE.fetch_add(1, Ordering::SeqCst) >= LAST.load(Ordering::SeqCst) {
        // As by a loss of power: nothing is dropped, closed or flushed.
        std::process::abort();
    }
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
