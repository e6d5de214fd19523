//! What the agent remembers of a machine and cannot see on libvirt: how it last stopped, since
//! when it is being stopped, how often it was started in a row.
//!
//! A record is written before what it speaks of is done: `Starting` before the start, the time of
//! the first press of the power button before the press. What is then found on the machine
//! [`settle`]s it. Losing a record loses history and never a guest: that a disk was moved stands in the
//! domain's metadata as well.

use std::collections::BTreeMap;

use dc_types::InstanceId;
use dc_types::report::Stop;
use serde::{Deserialize, Serialize};

use super::hold::HoldRecord;
use super::moves::MoveRecord;
use super::plugs::Unplugging;
use super::seen::{Off, Power};

/// After this many seconds of running a start counts as a good one, and the count of starts in a
/// row begins again.
pub const LONG_RUN_S: i64 = 600;

/// The form on disk; a later one keeps reading this one.
pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub phase: Phase,
    /// Set from the first press of the power button until the guest is off.
    pub stopping: Option<Stopping>,
    pub last_stop: Option<Stop>,
    /// The last stop was the guest's own doing: its policy decides whether it starts again.
    pub unasked: bool,
    /// The restart text it was last started with.
    pub restart: String,
    /// Starts in a row that were not followed by a long run or an ordered stop.
    pub starts: u32,
    /// When it was last started, seconds since 1970.
    pub started_at: Option<i64>,
    /// When the guest was last resumed after an error of its disk.
    pub resumed_at: Option<i64>,
    /// The last hold that was asked of the guest.
    #[serde(default)]
    pub hold: Option<HoldRecord>,
    /// Moves of its disks, by volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moves: BTreeMap<InstanceId, MoveRecord>,
    /// Disks that the guest was asked to let go of, by serial.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unplugs: BTreeMap<String, Unplugging>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Idle,
    /// A start was ordered; whether it happened is not known yet.
    Starting {
        boot_id: String,
    },
    /// It was seen running, on this boot of the host.
    Running {
        boot_id: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    pub since: i64,
    pub pressed: i64,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            version: VERSION,
            phase: Phase::Idle,
            stopping: None,
            last_stop: None,
            unasked: false,
            restart: String::new(),
            starts: 0,
            started_at: None,
            resumed_at: None,
            hold: None,
            moves: BTreeMap::new(),
            unplugs: BTreeMap::new(),
        }
    }
}

impl Record {
    /// The record of a running domain of which nothing was written down.
    #[must_use]
    pub fn found_running(restart: &str, now: i64) -> Self {
        Self {
            restart: restart.to_owned(),
            started_at: Some(now),
            hold: Some(HoldRecord::unknown(now)),
            ..Self::default()
        }
    }

    /// The record just before a start.
    #[must_use]
    pub fn starting(&self, restart: &str, now: i64, boot_id: &str) -> Self {
        Self {
            phase: Phase::Starting {
                boot_id: boot_id.to_owned(),
            },
            stopping: None,
            unasked: false,
            restart: restart.to_owned(),
            starts: self.starts.saturating_add(1),
            started_at: Some(now),
            resumed_at: None,
            ..self.clone()
        }
    }

    #[must_use]
    pub fn running(&self, boot_id: &str) -> Self {
        Self {
            phase: Phase::Running {
                boot_id: boot_id.to_owned(),
            },
            ..self.clone()
        }
    }

    /// How long to wait, from the last start, before the next one: nothing at first, then from
    /// five seconds doubling to five minutes.
    #[must_use]
    pub fn pause_s(&self) -> i64 {
        match self.starts {
            0 => 0,
            n => (5i64 << (n - 1).min(6)).min(300),
        }
    }
}

/// The record as it must be after a look at the domain; `None` for `power` means no domain.
#[must_use]
pub fn settle(record: &Record, power: Option<Power>, now: i64, boot_id: &str) -> Record {
    match power {
        Some(Power::Running) => match record.phase {
            Phase::Running { .. } => record.clone(),
            Phase::Idle | Phase::Starting { .. } => record.running(boot_id),
        },
        Some(Power::Paused(_) | Power::ShuttingDown) => record.clone(),
        Some(Power::Panicked) => settle_panicked(record),
        Some(Power::Off(off)) => settle_off(record, Some(off), now, boot_id),
        None => settle_off(record, None, now, boot_id),
    }
}

/// The guest has stopped, though its QEMU has not; that it is then cleared away is no further stop.
fn settle_panicked(record: &Record) -> Record {
    if record.phase == Phase::Idle {
        return record.clone();
    }
    Record {
        phase: Phase::Idle,
        last_stop: Some(Stop::Crashed),
        unasked: record.stopping.is_none(),
        ..record.clone()
    }
}

fn settle_off(record: &Record, off: Option<Off>, now: i64, boot_id: &str) -> Record {
    let idle = Record {
        phase: Phase::Idle,
        stopping: None,
        ..record.clone()
    };
    match &record.phase {
        Phase::Idle => idle,
        // It never ran. A start that libvirt itself refused is paced by whoever retries it.
        Phase::Starting { .. } => match off {
            Some(Off::Failed) | None => Record {
                starts: record.starts.saturating_sub(1),
                ..idle
            },
            Some(_) => idle,
        },
        Phase::Running { boot_id: then } => {
            let asked = record.stopping.is_some();
            let how = how_it_stopped(off, asked, then == boot_id);
            let ran_s = now - record.started_at.unwrap_or(now);
            Record {
                last_stop: Some(how),
                unasked: !asked && how != Stop::HostLost,
                starts: if asked || how == Stop::HostLost || ran_s >= LONG_RUN_S {
                    0
                } else {
                    record.starts
                },
                ..idle
            }
        }
    }
}

fn how_it_stopped(off: Option<Off>, asked: bool, same_boot: bool) -> Stop {
    if !same_boot {
        return Stop::HostLost;
    }
    match off {
        Some(Off::Destroyed) => Stop::Forced,
        Some(Off::Crashed) => Stop::Crashed,
        _ if asked => Stop::Clean,
        Some(Off::ByGuest) => Stop::ByGuest,
        // libvirt does not know either: unknown is not healthy.
        Some(Off::Failed | Off::Unknown) | None => Stop::Crashed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(asked: bool) -> Record {
        Record {
            stopping: asked.then_some(Stopping {
                since: 10,
                pressed: 10,
            }),
            ..Record::default().starting("r", 0, "b1").running("b1")
        }
    }

    #[test]
    fn how_a_guest_stopped_is_told_from_who_asked_and_what_libvirt_saw() {
        let table = [
            (true, Off::ByGuest, Stop::Clean),
            (true, Off::Destroyed, Stop::Forced),
            (true, Off::Crashed, Stop::Crashed),
            (true, Off::Unknown, Stop::Clean),
            (false, Off::ByGuest, Stop::ByGuest),
            (false, Off::Destroyed, Stop::Forced),
            (false, Off::Crashed, Stop::Crashed),
            (false, Off::Unknown, Stop::Crashed),
        ];
        for (asked, off, stop) in table {
            let settled = settle(&running(asked), Some(Power::Off(off)), 50, "b1");
            assert_eq!(settled.last_stop, Some(stop), "{asked} {off:?}");
            assert_eq!(settled.unasked, !asked, "{asked} {off:?}");
            assert_eq!(settled.phase, Phase::Idle);
            assert_eq!(settled.stopping, None);
        }
    }

    #[test]
    fn a_guest_that_was_running_at_another_boot_was_lost_with_its_host() {
        let settled = settle(&running(false), None, 50, "b2");
        assert_eq!(settled.last_stop, Some(Stop::HostLost));
        assert!(!settled.unasked, "its own policy has no say");
    }

    #[test]
    fn a_start_that_did_not_happen_is_not_a_stop() {
        let record = Record::default().starting("r", 0, "b1");
        let settled = settle(&record, Some(Power::Off(Off::ByGuest)), 1, "b1");
        assert_eq!(settled.last_stop, None);
        assert!(!settled.unasked);
        assert_eq!(settled.starts, 1);
        let refused = settle(&record, Some(Power::Off(Off::Failed)), 1, "b1");
        assert_eq!(refused.starts, 0);
    }

    #[test]
    fn starts_in_a_row_wait_longer_and_a_long_run_ends_the_row() {
        let mut record = running(false);
        let pauses: Vec<i64> = (0..10)
            .map(|starts| {
                Record {
                    starts,
                    ..record.clone()
                }
                .pause_s()
            })
            .collect();
        assert_eq!(pauses, [0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        record.starts = 5;
        let crash = Some(Power::Off(Off::Crashed));
        assert_eq!(settle(&record, crash, LONG_RUN_S - 1, "b1").starts, 5);
        assert_eq!(settle(&record, crash, LONG_RUN_S, "b1").starts, 0);
    }

    #[test]
    fn settling_twice_changes_nothing_more() {
        for record in [Record::default(), running(false), running(true)] {
            for power in [
                None,
                Some(Power::Running),
                Some(Power::Off(Off::Crashed)),
                Some(Power::Off(Off::Failed)),
                Some(Power::Panicked),
            ] {
                let once = settle(&record, power, 50, "b1");
                assert_eq!(settle(&once, power, 51, "b1"), once, "{record:?} {power:?}");
            }
        }
    }

    #[test]
    fn a_record_of_the_first_form_still_reads() {
        let old = r#"{"version":1,"phase":{"Running":{"boot_id":"b"}},"stopping":{"since":1,
            "pressed":2},"last_stop":"Clean","unasked":false,"restart":"x","starts":1,
            "started_at":5,"resumed_at":null}"#;
        let record: Record = serde_json::from_str(old).unwrap();
        assert_eq!(record.last_stop, Some(Stop::Clean));
        assert_eq!(
            record.phase,
            Phase::Running {
                boot_id: "b".into()
            }
        );
    }
}
