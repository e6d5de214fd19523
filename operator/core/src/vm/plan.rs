//! The next step of one machine.

use dc_crds::ERASE_ORDERED_BY;
use dc_types::claim::VmClaim;
use dc_types::plan::{Item, ItemKey};
use dc_types::report::{Detail, ItemState};
use dc_types::{HostName, InstanceId};

use super::claim::{Amend, amend, claim, dropped};
use super::items::{self, Held};
use super::validate::{DiskVolume, validate};
use super::{DiskSeen, Seen, ValidVm, deletion, home, moving, returns};
use crate::claims::Claimed;
use crate::lease::Term;
use crate::object::{self, Life};
use crate::place::Presence;
use crate::plan::{Maker, NewVolume, Plan};
use crate::quota::wish::{Asker, MachineSize, of_machine};
use crate::sight::{self, Sight};
use crate::txn::Txn;
use crate::volume::{encryption, pending_restore};
use crate::words::{Awaited, Fact};

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    if object::life(&seen.vm.metadata) == Life::Deleting {
        return match moving::stays(seen) {
            None => deletion::plan(seen),
            Some(fact) => stay(seen, fact),
        };
    }
    if !object::is_held(&seen.vm.metadata) {
        return Plan::found(Fact::Creating);
    }
    match validate(seen) {
        Err(found) => Plan::all_found(found),
        Ok(valid) => Plan {
            again_at: valid.term.as_ref().and_then(|term| term.next),
            ..plan_valid(seen, &valid)
        },
    }
}

/// It goes on as it was, and is deleted once its host has said in which place the bytes of its disks
/// are.
fn stay(seen: &Seen<'_>, why: Fact) -> Plan {
    let old = seen.claims.vms.get(&super::id(seen.me));
    match (validate(seen), old) {
        (Ok(valid), Some(old)) => carry(seen, &valid, old, &there(&valid), Some(why)),
        (Err(found), _) => Plan::all_found([vec![why], found].concat()),
        (Ok(_), None) => Plan::found(why),
    }
}

/// The volumes of its disks that are there.
fn there(valid: &ValidVm) -> Vec<InstanceId> {
    let disks = valid.disks.iter();
    disks
        .filter_map(|disk| match disk.volume {
            DiskVolume::There(id) => Some(id),
            DiskVolume::ToMake(_) => None,
        })
        .collect()
}

fn plan_valid(seen: &Seen<'_>, valid: &ValidVm) -> Plan {
    let volumes = there(valid);
    if let Some(returning) = returns::find(seen, valid, &volumes) {
        let old = seen.claims.vms.get(&valid.id);
        return returns::plan(seen, valid, old, &volumes, returning);
    }
    let make = volumes_to_make(seen, valid);
    let unclaimed = volumes_unclaimed(seen, valid);
    if let Err(fact) = allowed_whole(seen, valid, &make) {
        return Plan::found(fact);
    }
    if !make.is_empty() || !unclaimed.is_empty() {
        // A machine whose disk is being added goes on meanwhile as it was.
        return Plan {
            make,
            ..Plan::found(waiting_for(seen, valid, &unclaimed))
        };
    }
    let Some(old) = seen.claims.vms.get(&valid.id) else {
        return match claim(seen, valid, &volumes) {
            Ok(txn) => Plan::claim(txn),
            Err(fact) => Plan::found(fact),
        };
    };
    let txn = Txn::new(format!("vm {}: volumes formatted", seen.me))
        .unchanged(dc_types::claim::keys::vm(valid.id), old.revision);
    let said = (old.epoch, seen.said);
    if let Some(txn) = encryption::formatted(txn, seen.claims, &old.value.volumes, said) {
        return Plan::claim(txn);
    }
    match amend(seen, valid, old, &volumes) {
        Amend::Txn(txn) => Plan::claim(txn),
        Amend::Refused(fact) => carry(seen, valid, old, &volumes, Some(fact)),
        Amend::Nothing => carry(seen, valid, old, &volumes, None),
    }
}

/// No volume is made before there is room for all of them and for the machine.
fn allowed_whole(seen: &Seen<'_>, valid: &ValidVm, make: &[NewVolume]) -> Result<(), Fact> {
    if make.is_empty() {
        return Ok(());
    }
    let held = seen.claims.vms.get(&valid.id);
    let held = held.map(|claim| MachineSize::held(&claim.value));
    let mut asks = of_machine(valid.size(), held);
    for volume in make {
        let size = encryption::whole_size(&volume.spec);
        if let (Some(thing), Ok(size)) = (seen.allowance.storage(&volume.spec.pool), size) {
            asks.add(thing, size.0);
        }
    }
    seen.allowance.check(seen.claims, Asker::of(seen.me), &asks)
}

fn volumes_to_make(seen: &Seen<'_>, valid: &ValidVm) -> Vec<NewVolume> {
    let specs = valid.disks.iter().filter_map(|disk| match &disk.volume {
        DiskVolume::ToMake(spec) => Some((disk.volume_name.as_str(), spec.as_ref())),
        DiskVolume::There(_) => None,
    });
    let annotations = seen.vm.metadata.annotations.as_ref();
    specs
        .map(|(name, spec)| NewVolume {
            name: name.to_owned(),
            maker: Maker::Machine(seen.me.clone()),
            spec: spec.clone(),
            ordered_by: annotations.and_then(|a| a.get(ERASE_ORDERED_BY)).cloned(),
        })
        .collect()
}

fn volumes_unclaimed(seen: &Seen<'_>, valid: &ValidVm) -> Vec<String> {
    let unclaimed = valid.disks.iter().filter(|disk| match disk.volume {
        DiskVolume::There(id) => match seen.claims.volumes.get(&id) {
            None => true,
            // One that it has already is not being brought back.
            Some(_) if seen.claims.attachment_of(id).is_some() => false,
            Some(claim) => {
                let at = seen.disks.iter().find(|seen| is_volume(seen, id));
                let said = at.and_then(|disk| disk.volume_said.as_ref());
                pending_restore(&claim.value, said).is_some() || !claim.value.contents.is_whole()
            }
        },
        DiskVolume::ToMake(_) => true,
    });
    unclaimed.map(|disk| disk.volume_name.clone()).collect()
}

fn is_volume(disk: &DiskSeen<'_>, id: InstanceId) -> bool {
    let uid = disk.volume.and_then(|v| object::uid(&v.metadata));
    uid.is_some_and(|uid| uid.0 == id.0)
}

/// Names the volumes, each with its own trouble where it has said one.
fn waiting_for(seen: &Seen<'_>, valid: &ValidVm, names: &[String]) -> Fact {
    let with_words = |name: &String| {
        let at = valid.disks.iter().position(|d| d.volume_name == *name);
        let volume = at.and_then(|at| seen.disks.get(at)).and_then(|d| d.volume);
        let status = volume.and_then(|volume| volume.status.as_ref());
        let ready = status.and_then(|status| {
            crate::conditions::find(&status.conditions, dc_crds::condition::types::READY)
        });
        // That it is being made is what one expects of a volume that is waited for.
        let says = ready.filter(|ready| ready.reason != Fact::Creating.words().reason);
        Awaited {
            volume: name.clone(),
            says: says.map(|ready| ready.message.clone()),
        }
    };
    Fact::VolumesPending {
        waiting: names.iter().map(with_words).collect(),
    }
}

pub(super) fn carry(
    seen: &Seen<'_>,
    valid: &ValidVm,
    old: &Claimed<VmClaim>,
    volumes: &[InstanceId],
    trouble: Option<Fact>,
) -> Plan {
    let disks: Vec<(Held<'_>, &DiskSeen<'_>)> = volumes
        .iter()
        .zip(seen.disks)
        .filter_map(|(volume, disk)| Some((Held::find(seen, *volume)?, disk)))
        .collect();
    let mut found: Vec<Fact> = trouble.into_iter().collect();
    let keys = disks.iter();
    let keys =
        keys.map(|(held, _)| encryption::luks(seen.claims, &held.claim.value, seen.open_key));
    found.extend(keys.filter_map(|(_, fact)| fact).map(Fact::Encryption));
    let mut carry: Vec<(HostName, Item)> = Vec::new();
    let granted = carry_grants(seen, valid, &disks, &mut carry);
    let host = &old.value.host;
    let machine = items::machine(seen, valid, old, &disks);
    if let Some(next) = moving::next(seen, &old.value.volumes, machine.as_ref(), &disks) {
        return next;
    }
    let drops = moving::drops(seen, &dropped(&old.value, volumes));
    let presence = seen
        .index
        .host(host)
        .map_or(Presence::Never, |h| h.presence);
    match machine {
        // The item that it holds has that disk, and says where it goes.
        Some(_) if drops.is_some() => found.extend(drops),
        // What a host holds already it is told of, whatever its storage does meanwhile.
        Some(machine) if granted.is_ok() || seen.said.is_some() => {
            let sight = sight::of_item(host, presence, &machine, seen.said);
            if let Sight::AsAsked(_) = sight
                && let Some(plan) = let_go_of(seen, old, &dropped(&old.value, volumes))
            {
                return plan;
            }
            found.extend(granted.err());
            found.extend(told(host, sight, valid));
            carry.push((host.clone(), machine));
        }
        Some(_) | None => found.push(granted.err().unwrap_or(Fact::Starting {
            host: host.to_string(),
        })),
    }
    // That nothing is known of it has more to it when its data lies there too.
    let silent = Fact::HostSilent {
        host: host.to_string(),
    };
    for fact in found.iter_mut().filter(|fact| **fact == silent) {
        *fact = home::silent(seen, host);
    }
    Plan {
        carry,
        found,
        ..Plan::default()
    }
}

/// Carries the grants; answers with what they wait for.
fn carry_grants(
    seen: &Seen<'_>,
    valid: &ValidVm,
    disks: &[(Held<'_>, &DiskSeen<'_>)],
    carry: &mut Vec<(HostName, Item)>,
) -> Result<(), Fact> {
    let mut waiting = Vec::new();
    let mut told = None;
    for ((held, disk), named) in disks.iter().zip(&valid.disks) {
        let host = held.storage_host();
        let presence = seen
            .index
            .host(host)
            .map_or(Presence::Never, |h| h.presence);
        let Some(item) = items::grant(seen, held, disk.way.as_ref()) else {
            // What the host holds stays; it has not said yet how its volumes are opened.
            waiting.push(named.volume_name.clone());
            told = told.or(unseen(host, presence));
            continue;
        };
        match sight::of_item(host, presence, &item, disk.grant_said.as_ref()) {
            Sight::AsAsked(_) => {}
            Sight::OnTheWay(_) => waiting.push(named.volume_name.clone()),
            Sight::Told(fact) => {
                told = told.or(volume_trouble(host, disk)).or(Some(fact));
                waiting.push(named.volume_name.clone());
            }
        }
        carry.push((host.clone(), item));
        // What the machine runs by is the first place: it waits for no other.
        if let Some(second) = moving::opened(seen, held.volume)
            && let Some(item) = moving::grant(seen, &second, disk)
        {
            carry.push((second.claim.value.host.clone(), item));
        }
    }
    match (waiting.is_empty(), told) {
        (true, _) => Ok(()),
        (false, Some(fact)) => Err(fact),
        (false, None) => Err(Fact::GrantsPending { waiting }),
    }
}

/// Why a host has not said something.
fn unseen(host: &HostName, presence: Presence) -> Option<Fact> {
    let host = host.to_string();
    match presence {
        Presence::Connected => None,
        Presence::Silent => Some(Fact::HostSilent { host }),
        Presence::Never => Some(Fact::HostNeverSeen { host }),
    }
}

/// A volume that failed explains a grant that waits.
fn volume_trouble(host: &HostName, disk: &DiskSeen<'_>) -> Option<Fact> {
    match &disk.volume_said.as_ref()?.state {
        ItemState::Failed(trouble) => Some(Fact::HostSays {
            host: host.to_string(),
            standing: crate::words::Standing::Troubled,
            reason: trouble.reason.clone(),
            message: trouble.message.clone(),
        }),
        ItemState::Ready | ItemState::Pending(_) => None,
    }
}

/// Gives back volumes that the object no longer names, once the host is as asked without them.
pub(super) fn let_go_of(
    seen: &Seen<'_>,
    old: &Claimed<VmClaim>,
    dropped: &[InstanceId],
) -> Option<Plan> {
    if dropped.is_empty() {
        return None;
    }
    let mut claim = old.value.clone();
    claim.volumes.retain(|volume| !dropped.contains(volume));
    let key = dc_types::claim::keys::vm(claim.vm);
    let mut txn = Txn::new(format!("vm {}: detach", seen.me))
        .unchanged(key.clone(), old.revision)
        .put(key, &claim);
    let mut uncarry: Vec<(HostName, ItemKey)> = Vec::new();
    for &volume in dropped {
        let (next, gone) = deletion::detach(txn, seen, claim.vm, volume);
        txn = next;
        uncarry.extend(gone);
    }
    Some(Plan {
        uncarry,
        ..Plan::claim(txn)
    })
}

fn told(host: &HostName, sight: Sight, valid: &ValidVm) -> Option<Fact> {
    use dc_types::plan::Power;
    use dc_types::report::Guest;
    let on = |host: &HostName| host.to_string();
    match sight {
        Sight::Told(fact) => Some(fact),
        Sight::OnTheWay(_) => Some(match valid.power {
            Power::On => Fact::Starting { host: on(host) },
            Power::Off => Fact::Stopping,
        }),
        Sight::AsAsked(detail) => {
            let Detail::Vm { guest, .. } = detail else {
                return None;
            };
            match (valid.power, guest) {
                (Power::On, Guest::Running) => None,
                (Power::On, Guest::Starting) => Some(Fact::Starting { host: on(host) }),
                (Power::On, Guest::Paused) => Some(Fact::Paused { host: on(host) }),
                (Power::On, Guest::Crashed) => Some(Fact::Crashed { host: on(host) }),
                (Power::On, Guest::Stopped | Guest::Absent) => Some(Fact::StoppedByItself),
                (Power::On | Power::Off, Guest::Stopping) => Some(Fact::Stopping),
                (Power::Off, Guest::Running | Guest::Starting | Guest::Paused) => {
                    Some(Fact::Stopping)
                }
                (Power::Off, Guest::Stopped | Guest::Absent | Guest::Crashed) => {
                    let over = valid.term.as_ref().filter(|term| term.is_over());
                    Some(over.map_or(Fact::Stopped, Term::fact))
                }
            }
        }
    }
}
