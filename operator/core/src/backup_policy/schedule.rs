//! Times of a schedule: cron in a time zone. A day on which the clock is put forward or back has each
//! time once, as croner says.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use dc_crds::backup_policy::Schedule;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::words::BackupFact;

/// A schedule that reads.
#[derive(Clone, Debug)]
pub struct ValidSchedule {
    cron: Cron,
    zone: TimeZone,
    pub jitter_minutes: u32,
    pub window_minutes: Option<u32>,
}

pub fn validate(schedule: &Schedule) -> Result<ValidSchedule, BackupFact> {
    let Schedule {
        cron,
        time_zone,
        jitter_minutes,
        window_minutes,
    } = schedule;
    let parser = CronParser::builder()
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let parsed = parser
        .parse(cron)
        .map_err(|error| BackupFact::CronInvalid {
            cron: cron.clone(),
            error: error.to_string(),
        })?;
    Ok(ValidSchedule {
        cron: parsed,
        zone: zone(time_zone)?,
        jitter_minutes: *jitter_minutes,
        window_minutes: *window_minutes,
    })
}

pub fn zone(name: &str) -> Result<TimeZone, BackupFact> {
    // From the tables that are built in: the same on every host.
    let found = jiff::tz::TimeZoneDatabase::bundled().get(name);
    found.map_err(|_| BackupFact::ZoneUnknown {
        zone: name.to_owned(),
    })
}

impl ValidSchedule {
    fn at(&self, second: i64) -> Option<Zoned> {
        let at = Timestamp::from_second(second).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }

    /// The last time of the schedule that has come at `second`; none of a schedule that has no time.
    #[must_use]
    pub fn last(&self, second: i64) -> Option<i64> {
        let found = self.cron.find_previous_occurrence(&self.at(second)?, true);
        Some(found.ok()?.timestamp().as_second())
    }

    /// The first one after `second`.
    #[must_use]
    pub fn next(&self, second: i64) -> Option<i64> {
        let found = self.cron.find_next_occurrence(&self.at(second)?, false);
        Some(found.ok()?.timestamp().as_second())
    }
}
