//! Placement: which host a machine may run on, and if none, why not and what would help.
//!
//! Pure, over an [`Index`] that is kept up to date host by host: hosts come and go with
//! [`Index::upsert`] and [`Index::remove`], what they promised with [`Index::set_promise`]. Nothing
//! is rebuilt for a machine; one placement is one pass over packed rows.
//!
//! Filters, all of which must pass: role, connection, maintenance, zone types, vCPUs, memory,
//! machine type, firmware, CPU model, and the one host that has its volumes in a folder. Among those left the order is: fewest machines of the spread
//! group, then the lowest share of memory promised, then the name.
//!
//! It does not reserve anything: the claim does, and the caller decides and claims one at a time.

use std::collections::{BTreeMap, HashMap};

use dc_crds::zone::ZoneKind;
use dc_types::plan::{Firmware, ZoneType};
use dc_types::{HostName, MiB};

use crate::claims::HostPromise;

mod row;
pub mod verdict;

use row::{Row, Words};
pub use verdict::{Miss, Rule, Verdict};

/// Whether a host's agent is in session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Connected,
    Silent,
    /// It has not been seen since the operator started, or ever.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    Compute,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    Open,
    Maintenance,
}

/// What placement knows of a host, apart from what it has promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostState {
    pub name: HostName,
    pub duty: Duty,
    pub presence: Presence,
    pub service: Service,
    /// All when empty.
    pub zones: Vec<ZoneType>,
    /// vCPUs it may promise: real ones times the ratio.
    pub vcpu_limit: u64,
    /// Memory it may promise: what it has less what it keeps for itself.
    pub memory_limit: MiB,
    /// The newest default first.
    pub machine_types: Vec<String>,
    pub firmwares: Vec<Firmware>,
    pub cpu_models: Vec<String>,
}

/// What a machine asks of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub vcpus: u32,
    pub memory: MiB,
    pub cpu_model: String,
    pub firmware: Firmware,
    /// Pinned when it was first started; the host's default when absent.
    pub machine_type: Option<String>,
    pub zones: Vec<ZoneType>,
    /// How many machines of its spread group each host has.
    pub spread: BTreeMap<HostName, u32>,
    /// The one host that it can run on, when its volumes lie there.
    pub only: Option<Only>,
}

/// A host that machines are bound to by directory pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    pub host: HostName,
    /// The pools that are folders of it, and the volumes in them; for people.
    pub pools: Vec<String>,
    pub volumes: Vec<String>,
}

/// Where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    pub host: HostName,
    pub machine_type: String,
}

#[derive(Debug, Default)]
pub struct Index {
    rows: Vec<Row>,
    by_name: HashMap<HostName, usize>,
    words: Words,
}

impl Index {
    /// Takes in a host, or how it is now. What it has promised stays.
    pub fn upsert(&mut self, state: HostState) {
        let promise = self
            .by_name
            .get(&state.name)
            .map_or_else(HostPromise::default, |&at| self.rows[at].promise());
        let name = state.name.clone();
        let row = Row::new(state, promise, &mut self.words);
        match self.by_name.get(&name) {
            Some(&at) => self.rows[at] = row,
            None => {
                self.by_name.insert(name, self.rows.len());
                self.rows.push(row);
            }
        }
    }

    pub fn remove(&mut self, name: &HostName) {
        let Some(at) = self.by_name.remove(name) else {
            return;
        };
        self.rows.swap_remove(at);
        if let Some(moved) = self.rows.get(at) {
            self.by_name.insert(moved.state.name.clone(), at);
        }
    }

    /// What the claims say that a host has promised.
    pub fn set_promise(&mut self, name: &HostName, promise: HostPromise) {
        if let Some(&at) = self.by_name.get(name) {
            self.rows[at].set_promise(promise);
        }
    }

    #[must_use]
    pub fn host(&self, name: &HostName) -> Option<&HostState> {
        self.by_name.get(name).map(|&at| &self.rows[at].state)
    }

    #[must_use]
    pub fn promise(&self, name: &HostName) -> Option<HostPromise> {
        self.by_name.get(name).map(|&at| self.rows[at].promise())
    }

    pub fn hosts(&self) -> impl Iterator<Item = &HostState> {
        self.rows.iter().map(|row| &row.state)
    }

    /// Chooses a host, or says of each why not.
    pub fn place(&self, request: &Request) -> Result<Placed, Vec<Verdict>> {
        let asked = self.words.ask(request);
        let fits = self.rows.iter().filter(|row| row.fits(&asked));
        let spread = |row: &Row| match request.spread.is_empty() {
            true => 0,
            false => request.spread.get(&row.state.name).copied().unwrap_or(0),
        };
        let best = fits.min_by(|a, b| {
            spread(a)
                .cmp(&spread(b))
                .then_with(|| a.load_with(&asked).cmp(&b.load_with(&asked)))
                .then_with(|| a.state.name.cmp(&b.state.name))
        });
        match best {
            Some(row) => Ok(Placed {
                host: row.state.name.clone(),
                machine_type: request
                    .machine_type
                    .clone()
                    .or_else(|| row.state.machine_types.first().cloned())
                    .unwrap_or_default(),
            }),
            None => Err(self.verdicts(request)),
        }
    }

    /// Whether a machine that is on a host already may grow there by so much.
    #[must_use]
    pub fn verdict_for_growth(
        &self,
        host: &HostName,
        vcpus: u32,
        memory: MiB,
    ) -> Option<Vec<Miss>> {
        let at = *self.by_name.get(host)?;
        Some(verdict::room(&self.rows[at], vcpus, memory))
    }

    fn verdicts(&self, request: &Request) -> Vec<Verdict> {
        let only = request.only.as_ref().map(|only| &only.host);
        let is_only = |host: &HostName| only == Some(host);
        let mut all: Vec<Verdict> = self
            .rows
            .iter()
            .filter(|row| row.state.duty == Duty::Compute || is_only(&row.state.name))
            .map(|row| verdict::judge(row, request))
            .collect();
        // Long lists are cut, and of the others one is as good as another.
        all.sort_by(|a, b| (!is_only(&a.host), &a.host).cmp(&(!is_only(&b.host), &b.host)));
        all
    }
}

/// The vocabulary's word for a zone kind of the API.
#[must_use]
pub fn zone_type(kind: ZoneKind) -> ZoneType {
    match kind {
        ZoneKind::Outside => ZoneType::Outside,
        ZoneKind::Dmz => ZoneType::Dmz,
        ZoneKind::Internal => ZoneType::Internal,
        ZoneKind::Database => ZoneType::Database,
        ZoneKind::Storage => ZoneType::Storage,
        ZoneKind::Management => ZoneType::Management,
        ZoneKind::Soc => ZoneType::Soc,
    }
}

#[cfg(test)]
mod tests;
