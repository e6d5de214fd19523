//! [`Conntrack`] by `conntrack`.

use async_trait::async_trait;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::department::Cuts;

use super::{Conntrack, ConntrackError};
use crate::enter::{Enter, EnterError};

/// The kernel's connection table, by `conntrack`.
#[derive(Clone, Debug)]
pub struct RealConntrack {
    enter: Enter,
}

impl RealConntrack {
    #[must_use]
    pub fn new(enter: Enter) -> Self {
        Self { enter }
    }

    async fn delete(&self, place: &Place, arguments: &[&str]) -> Result<(), ConntrackError> {
        let arguments = [&["-D"], arguments].concat();
        match self.enter.run(place, "conntrack", &arguments, None).await {
            Ok(_) => Ok(()),
            // It fails when there was nothing to delete.
            Err(EnterError::Failed { stderr, .. })
                if stderr.contains("0 flow entries have been deleted") =>
            {
                Ok(())
            }
            Err(other) => Err(other.into()),
        }
    }
}

#[async_trait]
impl Conntrack for RealConntrack {
    async fn cut(&self, place: &Place, cuts: &Cuts) -> Result<(), ConntrackError> {
        for id in &cuts.flows {
            let mark = id.to_string();
            for family in ["ipv4", "ipv6"] {
                self.delete(place, &["-f", family, "-m", &mark]).await?;
            }
        }
        for address in &cuts.addresses {
            let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
            let address = address.to_string();
            for end in ["-s", "-d"] {
                self.delete(place, &["-f", family, end, &address]).await?;
            }
        }
        Ok(())
    }
}
