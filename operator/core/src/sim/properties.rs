//! Over any sequence of creations, deletions and silences: nothing is claimed twice, and what comes
//! to rest asks for nothing more.

use std::collections::BTreeMap;

use dc_crds::vm::PowerState;
use dc_types::InstanceId;
use dc_types::claim::SnapshotState;
use dc_types::plan::{ItemKey, ItemKind};
use proptest::prelude::*;

use super::objects::{delete, disk};
use super::{NAMESPACE, POOL, STORAGE, Sim, host};

#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    CreateWith(u8, u8),
    /// With its root in the directory pool of a host.
    CreateIn(u8, u8),
    Delete(u8),
    AddVolume(u8),
    /// In the directory pool of a host.
    AddVolumeOf(u8, u8),
    /// Whose bytes have been moved: they are under an id of their own.
    AddMoved(u8),
    DeleteVolume(u8),
    /// To another pool.
    Move(u8, u8),
    /// A machine is switched off, or on again.
    Power(u8, bool),
    /// So many transactions, and the operator dies.
    Die(u8),
    /// Of a machine, or of a volume.
    Snapshot(u8, u8),
    SnapshotOf(u8, u8),
    DeleteSnapshot(u8),
    LetsGo(u8, bool),
    Silence(u8, bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0u8..10).prop_map(Act::Create),
        (0u8..10, 0u8..3).prop_map(|(vm, volume)| Act::CreateWith(vm, volume)),
        (0u8..10).prop_map(Act::Delete),
        (0u8..3).prop_map(Act::AddVolume),
        (0u8..3).prop_map(Act::AddMoved),
        (0u8..3).prop_map(Act::DeleteVolume),
        (0u8..3, 0u8..4).prop_map(|(volume, pool)| Act::Move(volume, pool)),
        (0u8..10, any::<bool>()).prop_map(|(vm, on)| Act::Power(vm, on)),
        (0u8..6).prop_map(Act::Die),
        (0u8..3, 0u8..2).prop_map(|(name, host)| Act::AddVolumeOf(name, host)),
        (0u8..10, 0u8..2).prop_map(|(vm, host)| Act::CreateIn(vm, host)),
        (0u8..3, any::<bool>()).prop_map(|(host, silent)| Act::Silence(host, silent)),
        (0u8..4, 0u8..10).prop_map(|(name, vm)| Act::Snapshot(name, vm)),
        (0u8..4, 0u8..3).prop_map(|(name, volume)| Act::SnapshotOf(name, volume)),
        (0u8..4).prop_map(Act::DeleteSnapshot),
        (0u8..2, any::<bool>()).prop_map(|(host, lets)| Act::LetsGo(host, lets)),
    ];
    proptest::collection::vec(act, 1..25)
}

const HOSTS: [&str; 3] = ["h1", "h2", STORAGE];
/// Folders of the first two.
const FOLDERS: [&str; 2] = ["local-1", "local-2"];
const POOLS: [&str; 4] = [POOL, "san-2", FOLDERS[0], FOLDERS[1]];

fn perform(sim: &mut Sim, act: &Act) {
    let vm_name = |n: &u8| format!("vm{n}");
    let volume_name = |n: &u8| format!("data{n}");
    match act {
        Act::Create(n) => {
            if !sim.vms.contains_key(&vm_name(n)) {
                sim.add_vm(&vm_name(n));
            }
        }
        Act::CreateWith(n, volume) => {
            if !sim.vms.contains_key(&vm_name(n)) {
                sim.add_vm(&vm_name(n));
                let disk = disk("data", Some(&volume_name(volume)));
                sim.vm(&vm_name(n)).spec.disks.push(disk);
            }
        }
        Act::Delete(n) => {
            if let Some(vm) = sim.vms.get_mut(&vm_name(n)) {
                delete(&mut vm.metadata);
            }
        }
        Act::AddVolume(n) => {
            if !sim.volumes.contains_key(&volume_name(n)) {
                sim.add_volume(&volume_name(n), "1Gi");
            }
        }
        Act::AddMoved(n) => {
            if !sim.volumes.contains_key(&volume_name(n)) {
                let place = InstanceId(sim.new_place());
                sim.add_moved_volume(&volume_name(n), "1Gi", place);
            }
        }
        Act::AddVolumeOf(n, folder) => {
            if !sim.volumes.contains_key(&volume_name(n)) {
                sim.add_volume(&volume_name(n), "1Gi");
                let volume = sim.volumes.get_mut(&volume_name(n)).unwrap();
                volume.spec.pool = FOLDERS[usize::from(*folder)].into();
            }
        }
        Act::CreateIn(n, folder) => {
            if !sim.vms.contains_key(&vm_name(n)) {
                sim.add_vm(&vm_name(n));
                let root = &mut sim.vm(&vm_name(n)).spec.disks[0];
                root.template.as_mut().unwrap().pool = FOLDERS[usize::from(*folder)].into();
            }
        }
        Act::Move(n, pool) => {
            if let Some(volume) = sim.volumes.get_mut(&volume_name(n)) {
                volume.spec.pool = POOLS[usize::from(*pool)].into();
            }
        }
        Act::Power(n, on) => {
            if let Some(vm) = sim.vms.get_mut(&vm_name(n)) {
                vm.spec.power_state = match on {
                    true => PowerState::Running,
                    false => PowerState::Stopped,
                };
            }
        }
        Act::Die(after) => {
            for _ in 0..*after {
                sim.step();
            }
            sim.restart();
        }
        Act::DeleteVolume(n) => {
            if let Some(volume) = sim.volumes.get_mut(&volume_name(n)) {
                delete(&mut volume.metadata);
            }
        }
        Act::Snapshot(name, vm) => {
            if !sim.snapshots.contains_key(&format!("snap{name}")) {
                sim.add_snapshot_of_vm(&format!("snap{name}"), &vm_name(vm));
            }
        }
        Act::SnapshotOf(name, volume) => {
            if !sim.snapshots.contains_key(&format!("snap{name}")) {
                let volume = volume_name(volume);
                sim.add_snapshot(&format!("snap{name}"), None, Some(&volume));
            }
        }
        Act::DeleteSnapshot(name) => {
            if let Some(snapshot) = sim.snapshots.get_mut(&format!("snap{name}")) {
                delete(&mut snapshot.metadata);
            }
        }
        Act::LetsGo(n, lets) => {
            let name = host(HOSTS[usize::from(*n)]);
            sim.hosts.get_mut(&name).unwrap().lets_go = *lets;
        }
        Act::Silence(n, silent) => sim.set_silent(HOSTS[usize::from(*n)], *silent),
    }
}

fn check(sim: &Sim) -> Result<(), TestCaseError> {
    let claims = &sim.ledger.claims;
    let mut seen = BTreeMap::new();
    for (id, vm) in &claims.vms {
        for card in &vm.value.cards {
            let v4 = card.v4.map(|v4| v4.to_string());
            let v6 = card.v6.map(|v6| v6.to_string());
            for thing in [v4, v6, Some(card.mac.to_string())].into_iter().flatten() {
                let other = seen.insert((card.subnet, thing.clone()), *id);
                prop_assert_eq!(other, None, "{} is held twice", thing);
            }
        }
        for volume in &vm.value.volumes {
            let attached = claims.attachment_of(*volume);
            prop_assert_eq!(
                attached.map(|a| a.value.volume),
                Some(*volume),
                "of another"
            );
            prop_assert_eq!(attached.map(|a| a.value.vm), Some(*id), "another holds it");
            prop_assert_eq!(attached.map(|a| &a.value.host), Some(&vm.value.host));
            let lies = &claims.volumes[volume].value;
            if FOLDERS.contains(&lies.pool.as_str()) {
                prop_assert_eq!(&lies.host, &vm.value.host, "it cannot open its volume");
            }
        }
    }
    for (place, attached) in &claims.attachments {
        let of = claims.volume_at(*place).map(|claim| claim.value.volume);
        let second = claims.second_at(*place).map(|claim| claim.value.volume);
        prop_assert_eq!(
            of.or(second),
            Some(attached.value.volume),
            "it fences other bytes"
        );
        // Whoever may open one place of a volume may open the other, and nobody else.
        let first = claims.attachment_of(attached.value.volume);
        prop_assert_eq!(first.map(|first| &first.value), Some(&attached.value));
        prop_assert!(
            claims.vms.contains_key(&attached.value.vm),
            "held by nobody"
        );
    }
    // A snapshot is of a volume that is there, and a group is wholly taken or not at all.
    let mut groups = BTreeMap::new();
    for snapshot in claims.snapshots.values() {
        prop_assert!(claims.volumes.contains_key(&snapshot.value.volume));
        let taken = matches!(snapshot.value.state, SnapshotState::Taken { .. });
        let first = *groups.entry(snapshot.value.owner.uid).or_insert(taken);
        prop_assert_eq!(first, taken, "half a group");
    }
    for hold in claims.holds.values() {
        let owner = hold.value.owner.uid;
        prop_assert!(
            claims.snapshots_by(owner).next().is_some(),
            "held for nobody"
        );
    }
    // What is claimed twice is charged twice, and what no pool holds is not.
    let mut sizes = BTreeMap::new();
    let firsts = claims.volumes.values();
    let firsts = firsts.map(|claim| (&claim.value.pool, claim.value.size.0));
    let seconds = claims.moves.values();
    let seconds = seconds.map(|claim| (&claim.value.pool, claim.value.size.0));
    for (pool, size) in firsts.chain(seconds) {
        *sizes.entry(pool.clone()).or_insert(0) += size;
    }
    let charged = claims.charges().of(NAMESPACE);
    let charged = charged
        .map(|charge| charge.pools.clone())
        .unwrap_or_default();
    let charged: BTreeMap<_, _> = charged.into_iter().map(|(pool, of)| (pool, of.0)).collect();
    prop_assert_eq!(charged, sizes);
    // Storage is told of a volume by its place alone.
    for volume in claims.volumes.values() {
        let (id, place) = (volume.value.volume, volume.value.place());
        let told = sim.boards.values().flat_map(|board| board.keys());
        let second = claims.moves.get(&id).map(|second| second.value.place);
        let by_id = |key: &&ItemKey| {
            matches!(key.kind, ItemKind::Volume | ItemKind::Grant) && key.id == id.0
        };
        prop_assert!(
            place == id || second == Some(id) || !told.into_iter().any(|key| by_id(&key)),
            "by its id"
        );
    }
    // A machine is on the one host of its claim, or on none.
    let mut on = BTreeMap::new();
    for (host, state) in &sim.hosts {
        for key in state.held.keys().filter(|key| key.kind == ItemKind::Vm) {
            prop_assert_eq!(on.insert(key.id, host.clone()), None, "runs twice");
        }
    }
    for name in ["h1", "h2"] {
        let promise = claims.promised_on(&host(name));
        prop_assert!(promise.memory.0 <= 4096, "{} promised too much", name);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nothing_is_ever_claimed_twice_and_everything_comes_to_rest(acts in acts()) {
        let mut sim = Sim::new();
        sim.add_san("san-2", "s2");
        for (folder, on) in FOLDERS.iter().zip(HOSTS) {
            sim.add_directory_pool(folder, on);
        }
        for act in &acts {
            perform(&mut sim, act);
            sim.look();
            check(&sim)?;
            for name in sim.vms.keys() {
                let plan = sim.decide(name);
                prop_assert!(plan.txn.is_none(), "{} asks for more: {:?}", name, plan.txn);
                prop_assert!(plan.make.is_empty());
            }
        }
        // Everything goes, and nothing is left anywhere.
        for name in HOSTS {
            sim.set_silent(name, false);
        }
        for vm in sim.vms.values_mut() {
            delete(&mut vm.metadata);
        }
        for volume in sim.volumes.values_mut() {
            delete(&mut volume.metadata);
        }
        for snapshot in sim.snapshots.values_mut() {
            delete(&mut snapshot.metadata);
        }
        sim.look();
        prop_assert!(sim.vms.is_empty() && sim.volumes.is_empty());
        let claims = &sim.ledger.claims;
        prop_assert!(claims.vms.is_empty() && claims.volumes.is_empty());
        prop_assert!(claims.attachments.is_empty() && claims.releases.is_empty());
        prop_assert!(claims.snapshots.is_empty() && claims.holds.is_empty());
        prop_assert!(claims.moves.is_empty());
        prop_assert!(claims.erased.is_empty() && sim.snapshots.is_empty());
        for (name, state) in &sim.hosts {
            prop_assert!(state.held.is_empty(), "{} holds {:?}", name, state.held.keys());
        }
    }
}
