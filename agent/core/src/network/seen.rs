//! What was seen of a host's network.
//!
//! Read in full: the namespaces of departments in the plan, the edge, and the few settings of the
//! host's own namespace that we assert. Of other namespaces named as ours only the tables and
//! links are read, to tell whose they were.

use std::collections::BTreeMap;

use super::Machine;
use super::firewall::TableSeen;
use super::state::{LinkKind, Place, TapUse};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub machine: Machine,
    /// Tables of the names that are ours, by namespace.
    pub tables: BTreeMap<Place, Vec<TableSeen>>,
    /// The configuration each running DHCP server was started with, by namespace.
    pub dhcp: BTreeMap<String, String>,
}

impl Seen {
    #[must_use]
    pub fn table(&self, place: &Place, name: &str) -> Option<&TableSeen> {
        self.tables.get(place)?.iter().find(|t| t.name == name)
    }

    /// Taps in a namespace that a machine still holds open.
    #[must_use]
    pub fn open_taps(&self, place: &Place) -> Vec<String> {
        let Some(state) = self.machine.get(place) else {
            return Vec::new();
        };
        state
            .links
            .iter()
            .filter(|(_, link)| link.kind == LinkKind::Tap(TapUse::Open))
            .map(|(name, _)| name.clone())
            .collect()
    }
}
