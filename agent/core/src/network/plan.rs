//! The ordered difference between what is desired and what was seen.
//!
//! For each department: close first (rules, then entries, routes and links that must go), then cut
//! what conntrack still holds of it, then open (links, entries, routes), then DHCP. A namespace
//! gets its settings and rules before anything is put into it. A namespace whose bridges would
//! bypass the firewall is shut at once, and opened again only when the setting is right.
//!
//! Everything of one department stands under its network's key, its endpoints' entries included;
//! the edge and the host's own settings stand under the first network's key.

mod difference;

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{ItemKey, ItemKind};

use super::change::{Change, Machine};
use super::desired::{self, Department, Edge};
use super::firewall::department::{self, Cuts};
use super::firewall::{Ruleset, Table, guard, overlay};
use super::seen::Seen;
use super::state::{Admin, Link, NetState, Place};
use super::validate::{is_live, validate};
use crate::names;
use crate::wanted::Wanted;

use difference::{
    closing, closing_on, has_ports, is_firewall_setting, is_ours, opening, opening_entries,
};

/// One step. Steps of one key are done in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub key: ItemKey,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    AddNetns(String),
    /// With everything in it.
    RemoveNetns(String),
    Change {
        place: Place,
        changes: Vec<Change>,
    },
    LoadTables {
        place: Place,
        ruleset: Ruleset,
    },
    /// Deletes what conntrack holds of these.
    Cut {
        place: Place,
        cuts: Cuts,
    },
    /// Takes these out of the sets of things to be cut.
    ForgetCuts {
        place: Place,
        cuts: Cuts,
    },
    /// In place of the one that runs, if any.
    StartDhcp {
        netns: String,
        config: String,
    },
    StopDhcp {
        netns: String,
    },
}

impl Step {
    #[must_use]
    pub fn key(&self) -> ItemKey {
        self.key
    }

    /// The step's name for logs, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.act {
            Act::AddNetns(_) => "add_netns",
            Act::RemoveNetns(_) => "remove_netns",
            Act::Change { .. } => "change",
            Act::LoadTables { .. } => "load_tables",
            Act::Cut { .. } => "cut",
            Act::ForgetCuts { .. } => "forget_cuts",
            Act::StartDhcp { .. } => "start_dhcp",
            Act::StopDhcp { .. } => "stop_dhcp",
        }
    }
}

/// The steps from what was seen to what is wanted.
#[must_use]
pub fn plan(wanted: &Wanted, seen: &Seen) -> Vec<Step> {
    let valid = validate(wanted);
    let openings = desired::openings(&valid.networks);
    let mut plan = Plan {
        machine: seen.machine.clone(),
        seen,
        steps: Vec::new(),
    };
    if let Some(network) = valid.networks.first() {
        plan.host(network.key(), overlay::table(&valid.networks));
    }
    if let Some(edge) = desired::edge(&valid.networks, &openings) {
        plan.edge(&edge);
    }
    for network in &valid.networks {
        let place = Place::Netns(network.netns.clone());
        let cuts = department::cuts(network, seen.table(&place, department::TABLE));
        let wanted = desired::department(network, wanted.host, &openings, cuts);
        plan.department(&wanted);
    }
    for (key, netns) in leaving(wanted, seen) {
        plan.leave(key, &netns);
    }
    plan.steps
}

/// Released networks that still have a namespace here, and are not held by a running machine.
#[must_use]
pub fn leaving(wanted: &Wanted, seen: &Seen) -> Vec<(ItemKey, String)> {
    let mut out = Vec::new();
    for release in wanted.releases_of_kind(ItemKind::Network) {
        if wanted
            .items
            .get(&release.key)
            .is_some_and(|item| is_live(wanted, item))
        {
            continue;
        }
        out.extend(
            namespaces_of(wanted, seen, release.key)
                .into_iter()
                .map(|netns| (release.key, netns)),
        );
    }
    out
}

/// The namespaces that were made for a network which is no longer wanted: those whose table says
/// so, and unfinished ones without any table that no wanted network claims.
#[must_use]
pub fn namespaces_of(wanted: &Wanted, seen: &Seen, key: ItemKey) -> Vec<String> {
    let claimed: BTreeSet<String> = validate(wanted)
        .networks
        .iter()
        .map(|network| network.netns.clone())
        .collect();
    let ours = |netns: &String| {
        if names::netns_transit(netns).is_none() || claimed.contains(netns) {
            return false;
        }
        match seen.table(&Place::Netns(netns.clone()), department::TABLE) {
            Some(table) => department::owner(table) == Some(key.id),
            None => true,
        }
    };
    seen.machine
        .netns_names()
        .into_iter()
        .filter(ours)
        .collect()
}

struct Plan<'a> {
    /// What will be there when the steps so far are done.
    machine: Machine,
    seen: &'a Seen,
    steps: Vec<Step>,
}

impl Plan<'_> {
    fn push(&mut self, key: ItemKey, act: Act) {
        self.steps.push(Step { key, act });
    }

    fn change(&mut self, key: ItemKey, place: Place, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        for change in &changes {
            // A change that cannot be foreseen fails when it is carried out, and says why.
            let _ = self.machine.apply(&place, change);
        }
        self.push(key, Act::Change { place, changes });
    }

    fn state(&self, place: &Place) -> NetState {
        self.machine.get(place).cloned().unwrap_or_default()
    }

    fn sysctls(&self, place: &Place, wanted: &BTreeMap<String, String>) -> Vec<Change> {
        let state = self.state(place);
        wanted
            .iter()
            .filter(|(name, value)| state.sysctls.get(*name) != Some(value))
            .map(|(name, value)| Change::SetSysctl {
                name: name.clone(),
                value: value.clone(),
            })
            .collect()
    }

    fn namespace(&mut self, key: ItemKey, netns: &str) -> Place {
        let place = Place::Netns(netns.to_owned());
        if self.machine.get(&place).is_none() {
            self.machine.add_netns(netns);
            self.push(key, Act::AddNetns(netns.to_owned()));
        }
        place
    }

    /// The host's own namespace.
    fn host(&mut self, key: ItemKey, table: Table) {
        let settings = desired::texts(&desired::HOST_SYSCTLS);
        let changes = self.sysctls(&Place::Host, &settings);
        self.change(key, Place::Host, changes);
        self.load_one(key, &Place::Host, table);
    }

    fn load_one(&mut self, key: ItemKey, place: &Place, table: Table) {
        if !table.is_loaded_as(self.seen.table(place, table.name)) {
            let tables = vec![table];
            let (place, ruleset) = (place.clone(), Ruleset { tables });
            self.push(key, Act::LoadTables { place, ruleset });
        }
    }

    fn department(&mut self, wanted: &Department) {
        let key = wanted.key;
        let place = self.namespace(key, &wanted.netns);
        let settings = self.sysctls(&place, &wanted.state.sysctls);
        let bypassed = settings.iter().any(is_firewall_setting) && has_ports(&self.state(&place));
        if bypassed {
            let tables = vec![wanted.closed_guard.clone()];
            let ruleset = Ruleset { tables };
            let place = place.clone();
            self.push(key, Act::LoadTables { place, ruleset });
        }
        self.change(key, place.clone(), settings);
        self.load(wanted, &place, bypassed);

        let closing = closing(&self.state(&place), &wanted.state);
        self.change(key, place.clone(), closing);
        let beyond = Place::Netns(names::EDGE_NETNS.to_owned());
        if let Some(there) = &wanted.beyond {
            let dev = &there.peer.name;
            let changes = closing_on(&self.state(&beyond), &there.state, |d| d == dev);
            self.change(key, beyond.clone(), changes);
        }
        self.cut(key, &place, &wanted.cuts_to);

        let opening = opening(&self.state(&place), &wanted.state, wanted.beyond.as_ref());
        self.change(key, place.clone(), opening);
        if let Some(there) = &wanted.beyond {
            let changes = opening_entries(&self.state(&beyond), &there.state);
            self.change(key, beyond, changes);
        }
        self.dhcp(key, &wanted.netns, wanted.dhcp.as_deref());
    }

    /// Only the tables that differ; both in one transaction.
    fn load(&mut self, wanted: &Department, place: &Place, guard_was_shut: bool) {
        let mut tables = Vec::new();
        let guard_seen = self.seen.table(place, guard::TABLE);
        if guard_was_shut || !wanted.guard.is_loaded_as(guard_seen) {
            tables.push(wanted.guard.clone());
        }
        let policy_seen = self.seen.table(place, department::TABLE);
        if !wanted.policy.is_loaded_as(policy_seen) {
            tables.push(wanted.policy.clone());
        }
        if !tables.is_empty() {
            let ruleset = Ruleset { tables };
            let place = place.clone();
            self.push(wanted.key, Act::LoadTables { place, ruleset });
        }
    }

    fn cut(&mut self, key: ItemKey, place: &Place, cuts: &Cuts) {
        if cuts.is_empty() {
            return;
        }
        let (place, cuts) = (place.clone(), cuts.clone());
        self.push(
            key,
            Act::Cut {
                place: place.clone(),
                cuts: cuts.clone(),
            },
        );
        self.push(key, Act::ForgetCuts { place, cuts });
    }

    fn dhcp(&mut self, key: ItemKey, netns: &str, wanted: Option<&str>) {
        let runs = self.seen.dhcp.get(netns).map(String::as_str);
        let netns = netns.to_owned();
        match (wanted, runs) {
            (Some(config), runs) if runs != Some(config) => {
                let config = config.to_owned();
                self.push(key, Act::StartDhcp { netns, config });
            }
            (None, Some(_)) => self.push(key, Act::StopDhcp { netns }),
            _ => {}
        }
    }

    /// The namespace, its rules, and the way out. What leads to the departments is theirs.
    fn edge(&mut self, wanted: &Edge) {
        let key = wanted.key;
        let place = self.namespace(key, names::EDGE_NETNS);
        let settings = self.sysctls(&place, &desired::texts(&desired::EDGE_SYSCTLS));
        self.change(key, place.clone(), settings);
        self.load_one(key, &place, wanted.table.clone());
        let name = wanted.view.interface.clone();
        if !self.state(&place).links.contains_key(&name) {
            let to = names::EDGE_NETNS.to_owned();
            let name = name.clone();
            self.change(key, Place::Host, vec![Change::MoveLink { name, to }]);
        }
        let state = self.state(&place);
        let outside = outside(wanted, &state);
        let mut changes = closing_on(&state, &outside, |dev| dev == name);
        changes.extend(opening_entries(&state, &outside));
        self.change(key, place, changes);
    }

    /// Bridges with machines on them stay until the machines are gone.
    fn leave(&mut self, key: ItemKey, netns: &str) {
        let place = Place::Netns(netns.to_owned());
        if !self.seen.open_taps(&place).is_empty() {
            return;
        }
        // Also when it does not run: its files go as well.
        let stopped = netns.to_owned();
        self.push(key, Act::StopDhcp { netns: stopped });
        // Tunnels go by name: the kernel is slow to free a namespace, and an id is taken until
        // its device is gone.
        let state = self.state(&place);
        let links = state.links.iter().filter(|(name, _)| is_ours(name));
        let changes = links.map(|(name, _)| Change::DeleteLink { name: name.clone() });
        let changes = changes.collect();
        self.change(key, place, changes);
        self.push(key, Act::RemoveNetns(netns.to_owned()));
    }
}

/// The outer interface as wanted. Its kind, MAC and MTU are whatever they are.
fn outside(wanted: &Edge, state: &NetState) -> NetState {
    let view = wanted.view;
    let v4 = view.ipv4.map(ipnet::IpNet::V4);
    let v6 = view.ipv6.map(ipnet::IpNet::V6);
    let mut out = NetState {
        routes: desired::edge_routes(view),
        ..NetState::default()
    };
    if let Some(link) = state.links.get(&view.interface) {
        let link = Link {
            up: Admin::Up,
            addresses: v4.into_iter().chain(v6).collect(),
            ..link.clone()
        };
        out.links.insert(view.interface.clone(), link);
    }
    out
}
