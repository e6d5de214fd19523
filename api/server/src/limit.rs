//! How often one client may ask: a bucket of tokens for each, refilled evenly.
//!
//! The number of buckets is bounded. A full bucket says nothing about its client, so buckets that
//! have filled up are forgotten first; when there are still too many, all are.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Requests in a second, in the long run.
    pub per_second: u32,
    /// Requests at once, after a silence.
    pub burst: u32,
}

pub struct Limiter<K> {
    rate: Rate,
    most: usize,
    buckets: HashMap<K, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Limiter<K> {
    /// `most` is how many clients are remembered.
    #[must_use]
    pub fn new(rate: Rate, most: usize) -> Self {
        Self {
            rate,
            most,
            buckets: HashMap::new(),
        }
    }

    /// Takes a token, or says how many whole seconds it is until there is one.
    pub fn take(&mut self, client: K, now: Instant) -> Result<(), u64> {
        if self.buckets.len() >= self.most && !self.buckets.contains_key(&client) {
            self.forget(now);
        }
        let Rate { per_second, burst } = self.rate;
        let (per_second, burst) = (f64::from(per_second), f64::from(burst));
        let full = Bucket {
            tokens: burst,
            at: now,
        };
        let bucket = self.buckets.entry(client).or_insert(full);
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + passed * per_second).min(burst);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - bucket.tokens) / per_second;
        Err((wait.ceil() as u64).max(1))
    }

    fn forget(&mut self, now: Instant) {
        let Rate { per_second, burst } = self.rate;
        let whole = Duration::from_secs_f64(f64::from(burst) / f64::from(per_second.max(1)));
        self.buckets
            .retain(|_, bucket| now.saturating_duration_since(bucket.at) < whole);
        if self.buckets.len() >= self.most {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 2,
        burst: 3,
    };

    #[test]
    fn a_burst_passes_then_the_rate_holds_for_this_client_alone() {
        let mut limiter = Limiter::new(RATE, 10);
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(limiter.take("a", start), Ok(()));
        }
        assert_eq!(limiter.take("a", start), Err(1));
        assert_eq!(limiter.take("b", start), Ok(()));
        let later = start + Duration::from_millis(500);
        assert_eq!(limiter.take("a", later), Ok(()));
        assert_eq!(limiter.take("a", later), Err(1));
    }

    #[test]
    fn many_clients_do_not_fill_the_memory() {
        let mut limiter = Limiter::new(RATE, 100);
        let now = Instant::now();
        for client in 0..10_000 {
            let _ = limiter.take(client, now);
            assert!(limiter.buckets.len() <= 100);
        }
    }
}
