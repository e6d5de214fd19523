//! When a pool fills, from how its use went.
//!
//! Samples are kept in the status, so that another leader goes on with them. They are an hour apart
//! at least; when there are too many, every second one goes, so that few of them tell of a long time.

use dc_crds::pool::UseSample;
use dc_types::Bytes;

/// Between two samples, in seconds.
const APART_S: i64 = 3600;
/// More are thinned out: the status of a pool stays small.
const SAMPLES_MAX: usize = 48;
/// Fewer say nothing.
const SAMPLES_MIN: usize = 6;
/// A shorter time says nothing of days.
const SPAN_MIN_S: i64 = 12 * 3600;
/// What is further away is not a forecast: ten years.
const FAR_S: f64 = 10.0 * 365.0 * 86_400.0;

/// When it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Too little is known.
    Unknown,
    /// Its use does not grow, or so slowly that it makes no difference.
    Never,
    /// Seconds since 1970.
    At(i64),
}

/// The samples with that of now, when its time has come.
#[must_use]
pub fn with_sample(samples: &[UseSample], used: Bytes, now: i64) -> Vec<UseSample> {
    // A clock that was set back forgets what seems to lie ahead.
    let mut samples: Vec<UseSample> = samples.iter().filter(|s| s.at <= now).copied().collect();
    if samples.last().is_some_and(|last| now - last.at < APART_S) {
        return samples;
    }
    samples.push(UseSample {
        at: now,
        used: i64::try_from(used.0).unwrap_or(i64::MAX),
    });
    if samples.len() > SAMPLES_MAX {
        let last = samples.len() - 1;
        let mut at = 0..;
        samples.retain(|_| at.next().is_some_and(|at| at % 2 == last % 2));
    }
    samples
}

/// The straight line that is nearest to the samples, and where it meets the capacity.
#[must_use]
pub fn forecast(samples: &[UseSample], capacity: Bytes) -> Forecast {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return Forecast::Unknown;
    };
    if samples.len() < SAMPLES_MIN || last.at - first.at < SPAN_MIN_S {
        return Forecast::Unknown;
    }
    // Relative to the first sample, so that the squares stay small beside a double's 53 bits.
    let count = samples.len() as f64;
    let points = samples
        .iter()
        .map(|s| ((s.at - first.at) as f64, s.used as f64));
    let points: Vec<(f64, f64)> = points.collect();
    let mean_at = points.iter().map(|(at, _)| at).sum::<f64>() / count;
    let mean_used = points.iter().map(|(_, used)| used).sum::<f64>() / count;
    let spread = |(at, _): &(f64, f64)| (at - mean_at).powi(2);
    let both = |(at, used): &(f64, f64)| (at - mean_at) * (used - mean_used);
    let slope = points.iter().map(both).sum::<f64>() / points.iter().map(spread).sum::<f64>();
    let left = capacity.0 as f64 - last.used as f64;
    if left <= 0.0 {
        return Forecast::At(last.at);
    }
    let seconds = left / slope;
    if slope <= 0.0 || !seconds.is_finite() || seconds > FAR_S {
        return Forecast::Never;
    }
    Forecast::At(last.at + seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;
    const GIB: i64 = 1 << 30;

    fn line(count: i64, a_day: i64) -> Vec<UseSample> {
        let sample = |n| UseSample {
            at: n * DAY,
            used: 10 * GIB + n * a_day,
        };
        (0..count).map(sample).collect()
    }

    #[test]
    fn a_pool_that_fills_evenly_is_full_on_the_day_one_would_count() {
        let capacity = Bytes(30 << 30);
        // After 10 samples 19 GiB are used, 11 are left at one a day.
        let Forecast::At(at) = forecast(&line(10, GIB), capacity) else {
            panic!("it fills");
        };
        assert_eq!(at / DAY, 20);
    }

    #[test]
    fn what_shrinks_or_stands_does_not_fill_and_little_is_unknown() {
        let capacity = Bytes(30 << 30);
        assert_eq!(forecast(&line(10, 0), capacity), Forecast::Never);
        assert_eq!(forecast(&line(10, -GIB / 4), capacity), Forecast::Never);
        assert_eq!(forecast(&line(10, 1), capacity), Forecast::Never);
        assert_eq!(forecast(&line(5, GIB), capacity), Forecast::Unknown);
        assert_eq!(forecast(&[], capacity), Forecast::Unknown);
        let full = forecast(&line(40, GIB), capacity);
        assert_eq!(full, Forecast::At(39 * DAY), "it is full already");
    }

    #[test]
    fn samples_are_an_hour_apart_few_and_tell_of_a_long_time() {
        let mut samples = Vec::new();
        for minute in 0..60 * 24 * 30 {
            samples = with_sample(&samples, Bytes(minute), i64::try_from(minute).unwrap() * 60);
        }
        assert!(samples.len() <= SAMPLES_MAX, "{}", samples.len());
        let span = samples.last().unwrap().at - samples[0].at;
        assert!(span > 20 * DAY, "{span}");
        assert!(
            samples
                .windows(2)
                .all(|two| two[1].at - two[0].at >= APART_S)
        );
        // The same moment again changes nothing; a clock that was set back does not confuse it.
        let last = samples.last().unwrap().at;
        assert_eq!(with_sample(&samples, Bytes(9), last), samples);
        assert_eq!(with_sample(&samples, Bytes(9), -1).len(), 1);
    }
}
