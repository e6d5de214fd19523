//! What a network namespace holds, as far as this vertical makes or asserts it.
//!
//! The same types say what is desired and what was seen. What others put there (taps, automatic
//! link-local addresses, learned forwarding entries, kernel routes) is left out by the reader or
//! passed over by the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use dc_types::{Mac, Vni};
use ipnet::IpNet;

/// Where something stands: the host's own namespace, or one that the agent made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    Host,
    Netns(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Host => f.write_str("the host"),
            Place::Netns(name) => write!(f, "namespace {name}"),
        }
    }
}

/// One namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// Of those asked for; absent when the kernel has none of that name.
    pub sysctls: BTreeMap<String, String>,
    pub links: BTreeMap<String, Link>,
    /// Routes of protocol `static`: nobody else makes such here.
    pub routes: BTreeSet<Route>,
    /// Permanent ones.
    pub neighbours: BTreeSet<Neighbour>,
    /// Static ones on VXLAN ports.
    pub fdb: BTreeSet<FdbEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub kind: LinkKind,
    pub mac: Option<Mac>,
    pub mtu: u32,
    pub up: Admin,
    /// The bridge it is a port of.
    pub master: Option<String>,
    /// How it behaves as a port of a bridge; `None` when it is none.
    pub port: Option<Port>,
    pub addresses: BTreeSet<IpNet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admin {
    Up,
    Down,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkKind {
    Bridge,
    /// Its socket is in the host's namespace, wherever it stands itself.
    Vxlan {
        vni: Vni,
        local: IpAddr,
        port: u16,
    },
    Veth,
    Tap(TapUse),
    /// Anything else, by the kernel's word for it; empty for a physical card.
    Other(String),
}

/// Whether a machine holds the other end of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapUse {
    Open,
    Idle,
}

/// Whether a bridge port learns addresses, sends frames of unknown destination, and answers for
/// known neighbours itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub learning: Switch,
    pub flood: Switch,
    pub neigh_suppress: Switch,
}

impl Port {
    /// A tunnel's: everything it does comes from the plan.
    pub const TUNNEL: Port = Port {
        learning: Switch::Off,
        flood: Switch::Off,
        neigh_suppress: Switch::On,
    };
    /// What the kernel gives a new port.
    pub const FRESH: Port = Port {
        learning: Switch::On,
        flood: Switch::On,
        neigh_suppress: Switch::Off,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    On,
    Off,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Switch::On => "on",
            Switch::Off => "off",
        })
    }
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on { Switch::On } else { Switch::Off }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub to: IpNet,
    pub via: IpAddr,
    pub dev: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    pub dev: String,
    pub ip: IpAddr,
    pub mac: Mac,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FdbEntry {
    pub dev: String,
    /// All zeros: where broadcast and multicast go.
    pub mac: Mac,
    pub to: FdbTo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FdbTo {
    /// In the VXLAN device: the tunnel's other end.
    Remote(IpAddr),
    /// In the bridge: this port leads there.
    Port,
}

/// The MAC of entries that say where broadcast and multicast go.
pub const FLOOD: Mac = Mac([0; 6]);

/// Whether an address is link-local IPv6, which interfaces give themselves.
#[must_use]
pub fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}
