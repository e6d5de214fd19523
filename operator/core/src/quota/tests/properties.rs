//! Whatever is asked, in whatever order: no limit is passed, and nothing is charged that is not claimed.

use proptest::prelude::*;

use super::*;
use crate::sim::SERVICES;

#[derive(Clone, Debug)]
enum Act {
    CreateVm(u8, u8),
    DeleteVm(u8),
    CreateVolume(u8, u8),
    Grow(u8, u8),
    DeleteVolume(u8),
    CreateSubnet(u8),
    /// Of a whole machine, or of one volume.
    Snapshot(u8, bool),
    DeleteSnapshot(u8),
    Limit(Option<u8>, Option<u8>, Option<u8>, Option<u8>),
    /// How many services its card publishes, and how many all may.
    Publish(u8, usize),
    LimitPublished(Option<u8>, Option<u8>),
    Silence(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let some = || proptest::option::of(0u8..12);
    let act = prop_oneof![
        (0u8..8, 0u8..2).prop_map(|(n, disks)| Act::CreateVm(n, disks)),
        (0u8..8).prop_map(Act::DeleteVm),
        (0u8..4, 1u8..6).prop_map(|(n, size)| Act::CreateVolume(n, size)),
        (0u8..4, 1u8..9).prop_map(|(n, size)| Act::Grow(n, size)),
        (0u8..4).prop_map(Act::DeleteVolume),
        (0u8..4).prop_map(Act::CreateSubnet),
        (0u8..8, any::<bool>()).prop_map(|(n, whole)| Act::Snapshot(n, whole)),
        (0u8..8).prop_map(Act::DeleteSnapshot),
        (some(), some(), some(), some()).prop_map(|(a, b, c, d)| Act::Limit(a, b, c, d)),
        (0u8..8, 0usize..4).prop_map(|(n, many)| Act::Publish(n, many)),
        (some(), some()).prop_map(|(a, b)| Act::LimitPublished(a, b)),
        any::<bool>().prop_map(Act::Silence),
    ];
    proptest::collection::vec(act, 1..40)
}

fn perform(sim: &mut Sim, act: &Act) {
    let vm = |n: &u8| format!("vm{n}");
    let volume = |n: &u8| format!("data{n}");
    match act {
        Act::CreateVm(n, disks) if !sim.vms.contains_key(&vm(n)) => {
            sim.add_vm(&vm(n));
            for more in 0..*disks {
                let disk = disk(&format!("more{more}"), None);
                sim.vm(&vm(n)).spec.disks.push(disk);
            }
        }
        Act::DeleteVm(n) => {
            if let Some(vm) = sim.vms.get_mut(&vm(n)) {
                delete(&mut vm.metadata);
            }
        }
        Act::CreateVolume(n, size) if !sim.volumes.contains_key(&volume(n)) => {
            sim.add_volume(&volume(n), &format!("{size}Gi"));
        }
        Act::Grow(n, size) => {
            if let Some(volume) = sim.volumes.get_mut(&volume(n)) {
                let now: Bytes = volume.spec.size.parse().unwrap();
                let more = Bytes(now.0 + (u64::from(*size) << 30));
                volume.spec.size = more.to_string();
            }
        }
        Act::DeleteVolume(n) => {
            if let Some(volume) = sim.volumes.get_mut(&volume(n)) {
                delete(&mut volume.metadata);
            }
        }
        Act::CreateSubnet(n) if !sim.subnets.contains_key(&format!("net{n}")) => {
            sim.add_subnet(&format!("net{n}"));
        }
        Act::Limit(vms, size, subnets, snapshots) => {
            let mut quota = serde_json::json!({
                "virtualMachines": vms, "subnets": subnets, "snapshots": snapshots,
            });
            if let Some(size) = size {
                let size = format!("{}Gi", u32::from(*size) + 1);
                quota["storage"] = serde_json::json!([{"class": CLASS, "size": size}]);
            }
            sim.limits = limits(quota);
        }
        Act::Publish(n, many) => {
            if let Some(vm) = sim.vms.get_mut(&vm(n)) {
                vm.spec.interfaces[0].publish =
                    SERVICES[..*many].iter().map(ToString::to_string).collect();
            }
        }
        Act::LimitPublished(addresses, services) => {
            sim.limits = limits(serde_json::json!({
                "publicAddresses": addresses, "publishedServices": services,
            }));
        }
        Act::Silence(silent) => sim.set_silent(STORAGE, *silent),
        Act::Snapshot(n, whole) if !sim.snapshots.contains_key(&format!("snap{n}")) => {
            let (vm, volume) = (vm(n), volume(&(n % 4)));
            let target = match whole {
                true => (Some(vm.as_str()), None),
                false => (None, Some(volume.as_str())),
            };
            sim.add_snapshot(&format!("snap{n}"), target.0, target.1);
        }
        Act::DeleteSnapshot(n) => {
            if let Some(snapshot) = sim.snapshots.get_mut(&format!("snap{n}")) {
                delete(&mut snapshot.metadata);
            }
        }
        Act::CreateVm(..) | Act::CreateVolume(..) | Act::CreateSubnet(_) | Act::Snapshot(..) => {}
    }
}

/// Use worked out from every claim, one by one.
fn summed(claims: &Claims) -> Amounts {
    let mut sum = Amounts::default();
    for vm in claims.vms.values() {
        sum.add(Thing::VirtualMachines, 1);
        sum.add(Thing::Vcpus, u64::from(vm.value.vcpus));
        sum.add(Thing::Memory, vm.value.memory.0 << 20);
        for card in &vm.value.cards {
            sum.add(Thing::PublicAddresses, u64::from(!card.publish.is_empty()));
            sum.add(Thing::PublishedServices, card.publish.len() as u64);
        }
    }
    for volume in claims.volumes.values() {
        sum.add(storage(), volume.value.size.0);
    }
    sum.add(Thing::Subnets, claims.subnets.len() as u64);
    sum.add(Thing::Snapshots, claims.snapshots.len() as u64);
    sum
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// That no commit takes a thing past its limit is asserted by the data centre itself.
    #[test]
    fn no_sequence_of_changes_passes_a_limit_and_use_is_what_the_claims_say(acts in acts()) {
        let mut sim = Sim::new();
        for act in &acts {
            perform(&mut sim, act);
            sim.look();
            prop_assert_eq!(sim.used(), summed(&sim.ledger.claims));
            // Whoever there is room for by its turn is not refused for its quota.
            let (used, wishes) = (sim.used(), sim.wishes());
            for wish in wish::admitted(&wishes, &used, &sim.limits) {
                let kind = match wish.kind {
                    wish::Wisher::Vm => "vm",
                    wish::Wisher::Volume => "volume",
                    wish::Wisher::Subnet => "subnet",
                    wish::Wisher::Snapshot => "snapshot",
                };
                let plan = sim.plan_of(&format!("{kind} {}", wish.name));
                let refused = |fact: &Fact| matches!(fact, Fact::QuotaExceeded { .. });
                prop_assert!(!plan.found.iter().any(refused), "{}: {:?}", wish.name, plan.found);
            }
        }
        for snapshot in sim.snapshots.values_mut() {
            delete(&mut snapshot.metadata);
        }
        for vm in sim.vms.values_mut() {
            delete(&mut vm.metadata);
        }
        for volume in sim.volumes.values_mut() {
            delete(&mut volume.metadata);
        }
        for subnet in sim.subnets.values_mut() {
            delete(&mut subnet.metadata);
        }
        sim.set_silent(STORAGE, false);
        sim.look();
        prop_assert!(sim.used().is_empty(), "something is still charged: {:?}", sim.used());
        prop_assert!(sim.ledger.claims.charges().all().next().is_none());
    }
}
