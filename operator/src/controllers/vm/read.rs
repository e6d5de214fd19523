//! What is read around one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use dc_crds::lease::Lease;
use dc_crds::vm::Disk;
use dc_crds::{MachineClass, StoragePool, Subnet, VirtualMachine, Volume, Zone};
use dc_operator_core::claims::Claims;
use dc_operator_core::object::{self, Life};
use dc_operator_core::sight::Removal;
use dc_operator_core::vm::moving::SecondSeen;
use dc_operator_core::vm::{CardSeen, DiskSeen, Reach, Way, grant_key, id, key, volume_name};
use dc_operator_core::volume::{self, Named};
use dc_types::report::Observation;
use dc_types::{HostName, InstanceId, ObjectRef, SubnetUid};

use crate::controllers::look::Look;

pub struct Read {
    pub system: Named,
    pub system_lease: Option<Lease>,
    pub class: Option<Arc<MachineClass>>,
    cards: Vec<CardRead>,
    disks: Vec<DiskRead>,
    /// The other machines of its spread group.
    group: Vec<InstanceId>,
    /// What other machines ask for by hand in the subnets of its cards.
    pub wished: BTreeSet<(SubnetUid, IpAddr)>,
    /// The host of its claim.
    host: Option<HostName>,
    pub said: Option<Observation>,
}

/// The subnet of a card and the zone of that, as far as they are there.
type CardRead = (Option<Arc<Subnet>>, Option<Arc<Zone>>);

struct DiskRead {
    volume: Option<Arc<Volume>>,
    /// The place of its bytes, and the storage host.
    at: Option<(InstanceId, HostName)>,
    reach: Reach,
    way: Option<Way>,
    volume_said: Option<Observation>,
    grant_said: Option<Observation>,
    second: Option<SecondSeen>,
}

/// How far the removals of a machine and of its grants are.
pub struct Removals {
    pub machine: Removal,
    grants: Vec<Removal>,
}

impl Read {
    pub fn new(look: &mut Look<'_>, vm: &VirtualMachine, me: &ObjectRef) -> Self {
        let namespace = &me.namespace;
        let found = look.system(namespace, &vm.spec.system);
        let system = match found {
            Some(_) => Named::There,
            // What is tried belongs to no system.
            None if *namespace == look.context.parts.namespace => Named::There,
            None => Named::Absent,
        };
        let system_lease = found.and_then(|system| system.spec.lease.clone());
        // A snapshot asks for its guest to be held by a claim under its id.
        look.claim(me.uid.0);
        let class = look.class("", &vm.spec.class);
        let mut cards = Vec::new();
        for card in &vm.spec.interfaces {
            let subnet = look.subnet(namespace, &card.subnet);
            if let Some(uid) = subnet.as_ref().and_then(|s| object::uid(&s.metadata)) {
                look.claim(uid.0);
            }
            let zone = subnet.as_ref().and_then(|s| look.zone("", &s.spec.zone));
            cards.push((subnet, zone));
        }
        let disks = vm.spec.disks.iter();
        let disks = disks.map(|disk| read_disk(look, me, disk));
        let disks = disks.collect();
        let host = look.context.parts.ledger.with_claims(|claims| {
            let claim = claims.vms.get(&id(me));
            claim.map(|claim| claim.value.host.clone())
        });
        if let Some(host) = &host {
            look.presence(host);
        }
        let said = host.as_ref().and_then(|host| look.said(host, &key(me)));
        Self {
            system,
            system_lease,
            class,
            wished: match host {
                // It has its addresses.
                Some(_) => BTreeSet::new(),
                None => wished(look, &cards, me),
            },
            cards,
            disks,
            group: match host {
                // It has its place; the others choose theirs.
                Some(_) => Vec::new(),
                None => group(look, vm, me),
            },
            host,
            said,
        }
    }

    pub fn cards(&self) -> Vec<CardSeen<'_>> {
        let cards = self.cards.iter().map(|(subnet, zone)| CardSeen {
            subnet: subnet.as_deref(),
            zone: zone.as_deref(),
        });
        cards.collect()
    }

    pub fn disks(&self, removals: &Removals) -> Vec<DiskSeen<'_>> {
        let disks = self.disks.iter().zip(&removals.grants);
        let disks = disks.map(|(disk, removal)| DiskSeen {
            volume: disk.volume.as_deref(),
            reach: disk.reach.clone(),
            way: disk.way.clone(),
            volume_said: disk.volume_said.clone(),
            grant_said: disk.grant_said.clone(),
            grant_removal: *removal,
            second: disk.second.clone(),
        });
        disks.collect()
    }

    pub fn removals(&self, look: &mut Look<'_>, claims: &Claims, me: &ObjectRef) -> Removals {
        let machine = match (&self.host, claims.vms.get(&id(me))) {
            (Some(host), Some(claim)) => look.removal(claims, host, &key(me), claim.epoch),
            _ => Removal::NotAsked,
        };
        let grants = self.disks.iter().map(|disk| match &disk.at {
            Some((place, host)) => {
                let pending = (host.clone(), grant_key(*place));
                match claims.releases.contains_key(&pending) {
                    true => Removal::Pending,
                    false => Removal::Done,
                }
            }
            None => Removal::Done,
        });
        Removals {
            machine,
            grants: grants.collect(),
        }
    }

    /// How many of its group each host has.
    pub fn spread(&self, claims: &Claims) -> BTreeMap<HostName, u32> {
        let mut spread = BTreeMap::new();
        for vm in self.group.iter().filter_map(|vm| claims.vms.get(vm)) {
            *spread.entry(vm.value.host.clone()).or_default() += 1;
        }
        spread
    }
}

fn read_disk(look: &mut Look<'_>, vm: &ObjectRef, disk: &Disk) -> DiskRead {
    let volume = look.volume(&vm.namespace, &volume_name(&vm.name, disk));
    let me = volume
        .as_ref()
        .and_then(|v| object::object_ref(&v.metadata));
    let wanted_in = match (&volume, &disk.template) {
        (Some(volume), _) => Some(&volume.spec.pool),
        (None, template) => template.as_ref().map(|template| &template.pool),
    };
    let unclaimed = |look: &mut Look<'_>| {
        let pool = wanted_in.and_then(|name| pool(look, name));
        Reach::of_wanted(pool.as_deref())
    };
    let Some(me) = me else {
        return DiskRead {
            at: None,
            reach: unclaimed(look),
            way: None,
            volume_said: None,
            grant_said: None,
            second: None,
            volume,
        };
    };
    look.claim(me.uid.0);
    let id = volume::id(&me);
    let host = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.volumes.get(&id);
        claim.map(|claim| {
            let claim = &claim.value;
            (claim.host.clone(), claim.pool.clone(), claim.place())
        })
    });
    let Some((host, pool_name, place)) = host else {
        return DiskRead {
            at: None,
            reach: unclaimed(look),
            way: None,
            volume_said: None,
            grant_said: None,
            second: None,
            volume,
        };
    };
    // Its attachment and its grant go by the place.
    look.claim(place.0);
    look.presence(&host);
    let way = look
        .facts_once(&host)
        .and_then(|facts| Way::of(&facts, &pool_name));
    let object = pool(look, pool_name.as_str());
    DiskRead {
        reach: Reach::of_claimed(&pool_name, &host, object.as_deref(), way.as_ref()),
        way,
        volume_said: look.said(&host, &volume::key(place)),
        grant_said: look.said(&host, &grant_key(place)),
        second: read_second(look, id),
        at: Some((place, host)),
        volume,
    }
}

/// The place that a volume is moved to.
fn read_second(look: &mut Look<'_>, volume: InstanceId) -> Option<SecondSeen> {
    let (place, pool, host) = look.context.parts.ledger.with_claims(|claims| {
        let claim = &claims.moves.get(&volume)?.value;
        Some((claim.place, claim.pool.clone(), claim.host.clone()))
    })?;
    look.claim(place.0);
    look.presence(&host);
    let facts = look.facts_once(&host);
    Some(SecondSeen {
        way: facts.and_then(|facts| Way::of(&facts, &pool)),
        grant_said: look.said(&host, &grant_key(place)),
    })
}

/// Objects of one kind are seen in the order in which they were made, so a machine that was asked for
/// first with an address of its own is among them.
fn wished(look: &Look<'_>, cards: &[CardRead], me: &ObjectRef) -> BTreeSet<(SubnetUid, IpAddr)> {
    let subnets: BTreeMap<&str, SubnetUid> = cards
        .iter()
        .filter_map(|(subnet, _)| {
            let meta = &subnet.as_ref()?.metadata;
            Some((meta.name.as_deref()?, SubnetUid(object::uid(meta)?.0)))
        })
        .collect();
    let vms = look.context.stores.vms.in_namespace(&me.namespace);
    // Few ask for an address, and this is looked at for each of the many that may wait: whose it is
    // is read last.
    let others = vms.iter().filter(|vm| {
        let mut cards = vm.spec.interfaces.iter();
        cards.any(|card| card.ipv4.is_some() || card.ipv6.is_some())
            && object::life(&vm.metadata) != Life::Deleting
            && object::uid(&vm.metadata) != Some(me.uid)
    });
    let mut wished = BTreeSet::new();
    for card in others.flat_map(|vm| &vm.spec.interfaces) {
        if let Some(&subnet) = subnets.get(card.subnet.as_str()) {
            let (v4, v6) = (card.ipv4.map(IpAddr::V4), card.ipv6.map(IpAddr::V6));
            wished.extend([v4, v6].into_iter().flatten().map(|ip| (subnet, ip)));
        }
    }
    wished
}

/// A pool's driver never changes, and its status does all the time: only one that is not there is
/// waited for.
fn pool(look: &mut Look<'_>, name: &str) -> Option<Arc<StoragePool>> {
    let there = look.context.stores.pools.get("", name);
    there.or_else(|| look.pool("", name))
}

fn group(look: &Look<'_>, vm: &VirtualMachine, me: &ObjectRef) -> Vec<InstanceId> {
    if vm.spec.spread_group.is_none() {
        return Vec::new();
    }
    let vms = look.context.stores.vms.in_namespace(&me.namespace);
    let mine = vms.iter().filter(|other| {
        other.spec.spread_group == vm.spec.spread_group && other.spec.system == vm.spec.system
    });
    let ids = mine.filter_map(|other| object::uid(&other.metadata));
    ids.filter(|uid| *uid != me.uid)
        .map(|uid| InstanceId(uid.0))
        .collect()
}
