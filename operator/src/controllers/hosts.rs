//! What all hosts are, as placement and networks need it: kept host by host, never rebuilt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dc_crds::host::HostRole;
use dc_operator_core::claims::Claims;
use dc_operator_core::host::placement_state;
use dc_operator_core::network::{Edge, HostSeen};
use dc_operator_core::place::Index;
use dc_types::HostName;

use super::look::presence;
use crate::observed::Observed;
use crate::stores::Stores;

#[derive(Default)]
pub struct Hosts {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: Index,
    overlay: Arc<BTreeMap<HostName, HostSeen>>,
}

/// What a host's change means for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Machines that wait for room may fit now.
    pub placement: bool,
    /// Networks reach it otherwise.
    pub overlay: bool,
}

impl Hosts {
    /// Looks at one host again.
    pub fn refresh(&self, stores: &Stores, observed: &Observed, name: &HostName) -> News {
        let object = stores.hosts.get("", name.as_str());
        let mut state = self.lock();
        let Some(host) = object else {
            let known = state.index.host(name).is_some();
            state.index.remove(name);
            let overlay = state.set_overlay(name, None);
            return News {
                placement: known,
                overlay,
            };
        };
        let facts = observed.facts(name);
        let new = placement_state(&host, name, presence(observed, name), facts.as_deref());
        let placement = state.index.host(name) != Some(&new);
        if placement {
            state.index.upsert(new);
        }
        let said = facts.map(|facts| facts.overlay);
        let written = host.status.as_ref();
        let written = written.and_then(|status| status.overlay_address.as_ref()?.parse().ok());
        let gateway = host.spec.roles.contains(&HostRole::Gateway);
        let seen = said.or(written).map(|vtep| HostSeen {
            vtep,
            edge: match gateway {
                true => Edge::Gateway,
                false => Edge::Inside,
            },
        });
        News {
            placement,
            overlay: state.set_overlay(name, seen),
        }
    }

    /// Looks at the index with what the claims say now; do not hold on to it.
    pub fn with_index<R>(&self, look: impl FnOnce(&Index) -> R) -> R {
        look(&self.lock().index)
    }

    /// Takes over what hosts have promised, for a placement that follows.
    pub fn take_promises(&self, claims: &Claims) {
        let mut state = self.lock();
        let names: Vec<HostName> = state.index.hosts().map(|host| host.name.clone()).collect();
        for name in names {
            let promise = claims.promised_on(&name);
            state.index.set_promise(&name, promise);
        }
    }

    /// The hosts whose overlay address is known.
    #[must_use]
    pub fn overlay(&self) -> Arc<BTreeMap<HostName, HostSeen>> {
        self.lock().overlay.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change leaves the state whole, so a panic elsewhere has not broken it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn set_overlay(&mut self, name: &HostName, seen: Option<HostSeen>) -> bool {
        if self.overlay.get(name) == seen.as_ref() {
            return false;
        }
        let overlay = Arc::make_mut(&mut self.overlay);
        match seen {
            Some(seen) => overlay.insert(name.clone(), seen),
            None => overlay.remove(name),
        };
        true
    }
}
