//! Waiting for a condition, with a deadline and the last reason why it did not hold.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The first pause between two looks; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Short enough that a wait ends soon after its condition holds.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What one look has seen.
#[derive(Debug)]
pub enum Look<T> {
    Holds(T),
    /// Not yet, with what was seen instead.
    NotYet(String),
    /// It can no longer come true: waiting on would only hide the cause.
    Never(anyhow::Error),
}

impl<T> Look<T> {
    /// Any error counts as "not yet": for probes of something that is still starting.
    pub fn from_attempt(attempt: Result<T>) -> Self {
        match attempt {
            Ok(value) => Self::Holds(value),
            Err(error) => Self::NotYet(format!("{error:#}")),
        }
    }
}

/// Looks again and again until the condition holds, can no longer hold, or `deadline` has passed.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Look<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let seen = match look().await {
            Look::Holds(value) => return Ok(value),
            Look::Never(error) => return Err(error.context(format!("waiting for {what}"))),
            Look::NotYet(seen) => seen,
        };
        if start.elapsed() >= deadline {
            let seconds = deadline.as_secs_f32();
            return Err(anyhow!(
                "gave up after {seconds:.0} s waiting for {what}: {seen}"
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_later_ends_the_wait() {
        let mut looks = 0;
        let value = until("the third look", Duration::from_secs(5), async || {
            looks += 1;
            if looks < 3 {
                Look::NotYet(format!("look {looks}"))
            } else {
                Look::Holds(looks)
            }
        })
        .await
        .unwrap();
        assert_eq!(value, 3);
    }

    #[tokio::test]
    async fn a_wait_that_ends_in_vain_says_what_was_seen_last() {
        let error = until::<()>("rain", Duration::from_millis(1), async || {
            Look::NotYet("blue sky".to_owned())
        })
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains("waiting for rain: blue sky"),
            "{error}"
        );
    }
}
