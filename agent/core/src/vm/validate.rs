//! From an item to a machine that can be planned: every card with its segment, tap, namespace and
//! bridge, every limit checked once.
//!
//! What one object can show is refused at the API already; this is what a host needs on top, so
//! that a faulty plan is told in words rather than by libvirt.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dc_types::plan::{
    DiskSource, Item, ItemBody, ItemKey, NetworkItem, NicItem, RbdCluster, Segment, VmItem,
};
use dc_types::report::Trouble;
use dc_types::{DepartmentName, InstanceId};
use ipnet::IpNet;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::luks;
use super::moves::effective;
use super::record::Record;
use super::xml::writer::clean;
use crate::names::{bridge_name, domain_name, netns_name, tap_name};
use crate::wanted::{HostView, Wanted};

/// Disks `vda` to `vdy`; the seed takes the last letter.
pub const DISKS_MAX: usize = 25;
/// Each card takes a PCI slot of its own; this is far below what q35 has.
pub const CARDS_MAX: usize = 8;

/// A machine that can be planned.
#[derive(Clone, Debug)]
pub struct ValidVm<'a> {
    pub item: &'a Item,
    /// As the plan asks for it.
    pub asked: &'a VmItem,
    /// The same with each disk opened where its bytes are.
    pub vm: Cow<'a, VmItem>,
    pub domain_name: String,
    /// Or what they wait for: a machine can be stopped without its network, not started.
    pub cards: Result<Vec<Card>, Trouble>,
    pub mtu: u32,
    /// Digest of all that takes effect at a start only, the grants and the restart text apart.
    pub definition: String,
    /// The same as other starts have made it: see [`is_defined_as`](Self::is_defined_as).
    also: [String; 3],
    pub files: Files,
}

/// One card with all that surrounds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub nic: NicItem,
    pub segment: Segment,
    pub tap: String,
    pub netns: String,
    pub bridge: String,
}

/// Where a machine's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Seed and UEFI variables.
    pub folder: PathBuf,
    pub seed: PathBuf,
    pub nvram: PathBuf,
    pub console: PathBuf,
    pub record: PathBuf,
}

impl Files {
    #[must_use]
    pub fn of(host: &HostView, vm: InstanceId) -> Self {
        let folder = host.folders.seeds.join(vm.to_string());
        Self {
            seed: folder.join("seed.img"),
            nvram: folder.join("nvram.fd"),
            folder,
            console: host.folders.consoles.join(format!("{vm}.log")),
            record: host.folders.state.join("vm").join(format!("{vm}.json")),
        }
    }
}

/// The item as a machine, or what is wrong with it until it changes; `None` for an item of another
/// kind.
pub fn validate<'a>(
    wanted: &Wanted<'a>,
    item: &'a Item,
    records: &BTreeMap<InstanceId, Record>,
) -> Option<Result<ValidVm<'a>, Trouble>> {
    match &item.body {
        ItemBody::Vm(vm) => Some(validate_vm(wanted, item, vm, records.get(&vm.vm))),
        _ => None,
    }
}

fn validate_vm<'a>(
    wanted: &Wanted<'a>,
    item: &'a Item,
    asked: &'a VmItem,
    record: Option<&Record>,
) -> Result<ValidVm<'a>, Trouble> {
    check_item(item, asked)?;
    let vm = effective(asked, record);
    let network = find_network(wanted, &vm.department);
    let cards = vm
        .nics
        .iter()
        .map(|nic| find_card(&vm, nic, network))
        .collect();
    let mtu = guest_mtu(wanted.host.addresses.overlay);
    Ok(ValidVm {
        item,
        asked,
        domain_name: domain_name(&vm.department, &vm.name, vm.vm),
        definition: definition(&vm, Counted::First, mtu),
        also: [
            definition(asked, Counted::First, mtu),
            definition(&vm, Counted::All, mtu),
            definition(asked, Counted::All, mtu),
        ],
        cards,
        mtu,
        files: Files::of(wanted.host, vm.vm),
        vm,
    })
}

fn check_item(item: &Item, vm: &VmItem) -> Result<(), Trouble> {
    let wrong = |message: String| Err(trouble("InvalidMachine", message));
    if item.key.id != vm.vm.0 {
        return wrong(format!(
            "the item's key says {} and its body {}: report this fault of the operator",
            item.key.id, vm.vm
        ));
    }
    if vm.vcpus == 0 || vm.memory.0 == 0 {
        return wrong("a machine needs at least 1 vCPU and 1 MiB: correct its class".into());
    }
    if vm.disks.is_empty() || vm.disks.len() > DISKS_MAX {
        return wrong(format!(
            "the machine has {} disks: give it 1 to {DISKS_MAX}",
            vm.disks.len()
        ));
    }
    if vm.nics.len() > CARDS_MAX {
        return wrong(format!(
            "the machine has {} interfaces: give it at most {CARDS_MAX}",
            vm.nics.len()
        ));
    }
    let volumes: BTreeSet<_> = vm.disks.iter().map(|disk| disk.volume).collect();
    if volumes.len() != vm.disks.len() {
        return wrong("two disks of the machine are the same volume: remove one".into());
    }
    if let Some(Err(error)) = vm.disks.iter().map(luks::check).find(Result::is_err) {
        return wrong(error);
    }
    let cards: BTreeSet<_> = vm.nics.iter().map(|nic| nic.card).collect();
    if cards.len() != vm.nics.len() {
        return wrong("two interfaces of the machine have one number".into());
    }
    if !vm.machine_type.contains('-') {
        return wrong(format!(
            "machine type {:?} is an alias: name a concrete one, such as pc-q35-7.2",
            vm.machine_type
        ));
    }
    Ok(())
}

fn find_network<'a>(wanted: &Wanted<'a>, department: &DepartmentName) -> Option<&'a NetworkItem> {
    match &wanted.items.get(&ItemKey::network(department))?.body {
        ItemBody::Network(network) => Some(network),
        _ => None,
    }
}

fn find_card(vm: &VmItem, nic: &NicItem, network: Option<&NetworkItem>) -> Result<Card, Trouble> {
    let found = network.and_then(|network| {
        let segment = network
            .segments
            .iter()
            .find(|segment| segment.subnet == nic.subnet)?;
        Some((network, segment))
    });
    let Some((network, segment)) = found else {
        return Err(trouble(
            "WaitsForNetwork",
            format!(
                "interface {} waits for its subnet {} to reach this host",
                nic.card, nic.subnet
            ),
        ));
    };
    Ok(Card {
        nic: nic.clone(),
        segment: segment.clone(),
        tap: tap_name(vm.vm, nic.card),
        netns: netns_name(network.transit),
        bridge: bridge_name(segment.vni),
    })
}

impl Card {
    #[must_use]
    pub fn gateway_v4(&self) -> Option<Ipv4Addr> {
        self.nic.v4.and(self.segment.gateway_v4)
    }

    #[must_use]
    pub fn gateway_v6(&self) -> Option<Ipv6Addr> {
        self.nic.v6.and(self.segment.gateway_v6)
    }

    /// Its addresses, each with the prefix length of its segment.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpNet> {
        let net = |address: IpAddr, length: u8| {
            IpNet::new(address, length).expect("a segment's prefix length fits its family")
        };
        let v4 = self
            .nic
            .v4
            .zip(self.segment.v4)
            .map(|(address, prefix)| net(address.into(), prefix.prefix_len()));
        let v6 = self
            .nic
            .v6
            .zip(self.segment.v6)
            .map(|(address, prefix)| net(address.into(), prefix.prefix_len()));
        v4.into_iter().chain(v6).collect()
    }
}

/// What a guest may send at once: 1500 less the VXLAN header and the outer headers, which are
/// 20 bytes longer with IPv6 (RFC 7348: 14 + 8 + 8 + 20 or 40).
#[must_use]
pub fn guest_mtu(overlay: IpAddr) -> u32 {
    match overlay {
        IpAddr::V4(_) => 1450,
        IpAddr::V6(_) => 1430,
    }
}

/// Everything that a start bakes in. The restart text, the grants and what has no effect on a
/// guest (names, deadlines, policy) are compared on their own or not at all.
#[derive(Serialize)]
struct Definition<'a> {
    vcpus: u32,
    memory_mib: u64,
    cpu_model: &'a str,
    machine_type: &'a str,
    firmware: dc_types::plan::Firmware,
    disks: Vec<DefinedDisk<'a>>,
    cards: Vec<(u32, String, Option<Ipv4Addr>, Option<Ipv6Addr>)>,
    mtu: u32,
    hostname: &'a str,
    user_data: &'a str,
}

/// What of a disk is in the domain for as long as it runs; logins change with each epoch.
#[derive(Serialize)]
#[serde(untagged)]
enum DefinedDisk<'a> {
    Iscsi(InstanceId, String, u16, &'a str),
    Rbd(InstanceId, &'a RbdCluster, &'a str, &'a str),
    File(InstanceId, &'a str, &'a str),
}

/// Which disks a start bakes in: those after the first come and go while the machine runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    First,
    /// As all did before a disk could come to a running machine.
    All,
}

fn definition(vm: &VmItem, counted: Counted, mtu: u32) -> String {
    let disks = match counted {
        Counted::First => 1,
        Counted::All => vm.disks.len(),
    };
    let definition = Definition {
        vcpus: vm.vcpus,
        memory_mib: vm.memory.0,
        cpu_model: &vm.cpu_model,
        machine_type: &vm.machine_type,
        firmware: vm.firmware,
        disks: vm
            .disks
            .iter()
            .take(disks)
            .map(|disk| {
                let initiator = disk.initiator.as_str();
                match &disk.source {
                    DiskSource::Iscsi { portal, chap: _ } => DefinedDisk::Iscsi(
                        disk.volume,
                        portal.address.to_string(),
                        portal.port,
                        initiator,
                    ),
                    DiskSource::Rbd {
                        cluster,
                        image,
                        cephx: _,
                    } => DefinedDisk::Rbd(disk.volume, cluster, image, initiator),
                    DiskSource::File { path } => DefinedDisk::File(disk.volume, path, initiator),
                }
            })
            .collect(),
        cards: vm
            .nics
            .iter()
            .map(|nic| (nic.card, nic.mac.to_string(), nic.v4, nic.v6))
            .collect(),
        mtu,
        hostname: &vm.seed.hostname,
        user_data: &vm.seed.user_data.0,
    };
    let json = serde_json::to_vec(&definition).expect("a definition is representable as JSON");
    Sha256::digest(&json)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl ValidVm<'_> {
    /// Whether a machine that was started with this digest has all that a start bakes in. Beside
    /// that of a start as of now it is that of one before a disk was moved, or by an agent that
    /// counted every disk.
    #[must_use]
    pub fn is_defined_as(&self, started: &str) -> bool {
        let known = self.also.iter().chain([&self.definition]);
        known.into_iter().any(|definition| definition == started)
    }

    /// The restart text as it comes back from a domain.
    #[must_use]
    pub fn restart(&self) -> String {
        clean(&self.vm.restart)
    }
}

pub(crate) fn trouble(reason: &str, message: impl Into<String>) -> Trouble {
    Trouble {
        reason: reason.to_owned(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::fixture::{self, World};
    use dc_types::MiB;

    fn refuse(change: impl FnOnce(&mut VmItem)) -> Trouble {
        let mut vm = fixture::vm();
        change(&mut vm);
        let world = World::of(vm);
        let item = world.vm_item();
        match validate(&world.wanted(), item, &BTreeMap::new()).unwrap() {
            Err(trouble) => trouble,
            Ok(valid) => panic!("{valid:?}"),
        }
    }

    #[test]
    fn a_machine_that_cannot_be_is_refused_in_words() {
        assert!(refuse(|vm| vm.vcpus = 0).message.contains("vCPU"));
        assert!(refuse(|vm| vm.disks.clear()).message.contains("disks"));
        assert!(
            refuse(|vm| vm.disks[1].volume = vm.disks[0].volume)
                .message
                .contains("same volume")
        );
        assert!(
            refuse(|vm| vm.machine_type = "q35".into())
                .message
                .contains("alias")
        );
    }

    #[test]
    fn a_card_whose_subnet_has_not_arrived_makes_the_machine_wait() {
        let mut world = World::of(fixture::vm());
        world.items.remove(&fixture::network_key());
        let item = world.vm_item();
        let valid = validate(&world.wanted(), item, &BTreeMap::new())
            .unwrap()
            .unwrap();
        assert_eq!(valid.cards.unwrap_err().reason, "WaitsForNetwork");
    }

    #[test]
    fn the_definition_changes_with_what_a_start_bakes_in_and_with_nothing_else() {
        let of = |change: &dyn Fn(&mut VmItem)| {
            let mut vm = fixture::vm();
            change(&mut vm);
            let world = World::of(vm);
            let valid = validate(&world.wanted(), world.vm_item(), &BTreeMap::new()).unwrap();
            valid.unwrap().definition
        };
        let plain = of(&|_| ());
        assert_ne!(plain, of(&|vm| vm.memory = MiB(512)));
        assert_ne!(plain, of(&|vm| vm.seed.user_data.0.push('#')));
        assert_ne!(plain, of(&|vm| vm.nics[0].v6 = None));
        assert_eq!(plain, of(&|vm| vm.restart = "now".into()));
        assert_eq!(plain, of(&|vm| vm.name = "renamed".into()));
        assert_eq!(plain, of(&|vm| vm.stop_deadline_s = 5));
        assert_eq!(plain, of(&|vm| vm.disks.truncate(1)));
        assert_ne!(plain, of(&|vm| vm.disks.swap(0, 1)));
    }

    #[test]
    fn a_machine_started_by_an_agent_that_counted_every_disk_is_unchanged() {
        let world = World::of(fixture::vm());
        let valid = validate(&world.wanted(), world.vm_item(), &BTreeMap::new()).unwrap();
        let valid = valid.unwrap();
        // Written down when that agent was the newest.
        let before = "089feed7ab70c49323302614df8df9d9";
        assert_ne!(valid.definition, before);
        assert!(valid.is_defined_as(before));
        assert!(valid.is_defined_as(&valid.definition));
        assert!(!valid.is_defined_as(""));
    }

    #[test]
    fn the_mtu_leaves_room_for_the_outer_headers() {
        assert_eq!(guest_mtu("10.0.0.1".parse().unwrap()), 1450);
        assert_eq!(guest_mtu("fd00::1".parse().unwrap()), 1430);
    }
}
