//! What a loaded table tells of the department it was loaded for, and what must be cut when
//! another takes its place.
//!
//! Members and flows carry a digest as comment, so that a changed one is told from the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use dc_types::plan::{EndpointItem, Flow, ItemKey, ItemKind};
use uuid::Uuid;

use super::super::{TableSeen, digest};
use crate::network::validate::Network;

/// Conntrack entries that must go: by the mark of a flow, by the address of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    pub flows: BTreeSet<u32>,
    pub addresses: BTreeSet<IpAddr>,
}

impl Cuts {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.addresses.is_empty()
    }

    /// What an earlier load left to be cut.
    #[must_use]
    pub fn pending(seen: &TableSeen) -> Self {
        let address = |set: &str| -> Vec<IpAddr> {
            let elements = seen.elements(set).iter();
            elements.filter_map(|(text, _)| text.parse().ok()).collect()
        };
        let flows = seen.elements("cut_flows").iter();
        Self {
            flows: flows.filter_map(|(text, _)| text.parse().ok()).collect(),
            addresses: address("cut4").into_iter().chain(address("cut6")).collect(),
        }
    }
}

/// What of a loaded table must be cut when `network` takes its place: what was to be cut already,
/// flows that are gone or changed, and addresses that are gone or another's.
#[must_use]
pub fn cuts(network: &Network, seen: Option<&TableSeen>) -> Cuts {
    let Some(seen) = seen else {
        return Cuts::default();
    };
    let mut cuts = Cuts::pending(seen);
    let flows: BTreeMap<u32, String> = network
        .body
        .flows
        .iter()
        .map(|flow| (flow.id, flow_digest(flow)))
        .collect();
    for (text, comment) in seen.elements("flows") {
        if let Ok(id) = text.parse::<u32>()
            && flows.get(&id) != comment.as_ref()
        {
            cuts.flows.insert(id);
        }
    }
    let members: BTreeMap<IpAddr, &str> = network
        .endpoints
        .iter()
        .flat_map(|e| e.addresses().map(|address| (address, e.mark.as_str())))
        .collect();
    for (text, comment) in members_of(seen) {
        let Ok(address) = text.parse::<IpAddr>() else {
            continue;
        };
        let is_endpoint = comment
            .as_deref()
            .is_some_and(|c| parse_member(c).is_some());
        if is_endpoint && members.get(&address).copied() != comment.as_deref() {
            cuts.addresses.insert(address);
        }
    }
    cuts
}

fn members_of(seen: &TableSeen) -> impl Iterator<Item = &(String, Option<String>)> {
    let sets = ["members4", "members6"].into_iter();
    sets.flat_map(|set| seen.elements(set))
}

/// The endpoints that a loaded table lets through, with the mark of each.
#[must_use]
pub fn members(seen: &TableSeen) -> BTreeMap<ItemKey, &str> {
    members_of(seen)
        .filter_map(|(_, comment)| {
            let mark = comment.as_deref()?;
            Some((parse_member(mark)?, mark))
        })
        .collect()
}

/// `<machine>/<card>/<digest>`: the digest is of what decides what may reach an endpoint; where
/// it runs does not.
#[must_use]
pub fn member_mark(key: ItemKey, body: &EndpointItem) -> String {
    let mut text = format!("{} {} {:?} {:?}", body.subnet, body.mac, body.v4, body.v6);
    for service in &body.published {
        let _ = write!(text, " {} {}", service.protocol, service.ports);
    }
    format!("{}/{}/{}", key.id, key.card, digest(&text))
}

fn parse_member(mark: &str) -> Option<ItemKey> {
    let mut parts = mark.split('/');
    let id = Uuid::parse_str(parts.next()?).ok()?;
    let card = parts.next()?.parse().ok()?;
    parts.next()?;
    let kind = ItemKind::Endpoint;
    Some(ItemKey { kind, id, card })
}

pub(super) fn flow_digest(flow: &Flow) -> String {
    digest(&format!("{:?} {} {:?}", flow.from, flow.to, flow.services))
}

/// The network a table was loaded for.
#[must_use]
pub fn owner(seen: &TableSeen) -> Option<Uuid> {
    Uuid::parse_str(seen.owner()?.strip_prefix("network ")?).ok()
}
