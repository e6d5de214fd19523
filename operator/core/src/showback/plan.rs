//! Which records are to be written, and when the next one is.

use dc_crds::usage::SystemHeld;
use dc_crds::usage::days::{Month, midnight};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A record is not written more often, however often something else is held: what changes in between
/// counts from the next time.
const PACE_S: i64 = 60;

pub struct Seen<'a> {
    pub now: Timestamp,
    pub zone: &'a TimeZone,
    /// By system.
    pub held: &'a [SystemHeld],
    /// The newest record of the department.
    pub last: Option<&'a Month>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// In this order, each whole.
    pub write: Vec<Month>,
    /// When it would be planned otherwise, if nothing else changes.
    pub again_at: Option<Timestamp>,
}

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Planned {
    let Seen {
        now,
        zone,
        held,
        last,
    } = *seen;
    let local = now.to_zoned(zone.clone());
    let begin = || Planned {
        write: vec![Month::begin(&local, held.to_vec())],
        again_at: midnight(&local),
    };
    let Some(last) = last else {
        return match held.is_empty() {
            true => Planned::default(),
            false => begin(),
        };
    };
    // Somebody has written into it by hand what is no moment: nothing can be told from it.
    let Some(until) = last.until() else {
        return begin();
    };
    let same = last.status.held == held;
    if same && held.is_empty() {
        return Planned::default();
    }
    let day_ends = midnight(&until.to_zoned(zone.clone())).unwrap_or(Timestamp::MAX);
    let paced = Timestamp::from_second(until.as_second().saturating_add(PACE_S));
    // Also when the clock was set back.
    let due = match same {
        true => day_ends,
        false => paced.unwrap_or(Timestamp::MAX).min(day_ends),
    };
    if now < due {
        return Planned {
            write: Vec::new(),
            again_at: Some(due),
        };
    }
    let mut write = last.clone().carried_on(zone, now);
    if let Some(open) = write.last_mut() {
        open.status.held = held.to_vec();
    }
    write.retain(|month| month != last && (month.month == last.month || !month.status.is_empty()));
    Planned {
        write,
        again_at: Some(midnight(&local).unwrap_or(Timestamp::MAX)).filter(|_| !held.is_empty()),
    }
}
