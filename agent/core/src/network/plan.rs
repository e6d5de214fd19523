//! The ordered difference between what is desired and what was seen.
//!
//! For each department: close first (rules, then entries, routes and links that must go), then cut
//! what conntrack still holds of it, then open (links, entries, routes), then DHCP. A namespace
//! gets its settings and rules before anything is put into it. A namespace whose bridges would
//! bypass the firewall is shut at once, and opened again only when the setting is right.
//!
//! Everything of one department stands under its network's key, its endpoints' entries included;
//! the edge and the host's own settings stand under the first network's key.

use std::collections::BTreeSet;

use dc_types::plan::{ItemKey, ItemKind};

use super::change::{Change, Machine};
use super::desired::{self, Beyond, Department, Edge};
use super::firewall::department::{self, Cuts};
use super::firewall::{Ruleset, edge, guard};
use super::seen::Seen;
use super::state::{Admin, Link, LinkKind, NetState, Place, is_link_local};
use super::validate::{is_live, validate};
use crate::names;
use crate::wanted::Wanted;

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
        let settings = desired::texts(&desired::HOST_SYSCTLS);
        let host = Place::Host;
        let changes = plan.sysctls(&host, &settings);
        plan.change(network.key(), host, changes);
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

    fn sysctls(
        &self,
        place: &Place,
        wanted: &std::collections::BTreeMap<String, String>,
    ) -> Vec<Change> {
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
        if !wanted
            .table
            .is_loaded_as(self.seen.table(&place, edge::TABLE))
        {
            let tables = vec![wanted.table.clone()];
            let ruleset = Ruleset { tables };
            let place = place.clone();
            self.push(key, Act::LoadTables { place, ruleset });
        }
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
        if self.seen.dhcp.contains_key(netns) {
            let netns = netns.to_owned();
            self.push(key, Act::StopDhcp { netns });
        }
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

fn is_firewall_setting(change: &Change) -> bool {
    matches!(change, Change::SetSysctl { name, .. } if name.starts_with("net.bridge."))
}

fn has_ports(state: &NetState) -> bool {
    state.links.values().any(|link| link.master.is_some())
}

/// Links that this vertical names: bridges, tunnels, and the department's end of a pair.
fn is_ours(name: &str) -> bool {
    ["br", "vx", "ul"].iter().any(|prefix| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// What must go from a department's namespace.
fn closing(seen: &NetState, wanted: &NetState) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, link) in &seen.links {
        let keeps = wanted.links.get(name).is_some_and(|w| w.kind == link.kind);
        if is_ours(name) && !keeps {
            changes.push(Change::DeleteLink { name: name.clone() });
        }
    }
    let gone: BTreeSet<String> = changes
        .iter()
        .filter_map(|change| match change {
            Change::DeleteLink { name } => Some(name.clone()),
            _ => None,
        })
        .collect();
    changes.extend(closing_on(seen, wanted, |dev| {
        is_ours(dev) && !gone.contains(dev)
    }));
    changes
}

/// Entries, routes and addresses that must go from the links that `owned` names.
fn closing_on(seen: &NetState, wanted: &NetState, owned: impl Fn(&str) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    for route in &seen.routes {
        // A route to the same place is replaced, not deleted: replacing leaves no gap.
        let replaced = wanted.routes.iter().any(|r| r.to == route.to);
        if owned(&route.dev) && !replaced {
            changes.push(Change::DeleteRoute(route.clone()));
        }
    }
    for entry in seen.fdb.difference(&wanted.fdb) {
        if owned(&entry.dev) {
            changes.push(Change::DeleteFdb(entry.clone()));
        }
    }
    for neighbour in seen.neighbours.difference(&wanted.neighbours) {
        let same = |n: &super::state::Neighbour| (&n.dev, n.ip) == (&neighbour.dev, neighbour.ip);
        if owned(&neighbour.dev) && !wanted.neighbours.iter().any(same) {
            changes.push(Change::DeleteNeighbour(neighbour.clone()));
        }
    }
    for (name, link) in &seen.links {
        let Some(want) = wanted.links.get(name).filter(|_| owned(name)) else {
            continue;
        };
        for address in link.addresses.difference(&want.addresses) {
            if !is_link_local(&address.addr()) {
                let (dev, address) = (name.clone(), *address);
                changes.push(Change::DeleteAddress { dev, address });
            }
        }
    }
    changes
}

/// What must come into a department's namespace: links first, bridges before their ports.
fn opening(seen: &NetState, wanted: &NetState, beyond: Option<&Beyond>) -> Vec<Change> {
    let mut missing: Vec<(&String, &Link)> = wanted
        .links
        .iter()
        .filter(|(name, _)| !seen.links.contains_key(*name))
        .collect();
    missing.sort_by_key(|(_, link)| link.kind != LinkKind::Bridge);
    let mut changes: Vec<Change> = missing
        .iter()
        .filter_map(|(name, link)| add_link(name, link, beyond))
        .collect();
    changes.extend(opening_entries(seen, wanted));
    changes
}

fn add_link(name: &str, link: &Link, beyond: Option<&Beyond>) -> Option<Change> {
    let name = name.to_owned();
    let mtu = link.mtu;
    match &link.kind {
        LinkKind::Bridge => Some(Change::AddBridge {
            name,
            mac: link.mac?,
            mtu,
        }),
        LinkKind::Vxlan { vni, local, .. } => Some(Change::AddVxlan {
            name,
            vni: *vni,
            local: *local,
            mac: link.mac,
            mtu,
        }),
        LinkKind::Veth => Some(Change::AddVeth {
            name,
            mac: link.mac?,
            mtu,
            peer: beyond?.peer.clone(),
        }),
        LinkKind::Tap(_) | LinkKind::Other(_) => None,
    }
}

/// Properties of links that are there or just made, then everything that hangs on them.
fn opening_entries(seen: &NetState, wanted: &NetState) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, want) in &wanted.links {
        changes.extend(shape_link(name, seen.links.get(name), want));
    }
    for neighbour in wanted.neighbours.difference(&seen.neighbours) {
        changes.push(Change::SetNeighbour(neighbour.clone()));
    }
    for entry in wanted.fdb.difference(&seen.fdb) {
        changes.push(Change::AddFdb(entry.clone()));
    }
    for route in wanted.routes.difference(&seen.routes) {
        changes.push(Change::SetRoute(route.clone()));
    }
    changes
}

fn shape_link(name: &str, seen: Option<&Link>, want: &Link) -> Vec<Change> {
    let own = || name.to_owned();
    let mut changes = Vec::new();
    if let (Some(mac), Some(seen)) = (want.mac, seen)
        && seen.mac != Some(mac)
    {
        changes.push(Change::SetMac { name: own(), mac });
    }
    if seen.is_some_and(|seen| seen.mtu != want.mtu) {
        let mtu = want.mtu;
        changes.push(Change::SetMtu { name: own(), mtu });
    }
    if let Some(bridge) = &want.master
        && seen.and_then(|seen| seen.master.as_ref()) != Some(bridge)
    {
        let bridge = bridge.clone();
        changes.push(Change::SetMaster {
            name: own(),
            bridge,
        });
    }
    if let Some(port) = want.port
        && seen.and_then(|seen| seen.port) != Some(port)
    {
        changes.push(Change::SetPort { name: own(), port });
    }
    let nothing = BTreeSet::new();
    let there = seen.map_or(&nothing, |seen| &seen.addresses);
    for address in want.addresses.difference(there) {
        let (dev, address) = (own(), *address);
        changes.push(Change::AddAddress { dev, address });
    }
    if want.up == Admin::Up && seen.is_none_or(|seen| seen.up == Admin::Down) {
        changes.push(Change::SetUp { name: own() });
    }
    changes
}
