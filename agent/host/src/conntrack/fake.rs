//! [`Conntrack`] of a fake machine.

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::Cuts;

use super::{Conntrack, ConntrackError};
use crate::links::FakeNetwork;

#[async_trait]
impl Conntrack for FakeNetwork {
    async fn cut(&self, place: &Place, cuts: &Cuts) -> Result<(), ConntrackError> {
        self.knobs.gate("conntrack.cut").await?;
        if let Some(connections) = self.lock().connections.get_mut(place) {
            connections.retain(|c| {
                let touched = [c.from, c.to].iter().any(|a| cuts.addresses.contains(a));
                !touched && !cuts.flows.contains(&c.mark)
            });
        }
        Ok(self.knobs.answer("conntrack.cut")?)
    }
}
