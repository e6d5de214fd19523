//! One fake machine's network: what `ip`, `nft`, `dnsmasq` and `conntrack` would remember.
//!
//! All four tools share it, because removing a namespace takes its rules and connections along.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::names;
use dc_agent_core::network::change::{Machine, tap};
use dc_agent_core::network::firewall::TableSeen;
use dc_agent_core::network::state::{Link, LinkKind};
use dc_agent_core::network::{Change, NetState, Place};

use super::{Links, LinksError, TapSeen};
use crate::knobs::Knobs;

/// The network of one fake machine; clones share it.
#[derive(Clone)]
pub struct FakeNetwork {
    pub(crate) knobs: Knobs,
    state: Arc<Mutex<FakeState>>,
}

#[derive(Default)]
pub(crate) struct FakeState {
    pub(crate) machine: Machine,
    pub(crate) tables: BTreeMap<Place, Vec<TableSeen>>,
    pub(crate) dhcp: BTreeMap<String, String>,
    pub(crate) connections: BTreeMap<Place, Vec<Connection>>,
}

/// What conntrack holds of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub from: IpAddr,
    pub to: IpAddr,
    pub mark: u32,
}

impl FakeNetwork {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            state: Arc::default(),
        }
    }

    /// What a reboot does: nothing of the network outlives it.
    pub fn reboot(&self) {
        *self.lock() = FakeState::default();
    }

    /// A look at the whole machine, for tests.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.lock().machine.clone()
    }

    /// The tables of a namespace, for tests.
    #[must_use]
    pub fn tables(&self, place: &Place) -> Vec<TableSeen> {
        self.lock().tables.get(place).cloned().unwrap_or_default()
    }

    /// Something done behind the agent's back.
    pub fn meddle(&self, place: &Place, change: &Change) -> Result<(), String> {
        self.lock().machine.apply(place, change)
    }

    /// A card of the machine, or a link that somebody else made.
    pub fn add_link(&self, place: &Place, name: &str, link: Link) -> Result<(), String> {
        self.lock().machine.add(place, name, link)
    }

    /// Empties every table of a namespace, as `nft flush ruleset` does.
    pub fn flush_tables(&self, place: &Place) {
        self.lock().tables.remove(place);
    }

    /// A connection that goes on in a namespace.
    pub fn connect(&self, place: &Place, connection: Connection) {
        let mut state = self.lock();
        state
            .connections
            .entry(place.clone())
            .or_default()
            .push(connection);
    }

    #[must_use]
    pub fn connections(&self, place: &Place) -> Vec<Connection> {
        self.lock()
            .connections
            .get(place)
            .cloned()
            .unwrap_or_default()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeState {
    fn tap_places(&self, name: &str) -> Vec<Place> {
        let own = self.machine.netns_names().into_iter();
        let ours = own.filter(|netns| names::netns_transit(netns).is_some());
        std::iter::once(Place::Host)
            .chain(ours.map(Place::Netns))
            .filter(|place| {
                let state = self.machine.get(place);
                state.is_some_and(|state| state.links.contains_key(name))
            })
            .collect()
    }

    fn delete_tap(&mut self, name: &str) -> Result<(), String> {
        for place in self.tap_places(name) {
            let name = name.to_owned();
            self.machine.apply(&place, &Change::DeleteLink { name })?;
        }
        Ok(())
    }

    fn plug_tap(&mut self, name: &str, netns: &str, bridge: &str) -> Result<(), String> {
        let place = Place::Netns(netns.to_owned());
        let (name, bridge) = (name.to_owned(), bridge.to_owned());
        let in_host = self.machine.get(&Place::Host);
        if in_host.is_some_and(|state| state.links.contains_key(&name)) {
            let to = netns.to_owned();
            let name = name.clone();
            self.machine
                .apply(&Place::Host, &Change::MoveLink { name, to })?;
        }
        let master = Change::SetMaster {
            name: name.clone(),
            bridge,
        };
        self.machine.apply(&place, &master)?;
        self.machine.apply(&place, &Change::SetUp { name })
    }
}

/// As a real network namespace answers: settings that were never set have the kernel's default.
fn asked(state: &NetState, sysctls: &[&str]) -> NetState {
    let value = |name: &&str| {
        let set = state.sysctls.get(*name).cloned();
        (
            (*name).to_owned(),
            set.unwrap_or_else(|| "default".to_owned()),
        )
    };
    NetState {
        sysctls: sysctls.iter().map(value).collect(),
        ..state.clone()
    }
}

#[async_trait]
impl Links for FakeNetwork {
    async fn netns_names(&self) -> Result<BTreeSet<String>, LinksError> {
        self.knobs.gate("links.netns_names").await?;
        Ok(self.lock().machine.netns_names())
    }

    async fn add_netns(&self, name: &str) -> Result<(), LinksError> {
        self.knobs.gate("links.add_netns").await?;
        self.lock().machine.add_netns(name);
        Ok(self.knobs.answer("links.add_netns")?)
    }

    async fn remove_netns(&self, name: &str) -> Result<(), LinksError> {
        self.knobs.gate("links.remove_netns").await?;
        {
            let mut state = self.lock();
            let place = Place::Netns(name.to_owned());
            state.machine.remove_netns(name);
            state.tables.remove(&place);
            state.connections.remove(&place);
        }
        Ok(self.knobs.answer("links.remove_netns")?)
    }

    async fn state(&self, place: &Place, sysctls: &[&str]) -> Result<Option<NetState>, LinksError> {
        self.knobs.gate("links.state").await?;
        let state = self.lock();
        Ok(state.machine.get(place).map(|state| asked(state, sysctls)))
    }

    async fn change(&self, place: &Place, changes: &[Change]) -> Result<(), LinksError> {
        self.knobs.gate("links.change").await?;
        {
            let mut state = self.lock();
            for change in changes {
                let done = state.machine.apply(place, change);
                done.map_err(LinksError::Refused)?;
            }
        }
        Ok(self.knobs.answer("links.change")?)
    }

    async fn make_tap(&self, name: &str, mtu: u32) -> Result<(), LinksError> {
        self.knobs.gate("links.make_tap").await?;
        {
            let mut state = self.lock();
            state.delete_tap(name).map_err(LinksError::Refused)?;
            let made = state.machine.add(&Place::Host, name, tap(mtu));
            made.map_err(LinksError::Refused)?;
        }
        Ok(self.knobs.answer("links.make_tap")?)
    }

    async fn plug_tap(&self, name: &str, netns: &str, bridge: &str) -> Result<(), LinksError> {
        self.knobs.gate("links.plug_tap").await?;
        let done = self.lock().plug_tap(name, netns, bridge);
        done.map_err(LinksError::Refused)?;
        Ok(self.knobs.answer("links.plug_tap")?)
    }

    async fn delete_tap(&self, name: &str) -> Result<(), LinksError> {
        self.knobs.gate("links.delete_tap").await?;
        let done = self.lock().delete_tap(name);
        done.map_err(LinksError::Refused)?;
        Ok(self.knobs.answer("links.delete_tap")?)
    }

    async fn taps(&self) -> Result<BTreeMap<String, TapSeen>, LinksError> {
        self.knobs.gate("links.taps").await?;
        let state = self.lock();
        let own = state.machine.netns_names().into_iter();
        let ours = own.filter(|netns| names::netns_transit(netns).is_some());
        let mut out = BTreeMap::new();
        for place in std::iter::once(Place::Host).chain(ours.map(Place::Netns)) {
            let Some(found) = state.machine.get(&place) else {
                continue;
            };
            for (name, link) in &found.links {
                if let LinkKind::Tap(in_use) = link.kind {
                    let seen = TapSeen {
                        place: place.clone(),
                        bridge: link.master.clone(),
                        in_use,
                    };
                    out.insert(name.clone(), seen);
                }
            }
        }
        Ok(out)
    }
}
