//! One change of a namespace, and what it does to what is there.
//!
//! A [`Change`] is carried out for real by `dc-host`, which renders it for `ip` and `bridge`, and
//! on a [`Machine`] here, which is what the fake host and the property tests use: both refuse what
//! the kernel refuses, such as a second link of one name or a port without its bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use dc_types::{Mac, Vni};
use ipnet::IpNet;

use super::VXLAN_PORT;
use super::state::{
    Admin, FdbEntry, Link, LinkKind, Neighbour, NetState, Place, Port, Route, TapUse,
};

/// A change of the namespace it is given for. Each may be repeated, the making of links apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    SetSysctl {
        name: String,
        value: String,
    },
    AddBridge {
        name: String,
        mac: Mac,
        mtu: u32,
    },
    /// Made with its socket in the host's own namespace.
    AddVxlan {
        name: String,
        vni: Vni,
        local: IpAddr,
        mac: Option<Mac>,
        mtu: u32,
    },
    /// A pair: this end here, the other in another namespace.
    AddVeth {
        name: String,
        mac: Mac,
        mtu: u32,
        peer: VethPeer,
    },
    /// Out of this namespace into that one; it arrives down and without addresses.
    MoveLink {
        name: String,
        to: String,
    },
    DeleteLink {
        name: String,
    },
    SetMac {
        name: String,
        mac: Mac,
    },
    SetMtu {
        name: String,
        mtu: u32,
    },
    SetUp {
        name: String,
    },
    SetMaster {
        name: String,
        bridge: String,
    },
    SetPort {
        name: String,
        port: Port,
    },
    AddAddress {
        dev: String,
        address: IpNet,
    },
    DeleteAddress {
        dev: String,
        address: IpNet,
    },
    SetRoute(Route),
    DeleteRoute(Route),
    SetNeighbour(Neighbour),
    DeleteNeighbour(Neighbour),
    AddFdb(FdbEntry),
    DeleteFdb(FdbEntry),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VethPeer {
    pub netns: String,
    pub name: String,
    pub mac: Mac,
}

/// All namespaces of a host. The host's own is always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    places: BTreeMap<Place, NetState>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            places: BTreeMap::from([(Place::Host, fresh_netns())]),
        }
    }
}

/// What a kernel puts into every new namespace, as far as we look.
fn fresh_netns() -> NetState {
    let bridge = "net.bridge.bridge-nf-call-";
    NetState {
        sysctls: ["iptables", "ip6tables"]
            .map(|table| (format!("{bridge}{table}"), "1".to_owned()))
            .into(),
        ..NetState::default()
    }
}

impl Machine {
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<&NetState> {
        self.places.get(place)
    }

    /// Puts a state that was read, in place of what stands there.
    pub fn put(&mut self, place: Place, state: NetState) {
        self.places.insert(place, state);
    }

    #[must_use]
    pub fn netns_names(&self) -> BTreeSet<String> {
        self.places
            .keys()
            .filter_map(|place| match place {
                Place::Host => None,
                Place::Netns(name) => Some(name.clone()),
            })
            .collect()
    }

    pub fn add_netns(&mut self, name: &str) {
        self.places
            .entry(Place::Netns(name.to_owned()))
            .or_insert_with(fresh_netns);
    }

    /// With everything in it; a pair loses both its ends.
    pub fn remove_netns(&mut self, name: &str) {
        let place = Place::Netns(name.to_owned());
        let links: Vec<String> = self
            .places
            .get(&place)
            .map(|state| state.links.keys().cloned().collect())
            .unwrap_or_default();
        for link in links {
            let _ = self.delete_link(&place, &link);
        }
        self.places.remove(&place);
    }

    /// Does what the kernel would do, or says why it would refuse.
    pub fn apply(&mut self, place: &Place, change: &Change) -> Result<(), String> {
        match change {
            Change::AddBridge { name, mac, mtu } => {
                self.add(place, name, link(LinkKind::Bridge, Some(*mac), *mtu))
            }
            Change::AddVxlan {
                name,
                vni,
                local,
                mac,
                mtu,
            } => self.add_vxlan(place, name, (*vni, *local), *mac, *mtu),
            Change::AddVeth {
                name,
                mac,
                mtu,
                peer,
            } => {
                let other = Place::Netns(peer.netns.clone());
                self.absent(&other, &peer.name)?;
                self.add(place, name, link(LinkKind::Veth, Some(*mac), *mtu))?;
                let end = link(LinkKind::Veth, Some(peer.mac), *mtu);
                self.add(&other, &peer.name, end)
            }
            Change::MoveLink { name, to } => self.move_link(place, name, to),
            Change::DeleteLink { name } => self.delete_link(place, name),
            Change::SetMaster { name, bridge } => {
                let state = self.state(place)?;
                match state.links.get(bridge).map(|link| &link.kind) {
                    Some(LinkKind::Bridge) => {}
                    _ => return Err(format!("{bridge} in {place} is no bridge")),
                }
                let link = find(state, place, name)?;
                link.master = Some(bridge.clone());
                link.port.get_or_insert(Port::FRESH);
                Ok(())
            }
            _ => apply_within(self.state(place)?, place, change),
        }
    }

    fn add_vxlan(
        &mut self,
        place: &Place,
        name: &str,
        (vni, local): (Vni, IpAddr),
        mac: Option<Mac>,
        mtu: u32,
    ) -> Result<(), String> {
        let same = |other: &Link| matches!(other.kind, LinkKind::Vxlan { vni: v, .. } if v == vni);
        if self.places.values().any(|s| s.links.values().any(same)) {
            return Err(format!("there is a VXLAN device with id {vni} already"));
        }
        let kind = LinkKind::Vxlan {
            vni,
            local,
            port: VXLAN_PORT,
        };
        self.add(place, name, link(kind, mac, mtu))
    }

    /// For a tap or a card that someone else puts there.
    pub fn add(&mut self, place: &Place, name: &str, link: Link) -> Result<(), String> {
        self.absent(place, name)?;
        self.state(place)?.links.insert(name.to_owned(), link);
        Ok(())
    }

    fn absent(&mut self, place: &Place, name: &str) -> Result<(), String> {
        if self.state(place)?.links.contains_key(name) {
            return Err(format!("{name} exists in {place} already"));
        }
        Ok(())
    }

    fn move_link(&mut self, place: &Place, name: &str, to: &str) -> Result<(), String> {
        let to = Place::Netns(to.to_owned());
        self.absent(&to, name)?;
        let link = find(self.state(place)?, place, name)?.clone();
        forget(self.state(place)?, name);
        let arrived = Link {
            up: Admin::Down,
            master: None,
            port: None,
            addresses: BTreeSet::new(),
            ..link
        };
        self.add(&to, name, arrived)
    }

    fn delete_link(&mut self, place: &Place, name: &str) -> Result<(), String> {
        let link = find(self.state(place)?, place, name)?.clone();
        forget(self.state(place)?, name);
        if link.kind == LinkKind::Veth {
            self.forget_peer(name);
        }
        Ok(())
    }

    /// Our pairs are named so that each end tells the other.
    fn forget_peer(&mut self, name: &str) {
        let peer = match name.split_at_checked(2) {
            Some(("ul", rest)) => format!("dl{rest}"),
            Some(("dl", rest)) => format!("ul{rest}"),
            _ => return,
        };
        for state in self.places.values_mut() {
            forget(state, &peer);
        }
    }

    fn state(&mut self, place: &Place) -> Result<&mut NetState, String> {
        self.places
            .get_mut(place)
            .ok_or_else(|| format!("there is no {place}"))
    }
}

fn link(kind: LinkKind, mac: Option<Mac>, mtu: u32) -> Link {
    Link {
        kind,
        mac,
        mtu,
        up: Admin::Down,
        master: None,
        port: None,
        addresses: BTreeSet::new(),
    }
}

fn find<'a>(state: &'a mut NetState, place: &Place, name: &str) -> Result<&'a mut Link, String> {
    state
        .links
        .get_mut(name)
        .ok_or_else(|| format!("there is no {name} in {place}"))
}

/// A link goes with all that hangs on it.
fn forget(state: &mut NetState, name: &str) {
    state.links.remove(name);
    state.routes.retain(|route| route.dev != name);
    state.neighbours.retain(|neighbour| neighbour.dev != name);
    state.fdb.retain(|entry| entry.dev != name);
    for link in state.links.values_mut() {
        if link.master.as_deref() == Some(name) {
            link.master = None;
            link.port = None;
        }
    }
}

fn apply_within(state: &mut NetState, place: &Place, change: &Change) -> Result<(), String> {
    match change {
        Change::SetSysctl { name, value } => {
            state.sysctls.insert(name.clone(), value.clone());
        }
        Change::SetMac { name, mac } => find(state, place, name)?.mac = Some(*mac),
        Change::SetMtu { name, mtu } => find(state, place, name)?.mtu = *mtu,
        Change::SetUp { name } => find(state, place, name)?.up = Admin::Up,
        Change::SetPort { name, port } => match &mut find(state, place, name)?.port {
            Some(current) => *current = *port,
            None => return Err(format!("{name} in {place} is no port of a bridge")),
        },
        Change::AddAddress { dev, address } => {
            find(state, place, dev)?.addresses.insert(*address);
        }
        Change::DeleteAddress { dev, address } => {
            find(state, place, dev)?.addresses.remove(address);
        }
        Change::SetRoute(route) => {
            if find(state, place, &route.dev)?.up == Admin::Down {
                return Err(format!("{} in {place} is down", route.dev));
            }
            state.routes.retain(|other| other.to != route.to);
            state.routes.insert(route.clone());
        }
        Change::DeleteRoute(route) => {
            state.routes.remove(route);
        }
        Change::SetNeighbour(neighbour) => {
            find(state, place, &neighbour.dev)?;
            state
                .neighbours
                .retain(|other| (&other.dev, other.ip) != (&neighbour.dev, neighbour.ip));
            state.neighbours.insert(neighbour.clone());
        }
        Change::DeleteNeighbour(neighbour) => {
            state.neighbours.remove(neighbour);
        }
        Change::AddFdb(entry) => {
            find(state, place, &entry.dev)?;
            state.fdb.insert(entry.clone());
        }
        Change::DeleteFdb(entry) => {
            state.fdb.remove(entry);
        }
        Change::AddBridge { .. }
        | Change::AddVxlan { .. }
        | Change::AddVeth { .. }
        | Change::MoveLink { .. }
        | Change::DeleteLink { .. }
        | Change::SetMaster { .. } => unreachable!("handled by Machine::apply"),
    }
    Ok(())
}

/// A tap as the machine vertical makes it.
#[must_use]
pub fn tap(mtu: u32) -> Link {
    link(LinkKind::Tap(TapUse::Idle), None, mtu)
}
