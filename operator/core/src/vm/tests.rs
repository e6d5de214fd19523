mod detach;

use dc_crds::vm::PowerState;
use dc_types::claim::keys;
use dc_types::plan::{Cephx, DiskSource, GrantAccess, ItemBody, ItemKind};
use dc_types::report::ItemState;

use super::*;
use crate::conditions::Judged;
use crate::plan::Plan;
use crate::sim::{STORAGE, Sim, card, delete, disk, fail, host};
use crate::words::{Fact, Standing};

fn running() -> Sim {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    sim
}

fn found(sim: &Sim, name: &str) -> Fact {
    let plan = sim.decide(name);
    plan.found
        .first()
        .cloned()
        .unwrap_or_else(|| panic!("{plan:?}"))
}

#[test]
fn a_machine_gets_its_volume_its_claim_and_its_items_and_runs() {
    let sim = running();
    let plan = sim.plan_of("vm web");
    assert_eq!(plan.found, []);
    let me = sim.me("web");
    let claim = &sim.ledger.claims.vms[&id(&me)];
    assert_eq!(claim.value.machine_type, "pc-q35-7.2");
    assert_eq!(claim.value.cards[0].v4.unwrap().to_string(), "10.16.0.4");
    let volume = claim.value.volumes[0];
    let attached = &sim.ledger.claims.attachments[&volume];
    assert_eq!(attached.value.vm, id(&me));
    let on = &sim.hosts[&claim.value.host].held[&key(&me)];
    let ItemBody::Vm(item) = &on.body else {
        panic!("{on:?}");
    };
    assert_eq!(item.disks[0].grant, attached.epoch);
    assert_eq!(on.epoch, claim.epoch);
    let status = sim.with_seen(&sim.vms["web"], &me, |seen| {
        status(
            seen,
            plan,
            &Judged {
                generation: 1,
                now: "t",
            },
        )
    });
    assert_eq!(status.state, "Running");
    assert_eq!(status.address_text, "10.16.0.4");
    assert_eq!(status.conditions[0].reason, "Running");
    assert!(status.conditions[0].message.contains(" · "));
}

#[test]
fn a_machine_on_a_pool_of_ceph_opens_its_image_as_the_user_of_its_grant() {
    let mut sim = Sim::new();
    let cluster = RbdCluster {
        monitors: vec![Portal {
            address: "10.250.1.9".parse().unwrap(),
            port: 6789,
        }],
        pool: "dc".into(),
    };
    sim.set_ceph(&cluster);
    sim.add_vm("web");
    sim.look();
    let me = sim.me("web");
    let claim = &sim.ledger.claims.vms[&id(&me)].value;
    let volume = claim.volumes[0];
    let granted = &sim.hosts[&host(STORAGE)].held[&grant_key(volume)];
    let ItemBody::Grant(grant) = &granted.body else {
        panic!("{granted:?}");
    };
    let GrantAccess::Rbd { cephx } = &grant.access else {
        panic!("{grant:?}");
    };
    assert_eq!(cephx.user, Cephx::user_name(volume, granted.epoch));
    assert_eq!(cephx.namespace, "");
    let on = &sim.hosts[&claim.host].held[&key(&me)];
    let ItemBody::Vm(item) = &on.body else {
        panic!("{on:?}");
    };
    let expected = DiskSource::Rbd {
        cluster,
        image: volume.to_string(),
        cephx: cephx.clone(),
    };
    assert_eq!(item.disks[0].source, expected);
}

#[test]
fn a_pool_that_has_not_said_where_its_monitors_are_is_waited_for() {
    let mut sim = Sim::new();
    sim.set_ceph(&RbdCluster {
        monitors: Vec::new(),
        pool: "dc".into(),
    });
    sim.add_vm("web");
    sim.look();
    let fact = found(&sim, "web");
    assert!(matches!(fact, Fact::GrantsPending { .. }), "{fact:?}");
}

#[test]
fn once_all_is_carried_out_the_next_plan_asks_for_nothing() {
    let sim = running();
    let plan = sim.decide("web");
    assert_eq!((plan.txn.clone(), plan.make.len()), (None, 0));
    for (host, item) in &plan.carry {
        assert_eq!(sim.boards[host].get(&item.key), Some(item));
    }
}

#[test]
fn a_machine_is_told_to_its_host_only_when_its_volumes_are_granted() {
    let mut sim = Sim::new();
    sim.set_silent(STORAGE, true);
    sim.add_vm("web");
    sim.look();
    // The pool's facts are still known from before, so volumes are promised.
    let me = sim.me("web");
    let claim = sim.ledger.claims.vms[&id(&me)].value.clone();
    assert!(!sim.hosts[&claim.host].held.contains_key(&key(&me)));
    assert!(matches!(found(&sim, "web"), Fact::HostSilent { .. }));
    sim.set_silent(STORAGE, false);
    sim.look();
    assert!(sim.hosts[&claim.host].held.contains_key(&key(&me)));
}

#[test]
fn a_machine_that_goes_gives_everything_back_in_order() {
    let mut sim = running();
    let me = sim.me("web");
    let claim = sim.ledger.claims.vms[&id(&me)].value.clone();
    sim.set_silent(claim.host.as_str(), true);
    delete(&mut sim.vm("web").metadata);
    sim.look();
    // While the host is silent nothing it holds is given to others.
    assert!(sim.ledger.claims.vms.contains_key(&id(&me)));
    assert!(
        sim.ledger
            .claims
            .attachments
            .contains_key(&claim.volumes[0])
    );
    assert!(matches!(found(&sim, "web"), Fact::HostSilent { .. }));

    sim.set_silent(STORAGE, true);
    sim.set_silent(claim.host.as_str(), false);
    sim.look();
    assert!(!sim.ledger.claims.vms.contains_key(&id(&me)));
    assert!(sim.vms.contains_key("web"), "its grant is still there");
    assert!(
        sim.hosts[&host(STORAGE)]
            .held
            .contains_key(&grant_key(claim.volumes[0]))
    );

    sim.set_silent(STORAGE, false);
    sim.look();
    assert!(sim.vms.is_empty() && sim.volumes.is_empty());
    let left: Vec<_> = sim.ledger.claims.held.keys().collect();
    assert!(
        left.iter()
            .all(|key| !key.starts_with("address/") && !key.starts_with("mac/"))
    );
    for host in sim.hosts.values() {
        assert!(host.held.is_empty(), "{:?}", host.held.keys());
    }
}

#[test]
fn an_operator_that_starts_anew_in_the_middle_of_a_deletion_goes_on() {
    let mut sim = running();
    delete(&mut sim.vm("web").metadata);
    // The release was confirmed and forgotten before the claims were deleted.
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();
    let plan = sim.decide("web");
    sim.ledger.commit(&plan.txn.unwrap());
    sim.ledger
        .commit(&crate::txn::Txn::new("confirmed").delete(keys::release(&on, &key(&me))));
    let again = sim.decide("web");
    assert!(again.txn.unwrap().why.contains("release"), "it asks again");
}

#[test]
fn a_reused_name_does_not_get_the_old_ones_volume() {
    let mut sim = running();
    let old = sim.volumes["web-root"].metadata.uid.clone();
    // The machine vanished and came back under its name before the volume was collected.
    sim.vms.remove("web");
    sim.add_vm("web");
    assert!(matches!(found(&sim, "web"), Fact::VolumeNameTaken { .. }));
    assert_eq!(sim.volumes["web-root"].metadata.uid, old);
}

#[test]
fn a_volume_that_another_machine_holds_is_refused_with_its_name() {
    let mut sim = Sim::new();
    sim.add_volume("data", "2Gi");
    sim.add_vm("web");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    sim.add_vm("app");
    sim.vm("app").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert_eq!(
        found(&sim, "app"),
        Fact::VolumeInUse {
            disk: "data".into(),
            volume: "data".into(),
            by: "so-nnmt/web".into()
        }
    );
    // It is free once the first machine is gone.
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert_eq!(sim.plan_of("vm app").found, []);
}

#[test]
fn a_disk_can_be_added_and_taken_away_and_given_to_another() {
    let mut sim = running();
    sim.add_volume("data", "2Gi");
    sim.vm("web").spec.disks.push(disk("data", Some("data")));
    sim.look();
    let data = crate::volume::id(&object_ref(&sim, "data"));
    assert!(sim.ledger.claims.attachments.contains_key(&data));
    sim.vm("web").spec.disks.pop();
    sim.look();
    assert!(!sim.ledger.claims.attachments.contains_key(&data));
    assert!(
        !sim.hosts[&host(STORAGE)]
            .held
            .contains_key(&grant_key(data))
    );
    sim.add_vm("app");
    sim.vm("app").spec.disks.push(disk("data", Some("data")));
    sim.look();
    assert_eq!(sim.plan_of("vm app").found, []);
}

fn object_ref(sim: &Sim, volume: &str) -> dc_types::ObjectRef {
    crate::object::object_ref(&sim.volumes[volume].metadata).unwrap()
}

#[test]
fn what_is_wrong_is_said_with_the_field() {
    let mut sim = Sim::new();
    sim.add_subnet("app");
    sim.look();
    type Spoil = fn(&mut VirtualMachine);
    let cases: [(Spoil, &str); 9] = [
        (|vm| vm.spec.class = "huge".into(), "ClassMissing"),
        (
            |vm| vm.spec.interfaces[0].subnet = "no".into(),
            "SubnetMissing",
        ),
        (
            |vm| vm.spec.interfaces[0].ipv4 = Some("10.99.0.5".parse().unwrap()),
            "AddressOutside",
        ),
        (
            |vm| vm.spec.interfaces[0].ipv4 = Some("10.16.0.1".parse().unwrap()),
            "AddressReserved",
        ),
        (
            |vm| vm.spec.interfaces[0].mac = Some("zz".into()),
            "MacInvalid",
        ),
        (
            |vm| vm.spec.interfaces[0].publish = vec!["postgres".into()],
            "ServiceNotNamed",
        ),
        (
            |vm| vm.spec.disks[0] = disk("root", Some("nothing")),
            "VolumeMissing",
        ),
        (
            |vm| {
                vm.spec.disks = vec![disk("a", Some("data")), disk("b", Some("data"))];
            },
            "VolumeTwice",
        ),
        (
            |vm| {
                vm.spec.cloud_init = Some(dc_crds::vm::CloudInit {
                    user_data: Some("hello <&\"'> ".into()),
                    secret: None,
                });
            },
            "CloudInitKind",
        ),
    ];
    sim.add_volume("data", "1Gi");
    for (n, (spoil, reason)) in cases.into_iter().enumerate() {
        let name = format!("vm{n}");
        sim.add_vm(&name);
        spoil(sim.vm(&name));
        sim.look();
        let plan: &Plan = sim.plan_of(&format!("vm {name}"));
        let reasons: Vec<String> = plan.found.iter().map(|f| f.words().reason).collect();
        assert!(reasons.contains(&reason.to_owned()), "{reason}: {plan:?}");
        let words = plan.found[0].words();
        assert_eq!(words.standing, Standing::Troubled);
        assert!(words.en.len() > 20 && words.vi.len() > 20, "{words:?}");
        assert!(sim.ledger.claims.vms.is_empty(), "nothing is claimed");
    }
}

#[test]
fn addresses_and_macs_that_are_taken_are_refused() {
    let mut sim = running();
    let claim = sim.ledger.claims.vms[&id(&sim.me("web"))].value.clone();
    sim.add_vm("a");
    sim.vm("a").spec.interfaces[0].ipv4 = claim.cards[0].v4;
    sim.add_vm("b");
    sim.vm("b").spec.interfaces[0].mac = Some(claim.cards[0].mac.to_string());
    sim.look();
    assert!(matches!(found(&sim, "a"), Fact::AddressTaken { .. }));
    assert!(matches!(found(&sim, "b"), Fact::MacTaken { .. }));
}

#[test]
fn when_no_host_has_room_the_verdicts_and_the_smallest_change_are_said() {
    let mut sim = Sim::new();
    for n in 0..9 {
        sim.add_vm(&format!("vm{n}"));
    }
    sim.look();
    // Eight of 1 GiB fit on two hosts of 4 GiB.
    assert_eq!(sim.ledger.claims.vms.len(), 8);
    let Fact::NoCapacity { help, hosts, .. } = found(&sim, "vm8") else {
        panic!("placed");
    };
    assert_eq!(help.en, "h1 needs 1 GiB more free memory");
    assert!(
        hosts.contains("h2: memory (need 1 GiB, have 0 B)"),
        "{hosts}"
    );
    // Room that is given back is used.
    delete(&mut sim.vm("vm3").metadata);
    sim.look();
    assert_eq!(sim.plan_of("vm vm8").found, []);
}

#[test]
fn a_larger_class_is_claimed_when_it_fits_and_refused_when_not() {
    let mut sim = running();
    for (name, memory) in [("large", "3Gi"), ("huge", "9Gi")] {
        let mut class = sim.classes["small"].clone();
        class.spec.memory = memory.into();
        sim.classes.insert(name.into(), class);
    }
    sim.vm("web").spec.class = "huge".into();
    sim.look();
    assert!(matches!(found(&sim, "web"), Fact::ClassTooLarge { .. }));
    let me = sim.me("web");
    let before = sim.ledger.claims.vms[&id(&me)].clone();
    sim.vm("web").spec.class = "large".into();
    sim.look();
    let after = &sim.ledger.claims.vms[&id(&me)];
    assert_eq!(after.value.memory.0, 3072);
    assert!(after.epoch > before.epoch);
    assert_eq!(after.value.cards, before.value.cards);
    assert_eq!(sim.plan_of("vm web").found, []);
}

#[test]
fn a_stopped_machine_keeps_what_it_holds_and_rests() {
    let mut sim = running();
    sim.vm("web").spec.power_state = PowerState::Stopped;
    sim.look();
    assert_eq!(sim.plan_of("vm web").found, [Fact::Stopped]);
    assert_eq!(sim.plan_of("vm web").standing(), Standing::Resting);
    assert!(sim.ledger.claims.vms.contains_key(&id(&sim.me("web"))));
}

#[test]
fn a_silent_host_makes_the_state_unknown_and_moves_nothing() {
    let mut sim = running();
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();
    sim.set_silent(on.as_str(), true);
    sim.look();
    assert_eq!(sim.plan_of("vm web").standing(), Standing::Unseen);
    assert_eq!(sim.ledger.claims.vms[&id(&me)].value.host, on);
}

#[test]
fn a_machine_that_becomes_invalid_keeps_running_as_it_was() {
    let mut sim = running();
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();
    let before = sim.hosts[&on].held[&key(&me)].clone();
    sim.vm("web").spec.class = "gone".into();
    sim.look();
    assert!(matches!(found(&sim, "web"), Fact::ClassMissing { .. }));
    assert_eq!(sim.hosts[&on].held[&key(&me)], before);
}

#[test]
fn cards_stay_on_their_subnets() {
    let mut sim = running();
    sim.add_subnet("app");
    sim.look();
    sim.vm("web").spec.interfaces = vec![card("app")];
    sim.look();
    assert_eq!(found(&sim, "web"), Fact::CardsChanged);
}

#[test]
fn what_the_host_says_of_a_failure_is_told() {
    let mut sim = running();
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();
    let item = sim.hosts[&on].held[&key(&me)].clone();
    let host = sim.hosts.get_mut(&on).unwrap();
    host.said.insert(item.key, fail(&item, "DomainRefused"));
    let words = found(&sim, "web").words();
    assert_eq!(
        (words.reason.as_str(), words.standing),
        ("DomainRefused", Standing::Troubled)
    );
    assert!(matches!(
        sim.hosts[&on].said[&item.key].state,
        ItemState::Failed(_)
    ));
    assert_eq!(item.key.kind, ItemKind::Vm);
}

#[test]
fn a_machine_whose_lease_is_over_is_stopped_keeps_all_and_runs_again_when_it_is_extended() {
    let mut sim = running();
    let me = sim.me("web");
    let claim = sim.ledger.claims.vms[&id(&me)].clone();
    let until = "1970-03-01T00:00:00Z";
    sim.vm("web").spec.lease = Some(dc_crds::lease::Lease {
        until: until.into(),
        warn_days: vec![7],
    });
    sim.look();
    assert_eq!(sim.plan_of("vm web").found, []);
    let warning: Timestamp = "1970-02-22T00:00:00Z".parse().unwrap();
    assert_eq!(sim.plan_of("vm web").again_at, Some(warning));
    let told = |sim: &Sim| {
        let plan = sim.plan_of("vm web").clone();
        let judged = Judged {
            generation: 1,
            now: "t",
        };
        let status = sim.with_seen(&sim.vms["web"], &me, |seen| status(seen, &plan, &judged));
        let within = status.conditions.iter().find(|c| c.type_ == "WithinLease");
        (status.state, within.unwrap().reason.clone())
    };
    assert_eq!(told(&sim), ("Running".into(), "LeaseRunning".into()));
    sim.now = warning;
    sim.look();
    assert_eq!(told(&sim), ("Running".into(), "LeaseEnding".into()));

    sim.now = until.parse().unwrap();
    sim.look();
    assert_eq!(told(&sim), ("Stopped".into(), "LeaseEnded".into()));
    let ended = Fact::LeaseEnded {
        until: until.into(),
    };
    assert_eq!(sim.plan_of("vm web").found, [ended]);
    assert_eq!(sim.plan_of("vm web").again_at, None);
    assert_eq!(sim.ledger.claims.vms[&id(&me)], claim);

    let lease = sim.vm("web").spec.lease.as_mut().unwrap();
    lease.until = "1971-01-01T00:00:00Z".into();
    sim.look();
    assert_eq!(told(&sim), ("Running".into(), "LeaseRunning".into()));
}
