//! How the networks and endpoints of a host stand, and which releases are done.
//!
//! A network is ready when nothing is left to do for it. An endpoint is ready as soon as its own
//! rules and entries are there, whatever its department still waits for; whether its machine has
//! a tap is the machine's matter. Both are closed until they are ready.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{Item, ItemKey, ItemKind};
use dc_types::report::{Detail, ItemState, Observation, Released, Trouble};

use super::desired;
use super::firewall::department::{self, Cuts};
use super::firewall::guard;
use super::plan::{leaving, namespaces_of, plan};
use super::seen::Seen;
use super::state::Place;
use super::validate::{Endpoint, Home, Network, Valid, is_live, validate};
use crate::names;
use crate::wanted::{Status, Wanted};

/// What is to be told of the networks and endpoints of a host.
#[must_use]
pub fn status(
    wanted: &Wanted,
    seen: &Seen,
    troubles: &BTreeMap<ItemKey, Trouble>,
    busy: &BTreeSet<ItemKey>,
) -> Status {
    let valid = validate(wanted);
    let view = View {
        unfinished: plan(wanted, seen).iter().map(|step| step.key).collect(),
        twice: desired::openings(&valid.networks).refused,
        wanted,
        seen,
        troubles,
        busy,
        valid: &valid,
    };
    let kinds = [ItemKind::Network, ItemKind::Endpoint];
    Status {
        observations: kinds
            .into_iter()
            .flat_map(|kind| wanted.of_kind(kind))
            .map(|item| view.observation(item))
            .collect(),
        released: view.released(),
    }
}

struct View<'a> {
    wanted: &'a Wanted<'a>,
    seen: &'a Seen,
    troubles: &'a BTreeMap<ItemKey, Trouble>,
    busy: &'a BTreeSet<ItemKey>,
    valid: &'a Valid<'a>,
    unfinished: BTreeSet<ItemKey>,
    twice: BTreeMap<ItemKey, Trouble>,
}

impl View<'_> {
    fn observation(&self, item: &Item) -> Observation {
        Observation {
            key: item.key,
            epoch: item.epoch,
            hash: item.hash(),
            state: self.state(item),
            detail: Detail::None,
        }
    }

    fn state(&self, item: &Item) -> ItemState {
        if !is_live(self.wanted, item) {
            return pending("Releasing", "it is being taken away".to_owned());
        }
        if let Some(trouble) = self.valid.refused.get(&item.key) {
            return match trouble.reason.as_str() {
                // It may come with the next change of the plan.
                "NetworkMissing" => ItemState::Pending(trouble.clone()),
                _ => ItemState::Failed(trouble.clone()),
            };
        }
        for network in &self.valid.networks {
            if network.key() == item.key {
                return self.network_state(network);
            }
            if let Some(endpoint) = network.endpoints.iter().find(|e| e.key() == item.key) {
                return self.endpoint_state(network, endpoint);
            }
        }
        pending("Waiting", "it has not been looked at yet".to_owned())
    }

    fn network_state(&self, network: &Network) -> ItemState {
        let key = network.key();
        if !self.unfinished.contains(&key) {
            return ItemState::Ready;
        }
        match self.troubles.get(&key) {
            Some(trouble) if !self.busy.contains(&key) => ItemState::Failed(trouble.clone()),
            _ => pending(
                "Applying",
                format!(
                    "the network of department {} is being set up",
                    network.body.department
                ),
            ),
        }
    }

    fn endpoint_state(&self, network: &Network, endpoint: &Endpoint) -> ItemState {
        if let Some(trouble) = self.twice.get(&endpoint.key()) {
            return ItemState::Failed(trouble.clone());
        }
        if !self.unfinished.contains(&network.key()) || self.is_open(network, endpoint) {
            return ItemState::Ready;
        }
        match self.troubles.get(&network.key()) {
            Some(trouble) => ItemState::Failed(trouble.clone()),
            None => pending(
                "Applying",
                format!("{} is not let through on this host yet", endpoint.body.name),
            ),
        }
    }

    /// Whether the rules and entries of one endpoint are there.
    fn is_open(&self, network: &Network, endpoint: &Endpoint) -> bool {
        let place = Place::Netns(network.netns.clone());
        let (Some(policy), Some(guard), Some(state)) = (
            self.seen.table(&place, department::TABLE),
            self.seen.table(&place, guard::TABLE),
            self.seen.machine.get(&place),
        ) else {
            return false;
        };
        let mark = endpoint.mark.as_str();
        if department::members(policy).get(&endpoint.key()) != Some(&mark) {
            return false;
        }
        let asserted = desired::DEPARTMENT_SYSCTLS;
        if asserted
            .iter()
            .any(|(name, value)| state.sysctls.get(*name).is_none_or(|v| v != value))
        {
            return false;
        }
        let bridge = names::bridge_name(endpoint.segment.vni);
        let known = |ip| {
            let of_it = |n: &&super::state::Neighbour| n.dev == bridge && n.ip == ip;
            state
                .neighbours
                .iter()
                .find(of_it)
                .is_some_and(|n| n.mac == endpoint.body.mac)
        };
        if !endpoint.addresses().all(known) {
            return false;
        }
        match endpoint.home {
            Home::Here => guard
                .chains
                .contains_key(&guard::chain_of(&guard::tap_of(endpoint))),
            Home::Elsewhere(vtep) => {
                let dev = names::vxlan_name(endpoint.segment.vni);
                let to = super::state::FdbTo::Remote(vtep);
                let mac = endpoint.body.mac;
                state.fdb.contains(&super::state::FdbEntry { dev, mac, to })
            }
        }
    }

    fn released(&self) -> Vec<Released> {
        let networks = self.wanted.releases_of_kind(ItemKind::Network);
        let endpoints = self.wanted.releases_of_kind(ItemKind::Endpoint);
        networks
            .chain(endpoints)
            .filter(|release| self.is_gone(release.key))
            .map(|release| Released {
                erasure: None,
                key: release.key,
                epoch: release.epoch,
                note: String::new(),
            })
            .collect()
    }

    /// What stands under a live item is that item's, so nothing older is left.
    fn is_gone(&self, key: ItemKey) -> bool {
        let live = |item: &Item| is_live(self.wanted, item);
        if self.wanted.items.get(&key).is_some_and(live) {
            return self.nothing_to_cut();
        }
        if key.kind == ItemKind::Network {
            return namespaces_of(self.wanted, self.seen, key).is_empty();
        }
        let mut policies = self.policies();
        policies.all(|policy| !department::members(policy).contains_key(&key))
            && self.nothing_to_cut()
    }

    fn policies(&self) -> impl Iterator<Item = &super::firewall::TableSeen> {
        let places = self.seen.tables.keys();
        places.filter_map(|place| self.seen.table(place, department::TABLE))
    }

    fn nothing_to_cut(&self) -> bool {
        self.policies()
            .all(|policy| Cuts::pending(policy).is_empty())
    }
}

fn pending(reason: &str, message: String) -> ItemState {
    ItemState::Pending(Trouble {
        reason: reason.to_owned(),
        message,
    })
}

/// Machines that keep released networks here: for the message of a release that cannot be done.
#[must_use]
pub fn held_networks(wanted: &Wanted, seen: &Seen) -> BTreeMap<ItemKey, Vec<String>> {
    leaving(wanted, seen)
        .into_iter()
        .map(|(key, netns)| (key, seen.open_taps(&Place::Netns(netns))))
        .filter(|(_, taps)| !taps.is_empty())
        .collect()
}
