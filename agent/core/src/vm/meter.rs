//! How much the disks of running guests are used, as it is told to people.
//!
//! ```text
//! counts of each look ── WINDOW_S later ──▶ mean of the time between ── differs materially ──▶ told
//! ```
//!
//! What QEMU counts changes with every write, and what is told is written to an object: so a mean of a
//! minute takes the place of the last one only when it is another one to whoever reads it. Live figures
//! are in the metrics. What is remembered here may be lost at any time: it is a minute's worth.

use std::collections::BTreeMap;

use dc_types::plan::{ItemBody, ItemKind};
use dc_types::report::DiskUse;
use dc_types::{Bytes, InstanceId};

use super::seen::{Domain, Seen};
use super::xml::disk::serial;
use crate::wanted::Wanted;

/// Each mean is of at least so long.
pub const WINDOW_S: i64 = 60;
/// A disk that is used by less is told as idle: file systems write a little all the time.
const IOPS_FLOOR: u64 = 5;
const BANDWIDTH_FLOOR: u64 = 256 << 10;

/// Of one disk, since its QEMU began; reads and writes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounts {
    pub operations: u64,
    pub bytes: u64,
}

/// A mean, for each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    pub iops: u64,
    pub bandwidth: Bytes,
}

/// By machine, and by the disk's serial.
pub type Rates = BTreeMap<(InstanceId, String), Rate>;

/// What was counted before.
#[derive(Debug, Default)]
pub struct Meter(BTreeMap<(InstanceId, String), Metered>);

#[derive(Clone, Copy, Debug)]
struct Metered {
    since: i64,
    counts: DiskCounts,
    told: Option<Rate>,
}

impl Meter {
    /// Takes what was counted at `now`, seconds since 1970; answers with what is told from now on.
    pub fn take(&mut self, now: i64, domains: &BTreeMap<InstanceId, Domain>) -> Rates {
        let mut next = BTreeMap::new();
        for (vm, domain) in domains {
            for (serial, disk) in &domain.disks {
                let key = (*vm, serial.clone());
                let old = self.0.get(&key).copied();
                let metered = match disk.counts {
                    Some(counts) => Some(step(old, now, counts)),
                    // Its QEMU was busy.
                    None => old,
                };
                next.extend(metered.map(|metered| (key, metered)));
            }
        }
        self.0 = next;
        let told = self.0.iter();
        told.filter_map(|(key, metered)| Some((key.clone(), metered.told?)))
            .collect()
    }
}

fn step(old: Option<Metered>, now: i64, counts: DiskCounts) -> Metered {
    let afresh = |told| Metered {
        since: now,
        counts,
        told,
    };
    let Some(old) = old else {
        return afresh(None);
    };
    let DiskCounts { operations, bytes } = counts;
    let more = operations
        .checked_sub(old.counts.operations)
        .zip(bytes.checked_sub(old.counts.bytes));
    // Counts that went back are another QEMU's; so is a clock of another time.
    let (Some((operations, bytes)), Ok(elapsed)) = (more, u64::try_from(now - old.since)) else {
        return afresh(old.told);
    };
    if now - old.since < WINDOW_S {
        return old;
    }
    let mean = Rate {
        iops: floored(operations / elapsed, IOPS_FLOOR),
        bandwidth: Bytes(floored(bytes / elapsed, BANDWIDTH_FLOOR)),
    };
    afresh(match old.told {
        Some(told) if !differs(told, mean) => Some(told),
        Some(_) | None => Some(mean),
    })
}

fn floored(value: u64, floor: u64) -> u64 {
    if value < floor { 0 } else { value }
}

/// By more than a quarter of the larger.
fn differs(told: Rate, mean: Rate) -> bool {
    let apart = |a: u64, b: u64| a.abs_diff(b) > a.max(b) / 4;
    apart(told.iops, mean.iops) || apart(told.bandwidth.0, mean.bandwidth.0)
}

/// What is told of a machine's disks.
#[must_use]
pub fn used(vm: &dc_types::plan::VmItem, seen: &Seen) -> Vec<DiskUse> {
    let disks = vm.disks.iter();
    disks
        .filter_map(|disk| {
            let Rate { iops, bandwidth } = *seen.rates.get(&(vm.vm, serial(disk)))?;
            Some(DiskUse {
                volume: disk.volume,
                iops,
                bandwidth,
            })
        })
        .collect()
}

/// What is counted of each volume that a machine of this host has open, for metrics.
#[must_use]
pub fn count_disks(wanted: &Wanted<'_>, seen: &Seen) -> BTreeMap<InstanceId, DiskCounts> {
    let mut counts = BTreeMap::new();
    for item in wanted.of_kind(ItemKind::Vm) {
        let ItemBody::Vm(vm) = &item.body else {
            continue;
        };
        let Some(domain) = seen.domains.get(&vm.vm) else {
            continue;
        };
        counts.extend(vm.disks.iter().filter_map(|disk| {
            let live = domain.disks.get(&serial(disk))?;
            Some((disk.volume, live.counts?))
        }));
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture;
    use crate::vm::seen::{LiveDisk, Power};
    use dc_types::plan::Qos;

    const DISK: &str = "0007";

    fn domains(counts: Option<DiskCounts>) -> BTreeMap<InstanceId, Domain> {
        let disk = LiveDisk {
            device: "vda".into(),
            qos: Qos::default(),
            size: None,
            header: Bytes(0),
            counts,
            source: "target".into(),
            hosts: Vec::new(),
            mirror: None,
        };
        let domain = Domain {
            name: "web".into(),
            metadata: fixture::metadata(),
            power: Power::Running,
            disks: BTreeMap::from([(DISK.to_owned(), disk)]),
            free_slots: None,
        };
        BTreeMap::from([(fixture::vm().vm, domain)])
    }

    fn counts(operations: u64) -> Option<DiskCounts> {
        let bytes = operations * (64 << 10);
        Some(DiskCounts { operations, bytes })
    }

    fn take(meter: &mut Meter, now: i64, counts: Option<DiskCounts>) -> Option<Rate> {
        let told = meter.take(now, &domains(counts));
        told.into_values().next()
    }

    fn rate(iops: u64) -> Option<Rate> {
        let bandwidth = Bytes(iops * (64 << 10));
        Some(Rate { iops, bandwidth })
    }

    #[test]
    fn a_mean_is_told_after_a_minute_and_again_only_when_it_is_another() {
        let mut meter = Meter::default();
        assert_eq!(take(&mut meter, 0, counts(0)), None);
        assert_eq!(take(&mut meter, 30, counts(50_000)), None, "too early");
        assert_eq!(take(&mut meter, 60, counts(6_000)), rate(100));
        // A fifth more, and then half as much again.
        assert_eq!(take(&mut meter, 120, counts(13_200)), rate(100));
        assert_eq!(take(&mut meter, 180, counts(22_200)), rate(150));
        // A guest that does next to nothing is idle.
        assert_eq!(take(&mut meter, 240, counts(22_300)), rate(0));
        assert_eq!(take(&mut meter, 300, counts(22_500)), rate(0));
    }

    #[test]
    fn counts_that_begin_anew_are_no_rate_and_a_busy_qemu_is_no_idle_disk() {
        let mut meter = Meter::default();
        take(&mut meter, 0, counts(0));
        assert_eq!(take(&mut meter, 60, counts(6_000)), rate(100));
        assert_eq!(take(&mut meter, 120, None), rate(100));
        assert_eq!(take(&mut meter, 180, counts(5)), rate(100), "another QEMU");
        assert_eq!(take(&mut meter, 240, counts(12_005)), rate(200));
        // A clock that was set back.
        assert_eq!(take(&mut meter, 10, counts(12_010)), rate(200));
        assert_eq!(meter.take(20, &BTreeMap::new()), Rates::new());
        assert_eq!(take(&mut meter, 30, counts(20_000)), None, "it was off");
    }
}
