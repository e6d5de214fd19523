//! What a peer of the first version sent is still understood, as it was meant then.
//!
//! `fixtures/plan-v1.bin` is one message of the first operator, byte for byte;
//! `fixtures/plan-v1.json` is the plan it meant. Neither is ever changed; a later version adds its
//! own pair.

use dc_proto::session::{OperatorSays, ReceivedSays, receive, send};
use dc_proto::{Received, wire};
use dc_types::plan::{Delta, Item, Release};
use dc_types::{Sequence, Term};
use prost::Message;
use serde::Deserialize;

#[derive(Deserialize)]
struct Plan {
    items: Vec<Item>,
    releases: Vec<Release>,
}

fn meant() -> Plan {
    serde_json::from_str(include_str!("fixtures/plan-v1.json")).unwrap()
}

#[test]
fn a_message_of_the_first_version_means_what_it_meant() {
    let bytes = include_bytes!("fixtures/plan-v1.bin");
    let message = receive(wire::OperatorMessage::decode(bytes.as_slice()).unwrap()).unwrap();
    let ReceivedSays::Deltas(deltas) = message.says else {
        panic!("deltas became something else");
    };
    let mut items = Vec::new();
    let mut releases = Vec::new();
    for delta in deltas {
        match delta.unwrap() {
            Received::Upsert(item, _) => items.push(*item),
            Received::Release(release) => releases.push(release),
        }
    }
    let meant = meant();
    assert_eq!(items, meant.items);
    assert_eq!(releases, meant.releases);
}

/// An old agent drops fields it does not know, so what we send must still be all it needs.
#[test]
fn a_message_of_this_version_holds_all_that_the_first_one_held() {
    let plan = meant();
    let deltas = plan
        .items
        .into_iter()
        .map(|item| Delta::Upsert(Box::new(item)))
        .chain(plan.releases.into_iter().map(Delta::Release))
        .collect();
    let now = send(
        Term {
            incarnation: 1,
            revision: 3,
        },
        Sequence(1),
        &OperatorSays::Deltas(deltas),
    );
    let then =
        wire::OperatorMessage::decode(include_bytes!("fixtures/plan-v1.bin").as_slice()).unwrap();
    assert_eq!(without_hashes(now), without_hashes(then));
}

/// The digest speaks of all fields of its sender's version and may differ.
fn without_hashes(mut message: wire::OperatorMessage) -> wire::OperatorMessage {
    if let Some(wire::operator_message::Says::Deltas(deltas)) = &mut message.says {
        for delta in &mut deltas.deltas {
            if let Some(wire::delta::Change::Upsert(item)) = &mut delta.change {
                item.hash = 0;
            }
        }
    }
    message
}
