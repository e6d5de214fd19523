//! [`Firewall`] of a fake machine.

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::{self, Cuts};
use dc_agent_core::network::firewall::{Ruleset, TableSeen};

use super::{Firewall, FirewallError, cut_set};
use crate::links::FakeNetwork;

#[async_trait]
impl Firewall for FakeNetwork {
    async fn load(&self, place: &Place, ruleset: &Ruleset) -> Result<(), FirewallError> {
        self.knobs.gate("firewall.load").await?;
        {
            let mut state = self.lock();
            if state.machine.get(place).is_none() {
                return Err(FirewallError::NoPlace(place.clone()));
            }
            let tables = state.tables.entry(place.clone()).or_default();
            for table in &ruleset.tables {
                let seen = table.as_seen();
                tables.retain(|t| (&t.family, &t.name) != (&seen.family, &seen.name));
                tables.push(seen);
            }
        }
        Ok(self.knobs.answer("firewall.load")?)
    }

    async fn forget_cuts(&self, place: &Place, cuts: &Cuts) -> Result<(), FirewallError> {
        self.knobs.gate("firewall.forget_cuts").await?;
        {
            let mut state = self.lock();
            let tables = state.tables.entry(place.clone()).or_default();
            for table in tables.iter_mut().filter(|t| t.name == department::TABLE) {
                for id in &cuts.flows {
                    forget(table, department::CUT_SETS[0], &id.to_string());
                }
                for address in &cuts.addresses {
                    forget(table, cut_set(*address), &address.to_string());
                }
            }
        }
        Ok(self.knobs.answer("firewall.forget_cuts")?)
    }

    async fn tables(&self, place: &Place) -> Result<Vec<TableSeen>, FirewallError> {
        self.knobs.gate("firewall.tables").await?;
        Ok(FakeNetwork::tables(self, place))
    }
}

fn forget(table: &mut TableSeen, set: &str, element: &str) {
    if let Some(set) = table.sets.get_mut(set) {
        set.elements.retain(|(text, _)| text != element);
        set.count = set.elements.len();
    }
}
