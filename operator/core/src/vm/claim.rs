//! The transaction that gives a machine its host, volumes, addresses and MACs: all or nothing.

use std::net::IpAddr;

use dc_types::claim::{AttachClaim, CardClaim, HeldBy, VmClaim, keys};
use dc_types::{HostName, InstanceId};

use super::address::{Asker, Taken, choose_mac, choose_v4, choose_v6};
use super::{Seen, ValidVm, home};
use crate::claims::Claimed;
use crate::place::{Request, verdict};
use crate::quota;
use crate::quota::wish::{MachineSize, of_machine};
use crate::txn::Txn;
use crate::words::Fact;
use crate::words::size::human_memory;

/// Places the machine and claims all it needs; `volumes` are claimed already, in disk order.
pub fn claim(seen: &Seen<'_>, valid: &ValidVm, volumes: &[InstanceId]) -> Result<Txn, Fact> {
    let asks = of_machine(valid.size(), None);
    seen.allowance
        .check(seen.claims, quota::Asker::of(seen.me), &asks)?;
    let cards = claim_cards(seen, valid)?;
    let request = Request {
        vcpus: valid.vcpus,
        memory: valid.memory,
        cpu_model: valid.cpu_model.clone(),
        firmware: valid.firmware,
        machine_type: None,
        zones: valid.cards.iter().map(|card| card.zone).collect(),
        spread: seen.spread.clone(),
        only: home::only(seen)?,
    };
    let placed = seen.index.place(&request).map_err(|verdicts| {
        let hosts: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
        Fact::NoCapacity {
            class: valid.class.clone(),
            need: format!("{} vCPU, {}", valid.vcpus, human_memory(valid.memory)),
            help: verdict::smallest_change(&verdicts),
            hosts: hosts.join("; "),
        }
    })?;
    let claim = VmClaim {
        vm: valid.id,
        owner: seen.me.clone(),
        host: placed.host,
        vcpus: valid.vcpus,
        memory: valid.memory,
        machine_type: placed.machine_type,
        volumes: volumes.to_vec(),
        cards,
    };
    let mut txn = Txn::new(format!("vm {}: claim on {}", seen.me, claim.host))
        .claim(keys::vm(valid.id), &claim);
    for &volume in volumes {
        txn = attach(txn, seen, volume, valid.id, &claim.host);
    }
    let holder = HeldBy {
        holder: seen.me.uid,
    };
    for key in held_keys(&claim) {
        txn = txn.claim(key, &holder);
    }
    Ok(txn)
}

/// Adds the claim of one volume, which must still be claimed as it was seen.
fn attach(txn: Txn, seen: &Seen<'_>, volume: InstanceId, vm: InstanceId, host: &HostName) -> Txn {
    let claim = AttachClaim {
        volume,
        vm,
        host: host.clone(),
    };
    let txn = txn.claim(keys::attach(seen.claims.place_of(volume)), &claim);
    match seen.claims.volumes.get(&volume) {
        Some(volume_claim) => txn.unchanged(keys::volume(volume), volume_claim.revision),
        None => txn,
    }
}

/// The index keys that a machine holds: its addresses and MACs.
#[must_use]
pub fn held_keys(claim: &VmClaim) -> Vec<String> {
    let mut held = Vec::new();
    for CardClaim {
        subnet,
        mac,
        v4,
        v6,
        publish: _,
    } in &claim.cards
    {
        held.push(keys::mac(*mac));
        held.extend(v4.map(|v4| keys::address(*subnet, IpAddr::V4(v4))));
        held.extend(v6.map(|v6| keys::address(*subnet, IpAddr::V6(v6))));
    }
    held
}

fn claim_cards(seen: &Seen<'_>, valid: &ValidVm) -> Result<Vec<CardClaim>, Fact> {
    let mut taken = Taken {
        claims: seen.claims,
        wished: seen.wished,
        also: Vec::new(),
    };
    let mut cards = Vec::new();
    for (card, asked) in valid.cards.iter().enumerate() {
        let asker = Asker {
            card,
            subnet: asked.subnet,
            subnet_name: &asked.subnet_name,
        };
        cards.push(CardClaim {
            subnet: asked.subnet,
            mac: choose_mac(&mut taken, valid.id, card, asked.mac)?,
            v4: choose_v4(&mut taken, asker, asked.prefixes.v4, asked.v4)?,
            v6: choose_v6(&mut taken, asker, asked.prefixes.v6, asked.v6)?,
            publish: asked.publish.clone(),
        });
    }
    Ok(cards)
}

/// What of a claimed machine has to be claimed anew because its object asks for something else.
pub enum Amend {
    Nothing,
    Txn(Txn),
    Refused(Fact),
}

/// Another class, services that are published or no longer, or disks that were added. Disks that were
/// taken away wait until the host has let go of them: see `dropped`.
#[must_use]
pub fn amend(
    seen: &Seen<'_>,
    valid: &ValidVm,
    old: &Claimed<VmClaim>,
    volumes: &[InstanceId],
) -> Amend {
    let mut claim = old.value.clone();
    let asks = of_machine(valid.size(), Some(MachineSize::held(&claim)));
    let asker = quota::Asker::of(seen.me);
    if !asks.is_empty()
        && let Err(fact) = seen.allowance.check(seen.claims, asker, &asks)
    {
        return Amend::Refused(fact);
    }
    for (held, asked) in claim.cards.iter_mut().zip(&valid.cards) {
        held.publish.clone_from(&asked.publish);
    }
    if (claim.vcpus, claim.memory) != (valid.vcpus, valid.memory) {
        let vcpus = valid.vcpus.saturating_sub(claim.vcpus);
        let memory = dc_types::MiB(valid.memory.0.saturating_sub(claim.memory.0));
        let misses = seen.index.verdict_for_growth(&claim.host, vcpus, memory);
        if let Some(miss) = misses.iter().flatten().next() {
            return Amend::Refused(Fact::ClassTooLarge {
                class: valid.class.clone(),
                host: claim.host.to_string(),
                rule: miss.rule,
                need: miss.need.clone(),
                have: miss.have.clone(),
            });
        }
        (claim.vcpus, claim.memory) = (valid.vcpus, valid.memory);
    }
    // One that it has and cannot open was rebuilt from what its host holds, while it was nobody's.
    let is_missing = |volume: &&InstanceId| {
        !old.value.volumes.contains(volume) || seen.claims.attachment_of(**volume).is_none()
    };
    let added: Vec<InstanceId> = volumes.iter().filter(is_missing).copied().collect();
    for volume in &added {
        if !claim.volumes.contains(volume) {
            claim.volumes.push(*volume);
        }
    }
    if claim == old.value && added.is_empty() {
        return Amend::Nothing;
    }
    let mut txn = Txn::new(format!("vm {}: amend", seen.me))
        .unchanged(keys::vm(valid.id), old.revision)
        .put(keys::vm(valid.id), &claim);
    for volume in added {
        txn = attach(txn, seen, volume, valid.id, &claim.host);
    }
    Amend::Txn(txn)
}

/// Volumes that the claim holds and the object no longer names.
#[must_use]
pub fn dropped(claim: &VmClaim, volumes: &[InstanceId]) -> Vec<InstanceId> {
    claim
        .volumes
        .iter()
        .filter(|volume| !volumes.contains(volume))
        .copied()
        .collect()
}
