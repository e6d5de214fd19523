//! [`Firewall`] by `nft`.

use std::fmt::Write as _;

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::{self, Cuts};
use dc_agent_core::network::firewall::{Ruleset, TableSeen};

use super::{Firewall, FirewallError, cut_set, parse};
use crate::enter::Enter;

/// nftables, by `nft`.
#[derive(Clone, Debug)]
pub struct RealFirewall {
    enter: Enter,
}

impl RealFirewall {
    #[must_use]
    pub fn new(enter: Enter) -> Self {
        Self { enter }
    }

    async fn feed(&self, place: &Place, text: &str) -> Result<(), FirewallError> {
        self.enter
            .run(place, "nft", &["-f", "-"], Some(text))
            .await?;
        Ok(())
    }
}

#[async_trait]
impl Firewall for RealFirewall {
    async fn load(&self, place: &Place, ruleset: &Ruleset) -> Result<(), FirewallError> {
        self.feed(place, &ruleset.render()).await
    }

    async fn forget_cuts(&self, place: &Place, cuts: &Cuts) -> Result<(), FirewallError> {
        let mut text = String::new();
        let mut delete = |set: &str, element: &str| {
            let _ = writeln!(
                text,
                "delete element inet {} {set} {{ {element} }}",
                department::TABLE
            );
        };
        for id in &cuts.flows {
            delete(department::CUT_SETS[0], &id.to_string());
        }
        for address in &cuts.addresses {
            delete(cut_set(*address), &address.to_string());
        }
        self.feed(place, &text).await
    }

    async fn tables(&self, place: &Place) -> Result<Vec<TableSeen>, FirewallError> {
        // -y: hooks' priorities as numbers; -n would print set keys in another form than ours.
        let arguments = ["-j", "-y", "list", "ruleset"];
        let text = self.enter.run(place, "nft", &arguments, None).await?;
        parse::tables(&text)
    }
}
