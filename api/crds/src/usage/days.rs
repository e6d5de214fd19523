//! From what is held to what was held on each day: amounts times seconds.

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

use super::{StorageHeld, StorageUse, SystemHeld, SystemUse, UsageDay, UsageRecordStatus};

/// A zone of the tables that are built in: the same on every host.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// The month that a moment is in, as a record is named.
#[must_use]
pub fn month_of(at: &Zoned) -> String {
    at.strftime("%Y-%m").to_string()
}

/// When the next day begins; the end of time has none.
#[must_use]
pub fn midnight(at: &Zoned) -> Option<Timestamp> {
    let next = at.tomorrow().ok()?.start_of_day().ok()?;
    Some(next.timestamp())
}

/// The record of one month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Month {
    pub month: String,
    pub status: UsageRecordStatus,
}

impl Month {
    /// The record that begins at a moment, when this is held.
    #[must_use]
    pub fn begin(at: &Zoned, held: Vec<SystemHeld>) -> Self {
        let status = UsageRecordStatus {
            until: at.timestamp().to_string(),
            held,
            ..UsageRecordStatus::default()
        };
        Self {
            month: month_of(at),
            status,
        }
    }

    /// Up to when its days are complete; `None` when it does not read.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.status.until.parse().ok()
    }

    /// This record and those of the months that have begun since, the last one up to `now`, when
    /// what it says is held was held all the time. A moment before its own changes nothing.
    #[must_use]
    pub fn carried_on(mut self, zone: &TimeZone, now: Timestamp) -> Vec<Self> {
        let mut months = Vec::new();
        let Some(mut at) = self.until() else {
            return vec![self];
        };
        while at < now {
            let local = at.to_zoned(zone.clone());
            self = self.or_next(&local, &mut months);
            let end = midnight(&local).map_or(now, |midnight| midnight.min(now));
            self.add(&local, end.as_second() - at.as_second());
            at = end;
            self.status.until = at.to_string();
        }
        // A month that ends just now is over.
        let last = self.or_next(&at.to_zoned(zone.clone()), &mut months);
        months.push(last);
        months
    }

    /// Itself, or the month that the moment is in: then it is over.
    fn or_next(mut self, at: &Zoned, over: &mut Vec<Self>) -> Self {
        if month_of(at) == self.month {
            return self;
        }
        // It stays in the record that is over: whoever dies before the next one is made goes on from it.
        let held = self.status.held.clone();
        self.status.closed = true;
        over.push(self);
        Self::begin(at, held)
    }

    fn add(&mut self, at: &Zoned, seconds: i64) {
        if self.status.held.is_empty() {
            return;
        }
        let name = at.strftime("%Y-%m-%d").to_string();
        let days = &mut self.status.days;
        if days.last().is_none_or(|day| day.day != name) {
            days.push(UsageDay {
                day: name,
                systems: Vec::new(),
            });
        }
        if let Some(day) = days.last_mut() {
            for held in &self.status.held {
                day.add(held, seconds);
            }
        }
        self.status.day_count = i64::try_from(days.len()).unwrap_or(i64::MAX);
    }
}

impl UsageDay {
    fn add(&mut self, held: &SystemHeld, seconds: i64) {
        let systems = &mut self.systems;
        let at = systems.partition_point(|used| used.system < held.system);
        if systems
            .get(at)
            .is_none_or(|used| used.system != held.system)
        {
            let system = held.system.clone();
            systems.insert(
                at,
                SystemUse {
                    system,
                    ..SystemUse::default()
                },
            );
        }
        systems[at].add(held, seconds);
    }
}

impl SystemUse {
    /// Adds what is held for some seconds. A sum that no number holds stays the largest one.
    fn add(&mut self, held: &SystemHeld, seconds: i64) {
        let SystemHeld {
            system: _,
            virtual_machines,
            vcpus,
            memory_mib,
            addresses,
            storage,
        } = held;
        let add = |sum: &mut i64, amount: i64| {
            *sum = sum.saturating_add(amount.saturating_mul(seconds));
        };
        add(&mut self.machine_seconds, *virtual_machines);
        add(&mut self.vcpu_seconds, *vcpus);
        add(&mut self.memory_mib_seconds, *memory_mib);
        add(&mut self.address_seconds, *addresses);
        for StorageHeld { class, size_mib } in storage {
            let used = &mut self.storage;
            let at = used.partition_point(|used| used.class < *class);
            if used.get(at).is_none_or(|used| used.class != *class) {
                let class = class.clone();
                used.insert(
                    at,
                    StorageUse {
                        class,
                        size_mib_seconds: 0,
                    },
                );
            }
            add(&mut used[at].size_mib_seconds, *size_mib);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: &str = "Asia/Ho_Chi_Minh";

    fn held(system: &str, vcpus: i64) -> SystemHeld {
        SystemHeld {
            system: system.to_owned(),
            virtual_machines: 1,
            vcpus,
            memory_mib: 1024,
            addresses: 2,
            storage: vec![StorageHeld {
                class: "standard".to_owned(),
                size_mib: 10,
            }],
        }
    }

    fn begun(at: &str, held: Vec<SystemHeld>) -> Month {
        let at: Timestamp = at.parse().unwrap();
        Month::begin(&at.to_zoned(zone(ZONE).unwrap()), held)
    }

    fn on(month: Month, at: &str) -> Vec<Month> {
        month.carried_on(&zone(ZONE).unwrap(), at.parse().unwrap())
    }

    #[test]
    fn a_day_begins_where_the_province_has_midnight() {
        // 17:00 in Greenwich.
        let record = begun("2026-11-26T16:00:00Z", vec![held("a01", 2)]);
        let months = on(record, "2026-11-26T17:30:00Z");
        assert_eq!(months.len(), 1);
        let status = &months[0].status;
        let days: Vec<_> = status
            .days
            .iter()
            .map(|day| (day.day.as_str(), day.systems[0].vcpu_seconds))
            .collect();
        assert_eq!(days, [("2026-11-26", 7200), ("2026-11-27", 3600)]);
        assert_eq!(status.days[1].systems[0].memory_mib_seconds, 1024 * 1800);
        assert_eq!(
            status.days[1].systems[0].storage[0].size_mib_seconds,
            18_000
        );
        assert_eq!(status.until, "2026-11-26T17:30:00Z");
        assert_eq!(status.day_count, 2);
    }

    #[test]
    fn a_month_that_is_over_is_closed_and_those_in_between_are_whole() {
        let record = begun("2026-11-30T16:59:00Z", vec![held("a01", 1)]);
        let months = on(record, "2027-01-01T00:00:00Z");
        let names: Vec<_> = months.iter().map(|month| month.month.as_str()).collect();
        assert_eq!(names, ["2026-11", "2026-12", "2027-01"]);
        assert!(months[0].status.closed && months[1].status.closed);
        assert_eq!(months[0].status.days[0].systems[0].vcpu_seconds, 60);
        assert_eq!(months[1].status.days.len(), 31);
        let whole = |day: &UsageDay| day.systems[0].vcpu_seconds == 86_400;
        assert!(months[1].status.days.iter().all(whole));
        assert!(!months[2].status.closed);
        assert_eq!(months[2].status.held, [held("a01", 1)]);
    }

    #[test]
    fn a_month_that_ends_just_now_has_no_day_of_the_next_one() {
        let record = begun("2026-11-30T16:00:00Z", vec![held("a01", 1)]);
        let months = on(record, "2026-11-30T17:00:00Z");
        assert_eq!(months.len(), 2);
        assert!(months[0].status.closed);
        assert_eq!(months[0].status.until, "2026-11-30T17:00:00Z");
        assert_eq!(months[1].month, "2026-12");
        assert!(months[1].status.days.is_empty());
    }

    #[test]
    fn in_two_steps_it_comes_to_the_same_as_in_one() {
        let record = begun("2026-11-26T10:00:00Z", vec![held("a01", 2), held("w30", 4)]);
        let once = on(record.clone(), "2026-11-28T20:00:00Z");
        let first = on(record, "2026-11-27T03:21:09Z").remove(0);
        assert_eq!(on(first, "2026-11-28T20:00:00Z"), once);
    }

    #[test]
    fn from_a_month_that_is_over_it_goes_on_as_if_the_next_had_been_there() {
        let record = begun("2026-11-30T10:00:00Z", vec![held("a01", 2)]);
        let whole = on(record, "2026-12-02T20:00:00Z");
        assert_eq!(on(whole[0].clone(), "2026-12-02T20:00:00Z"), whole);
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing() {
        let record = begun("2026-11-26T10:00:00Z", vec![held("a01", 2)]);
        assert_eq!(on(record.clone(), "2026-11-26T09:00:00Z"), [record]);
    }

    #[test]
    fn nothing_held_leaves_no_days() {
        let record = begun("2026-11-26T10:00:00Z", Vec::new());
        let months = on(record, "2026-11-28T10:00:00Z");
        assert!(months[0].status.days.is_empty());
        assert_eq!(months[0].status.until, "2026-11-28T10:00:00Z");
    }
}
