//! What is sent is what arrives, and what does not make sense is refused with its place.

mod values;

use dc_proto::session::{
    AgentSays, DELTAS_PER_MESSAGE, FromOperator, Inventory, OperatorSays, ReceivedSays, ReleaseRef,
    Welcome, receive, send,
};
use dc_proto::{OnWire, Received, receive_delta, send_delta, wire};
use dc_types::plan::{Delta, DiskItem, Item, ItemBody};
use dc_types::report::{Released, Report};
use dc_types::{Epoch, HostName, Sequence, Term};
use proptest::prelude::*;
use prost::Message;
use values::{epoch, hello, item, key, observation, release, trouble};

/// Through the bytes of the wire, not only through its structs.
fn carry<M: Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn carry_says(says: &AgentSays) -> AgentSays {
    AgentSays::from_wire(carry(&says.to_wire())).unwrap()
}

const TERM_EPOCH: Epoch = Epoch {
    incarnation: 2,
    revision: 40,
};

const TERM: Term = Term {
    incarnation: 2,
    revision: 40,
};

proptest! {
    #[test]
    fn an_item_arrives_as_it_was_sent_with_the_senders_hash(item in item()) {
        let hash = item.hash();
        let sent = carry(&send_delta(&Delta::Upsert(Box::new(item.clone()))));
        prop_assert_eq!(receive_delta(sent).unwrap(), Received::Upsert(Box::new(item), hash));
    }

    #[test]
    fn a_release_arrives_as_it_was_sent(release in release()) {
        let sent = carry(&send_delta(&Delta::Release(release.clone())));
        prop_assert_eq!(receive_delta(sent).unwrap(), Received::Release(release));
    }

    #[test]
    fn a_hello_arrives_as_it_was_sent(hello in hello()) {
        let says = AgentSays::Hello(Box::new(hello));
        prop_assert_eq!(carry_says(&says), says);
    }

    #[test]
    fn a_report_arrives_as_it_was_sent(
        observations in prop::collection::vec(observation(), 0..4),
        key in key(),
        epoch in epoch(),
        trouble in trouble(),
        note in any::<String>(),
        erasure in prop::option::of(values::erasure()),
        facts in values::facts(),
    ) {
        for report in [
            Report::Facts(Box::new(facts)),
            Report::Observed(observations),
            Report::Released(Released { key, epoch, note, erasure }),
            Report::ReleaseFailed { key, epoch, trouble },
        ] {
            let says = AgentSays::Report(report);
            prop_assert_eq!(carry_says(&says), says);
        }
    }

    #[test]
    fn the_operators_messages_arrive_as_they_were_sent(key in key(), epoch in epoch(), n in any::<u64>()) {
        let welcome = Welcome {
            host: HostName::new("h1").unwrap(),
            operator: "op-0".into(),
            operators: vec!["127.0.0.1:1".into()],
        };
        let releases = vec![ReleaseRef { key, epoch }];
        for (says, received) in [
            (OperatorSays::Welcome(welcome.clone()), ReceivedSays::Welcome(welcome)),
            (OperatorSays::Confirmed(releases.clone()), ReceivedSays::Confirmed(releases)),
            (OperatorSays::AskInventory, ReceivedSays::AskInventory),
        ] {
            let arrived = receive(carry(&send(TERM, Sequence(n), &says))).unwrap();
            prop_assert_eq!(arrived, FromOperator { term: TERM, sequence: Sequence(n), says: received });
        }
    }

    #[test]
    fn an_inventory_arrives_whole_in_as_many_messages_as_it_takes(
        item in item(),
        count in 0..3 * DELTAS_PER_MESSAGE,
    ) {
        let items = vec![item; count];
        let messages = Inventory::messages(items.clone());
        let ends = messages.iter().filter(|message| message.last).count();
        prop_assert!(ends == 1 && messages.last().unwrap().last);
        let mut arrived = Vec::new();
        for message in messages {
            match carry_says(&AgentSays::Inventory(message)) {
                AgentSays::Inventory(message) => arrived.extend(message.items),
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(arrived, items);
    }

    /// No bytes of a peer may bring the process down.
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = wire::OperatorMessage::decode(bytes.as_slice()) {
            let _ = receive(message);
        }
        if let Ok(message) = wire::AgentMessage::decode(bytes.as_slice()) {
            let _ = AgentSays::from_wire(message);
        }
    }
}

/// One item of a kind, the same in every run.
fn sample(want: impl Fn(&ItemBody) -> bool) -> Item {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    loop {
        let item = item().new_tree(&mut runner).unwrap().current();
        if want(&item.body) {
            return item;
        }
    }
}

fn refusal(item: wire::Item) -> (String, wire::Observation) {
    let delta = wire::Delta {
        change: Some(wire::delta::Change::Upsert(item)),
    };
    let refused = receive_delta(delta).unwrap_err();
    (refused.error.to_string(), *refused.observation.unwrap())
}

#[test]
fn an_unknown_kind_is_refused_alone_and_told_to_the_operator() {
    let good = sample(|b| matches!(b, ItemBody::Grant(_)));
    let mut odd = good.to_wire();
    odd.key.as_mut().unwrap().kind = 99;
    odd.body = None;
    let deltas = wire::Deltas {
        deltas: vec![
            wire::Delta {
                change: Some(wire::delta::Change::Upsert(odd.clone())),
            },
            send_delta(&Delta::Upsert(Box::new(good))),
        ],
    };
    let message = wire::OperatorMessage {
        term: Some(TERM.to_wire()),
        sequence: 1,
        says: Some(wire::operator_message::Says::Deltas(deltas)),
    };
    let ReceivedSays::Deltas(received) = receive(message).unwrap().says else {
        panic!("deltas became something else");
    };
    assert!(received[0].is_err());
    assert!(received[1].is_ok());
    let (error, observation) = refusal(odd.clone());
    assert_eq!(
        error,
        "item.key.kind: 99 is no value of ItemKind that this version knows"
    );
    assert_eq!(observation.key, odd.key);
    assert_eq!(observation.hash, odd.hash);
}

#[test]
fn an_enum_value_of_a_newer_version_is_refused_with_its_place() {
    let item = sample(|b| matches!(b, ItemBody::Vm(_)));
    let mut odd = item.to_wire();
    let Some(wire::item::Body::Vm(vm)) = &mut odd.body else {
        panic!("not a machine");
    };
    vm.on_stop = 77;
    let (error, _) = refusal(odd);
    assert_eq!(
        error,
        "item.vm.on_stop: 77 is no value of OnStop that this version knows"
    );
}

#[test]
fn a_missing_field_is_refused_with_its_place() {
    // What an encrypted disk says of its portal stands elsewhere.
    let plain = |disk: &DiskItem| disk.luks.is_none() && disk.source.chap().is_some();
    let item =
        sample(move |b| matches!(b, ItemBody::Vm(vm) if vm.disks.first().is_some_and(plain)));
    let mut odd = item.to_wire();
    let Some(wire::item::Body::Vm(vm)) = &mut odd.body else {
        panic!("not a machine");
    };
    vm.disks[0].portal = None;
    let (error, _) = refusal(odd);
    assert_eq!(error, "item.vm.disks[0].portal: is missing");
}

#[test]
fn a_volume_of_an_unknown_source_does_not_become_a_blank_one() {
    let mut odd = sample(|b| matches!(b, ItemBody::Volume(_))).to_wire();
    let Some(wire::item::Body::Volume(volume)) = &mut odd.body else {
        panic!("not a volume");
    };
    volume.source = None;
    assert_eq!(refusal(odd).0, "item.volume.source: is missing");
}

#[test]
fn a_body_under_the_key_of_another_is_refused() {
    let mut odd =
        sample(|b| matches!(b, ItemBody::Grant(grant) if grant.access.chap().is_some())).to_wire();
    odd.key.as_mut().unwrap().id = "00000000-0000-0000-0000-000000000007".into();
    let (error, _) = refusal(odd);
    assert!(error.starts_with("item.body: is that of Grant"), "{error}");
}

#[test]
fn an_ability_that_the_operator_does_not_know_is_left_out() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let facts = values::facts().new_tree(&mut runner).unwrap().current();
    let mut newer = facts.to_wire();
    newer.roles.push(55);
    newer.firmwares.push(56);
    assert_eq!(OnWire::from_wire(newer), Ok(facts));
}

#[test]
fn what_a_newer_agent_holds_of_an_unknown_kind_is_left_out() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let hello = loop {
        let hello = hello().new_tree(&mut runner).unwrap().current();
        if !hello.held.is_empty() {
            break hello;
        }
    };
    let mut newer = hello.to_wire();
    let mut odd = newer.held[0].clone();
    let mut key = odd.key.take().unwrap();
    key.kind = 99;
    odd.key = Some(key);
    newer.held.push(odd);
    assert_eq!(OnWire::from_wire(newer), Ok(hello));
}

#[test]
fn a_secret_on_the_wire_is_not_in_its_debug_form() {
    let secret = wire::Secret {
        text: "hunter2".into(),
    };
    assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
}

/// As an agent takes it that knows nothing of encryption: it must not open the disk as it is.
#[test]
fn an_encrypted_disk_reads_as_incomplete_to_a_peer_that_does_not_know_it() {
    let portal = Some(wire::Portal {
        address: "10.0.0.1".into(),
        port: 3260,
    });
    let chap = Some(wire::Chap {
        user: "u".into(),
        secret: Some(wire::Secret { text: "s".into() }),
    });
    let disk = wire::Disk {
        volume: uuid::Uuid::from_u128(1).to_string(),
        name: "data".into(),
        grant: Some(TERM_EPOCH.to_wire()),
        size_bytes: 1 << 30,
        other: Some(wire::disk::Other::Encrypted(wire::EncryptedDisk {
            key: Some(wire::Secret { text: "k".into() }),
            formatted: true,
            source: Some(wire::encrypted_disk::Source::Iscsi(wire::IscsiDisk {
                portal: portal.clone(),
                chap: chap.clone(),
            })),
        })),
        ..Default::default()
    };
    let known = DiskItem::from_wire(disk.clone()).unwrap();
    assert!(known.luks.is_some());
    assert_eq!(known.to_wire(), disk);
    let unknown = wire::Disk {
        other: None,
        ..disk
    };
    let error = DiskItem::from_wire(unknown).unwrap_err().to_string();
    assert!(
        error.contains("portal") && error.contains("missing"),
        "{error}"
    );
}
