//! How fast the storage is read, when that is capped.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::never;

use crate::control::Control;
use crate::error::BackupError;

/// How long a run that is stopped goes on waiting.
const HEED: Duration = Duration::from_millis(200);

/// Shared by the readers of a run.
pub struct Pace {
    limit: Option<NonZeroU64>,
    /// When what was allowed so far has passed.
    free_at: Mutex<Instant>,
}

impl Pace {
    pub fn new(bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            limit: bytes_per_second,
            free_at: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes may be read, or the run is stopped.
    pub fn wait(&self, bytes: u64, control: &Control) -> Result<(), BackupError> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let mut wait = self.reserve(limit, bytes, Instant::now());
        while !wait.is_zero() {
            control.check()?;
            let some = wait.min(HEED);
            // Nothing comes: it is the time itself that is waited for.
            let _ = never::<()>().recv_timeout(some);
            wait -= some;
        }
        Ok(())
    }

    /// One behind the other: each begins when the time of those before it has passed.
    fn reserve(&self, limit: NonZeroU64, bytes: u64, now: Instant) -> Duration {
        let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = now.max(*free_at);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(limit.get());
        *free_at = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_read_begins_when_the_time_of_those_before_has_passed() {
        let limit = NonZeroU64::new(1000).unwrap();
        let pace = Pace::new(Some(limit));
        let now = Instant::now();
        assert_eq!(pace.reserve(limit, 500, now), Duration::ZERO);
        assert_eq!(pace.reserve(limit, 500, now), Duration::from_millis(500));
        let later = now + Duration::from_secs(5);
        assert_eq!(pace.reserve(limit, 500, later), Duration::ZERO);
    }
}
