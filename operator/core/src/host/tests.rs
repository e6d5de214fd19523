use super::*;
use crate::sim::{Sim, host};
use crate::words::Fact;
use dc_crds::{FINALIZER, HostSpec};
use dc_types::ObjectUid;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

fn object(name: &str) -> Host {
    let mut host = Host::new(
        name,
        HostSpec {
            roles: vec![HostRole::Compute],
            maintenance: false,
            zones: vec![],
            vcpu_ratio: 4,
            reserved_memory: "1Gi".into(),
        },
    );
    host.metadata.finalizers = Some(vec![FINALIZER.into()]);
    host
}

fn with_seen<R>(
    object: &Host,
    presence: Presence,
    claims: &Claims,
    look: impl FnOnce(&Seen<'_>) -> R,
) -> R {
    let me = ObjectRef {
        namespace: String::new(),
        name: "h1".into(),
        uid: ObjectUid(Uuid::from_u128(1)),
    };
    look(&Seen {
        host: object,
        me: &me,
        name: &host("h1"),
        presence,
        facts: None,
        version: None,
        claims,
    })
}

#[test]
fn a_host_with_machines_is_not_let_go_and_says_which() {
    let mut sim = Sim::new();
    for n in 0..4 {
        sim.add_vm(&format!("vm{n}"));
    }
    sim.look();
    let mut object = object("h1");
    object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let plan_now = |sim: &Sim| {
        let claims = &sim.ledger.claims;
        with_seen(&object, Presence::Connected, claims, plan)
    };
    let Fact::StillUsed { by } = &plan_now(&sim).found[0] else {
        panic!("let go");
    };
    assert_eq!(by.len(), 2);
    assert!(by[0].starts_with("machine so-nnmt/vm"), "{by:?}");
    for n in 0..4 {
        crate::sim::delete(&mut sim.vm(&format!("vm{n}")).metadata);
    }
    sim.look();
    assert_eq!(plan_now(&sim), crate::plan::Plan::let_go());
}

#[test]
fn what_a_host_may_promise_is_less_what_it_keeps_and_more_vcpus_than_it_has() {
    let sim = Sim::new();
    let state = sim.index.host(&host("h1")).unwrap();
    assert_eq!(state.vcpu_limit, 16);
    assert_eq!(state.memory_limit, MiB(4096));
}

#[test]
fn a_host_on_its_way_out_takes_no_new_machines() {
    let mut object = object("h1");
    object.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let state = placement_state(&object, &host("h1"), Presence::Connected, None);
    assert_eq!(state.service, Service::Maintenance);
}

#[test]
fn a_host_that_never_came_is_unknown_and_the_words_say_what_to_do() {
    let plan = with_seen(&object("h1"), Presence::Never, &Claims::new(1), plan);
    let words = plan.found[0].words();
    assert_eq!(words.reason, "HostNeverSeen");
    assert!(words.en.contains("token"), "{}", words.en);
}
