//! The difference between two states of a namespace: what must go, then what must come.

use std::collections::BTreeSet;

use super::super::change::Change;
use super::super::desired::Beyond;
use super::super::state::{Admin, Link, LinkKind, Neighbour, NetState, is_link_local};

pub(super) fn is_firewall_setting(change: &Change) -> bool {
    matches!(change, Change::SetSysctl { name, .. } if name.starts_with("net.bridge."))
}

pub(super) fn has_ports(state: &NetState) -> bool {
    state.links.values().any(|link| link.master.is_some())
}

/// Links that this vertical names: bridges, tunnels, and the department's end of a pair.
pub(super) fn is_ours(name: &str) -> bool {
    ["br", "vx", "ul"].iter().any(|prefix| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    })
}

/// What must go from a department's namespace.
pub(super) fn closing(seen: &NetState, wanted: &NetState) -> Vec<Change> {
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
pub(super) fn closing_on(
    seen: &NetState,
    wanted: &NetState,
    owned: impl Fn(&str) -> bool,
) -> Vec<Change> {
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
        let same = |n: &Neighbour| (&n.dev, n.ip) == (&neighbour.dev, neighbour.ip);
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
pub(super) fn opening(seen: &NetState, wanted: &NetState, beyond: Option<&Beyond>) -> Vec<Change> {
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
pub(super) fn opening_entries(seen: &NetState, wanted: &NetState) -> Vec<Change> {
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
