//! [`Dhcp`] of a fake machine.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dc_agent_core::network::Place;

use super::{Dhcp, DhcpError};
use crate::links::FakeNetwork;

#[async_trait]
impl Dhcp for FakeNetwork {
    async fn running(&self) -> Result<BTreeMap<String, String>, DhcpError> {
        self.knobs.gate("dhcp.running").await?;
        Ok(self.lock().dhcp.clone())
    }

    async fn start(&self, netns: &str, config: &str) -> Result<(), DhcpError> {
        self.knobs.gate("dhcp.start").await?;
        {
            let mut state = self.lock();
            let place = Place::Netns(netns.to_owned());
            if state.machine.get(&place).is_none() {
                return Err(DhcpError::NoNamespace(netns.to_owned()));
            }
            state.dhcp.insert(netns.to_owned(), config.to_owned());
        }
        Ok(self.knobs.answer("dhcp.start")?)
    }

    async fn stop(&self, netns: &str) -> Result<(), DhcpError> {
        self.knobs.gate("dhcp.stop").await?;
        self.lock().dhcp.remove(netns);
        Ok(self.knobs.answer("dhcp.stop")?)
    }
}
