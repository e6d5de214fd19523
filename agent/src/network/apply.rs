//! Does one step of the network plan.

use std::error::Error;

use dc_agent_core::network::{Act, Step};
use dc_host::Tools;
use dc_host::conntrack::ConntrackError;
use dc_host::dhcp::DhcpError;
use dc_host::firewall::FirewallError;
use dc_host::links::LinksError;
use dc_types::report::Trouble;
use thiserror::Error;

/// Which tool failed; a step has one.
#[derive(Debug, Error)]
enum StepError {
    #[error("interfaces cannot be set up")]
    Links(#[from] LinksError),
    #[error("firewall rules cannot be loaded")]
    Firewall(#[from] FirewallError),
    #[error("the DHCP server cannot be run")]
    Dhcp(#[from] DhcpError),
    #[error("live connections cannot be cut")]
    Conntrack(#[from] ConntrackError),
}

impl StepError {
    fn reason(&self) -> &'static str {
        match self {
            StepError::Links(_) => "LinksFailed",
            StepError::Firewall(_) => "FirewallFailed",
            StepError::Dhcp(_) => "DhcpFailed",
            StepError::Conntrack(_) => "ConntrackFailed",
        }
    }
}

/// Carries a step out. It may be repeated after a failure: the next plan is made from what is
/// there.
pub async fn apply(tools: &Tools, step: &Step) -> Result<(), Trouble> {
    act(tools, &step.act).await.map_err(|error| Trouble {
        reason: error.reason().to_owned(),
        message: told(&error),
    })
}

/// An error with everything that led to it.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn act(tools: &Tools, act: &Act) -> Result<(), StepError> {
    match act {
        Act::AddNetns(name) => tools.links.add_netns(name).await?,
        Act::RemoveNetns(name) => tools.links.remove_netns(name).await?,
        Act::Change { place, changes } => tools.links.change(place, changes).await?,
        Act::LoadTables { place, ruleset } => tools.firewall.load(place, ruleset).await?,
        Act::Cut { place, cuts } => tools.conntrack.cut(place, cuts).await?,
        Act::ForgetCuts { place, cuts } => tools.firewall.forget_cuts(place, cuts).await?,
        Act::StartDhcp { netns, config } => tools.dhcp.start(netns, config).await?,
        Act::StopDhcp { netns } => tools.dhcp.stop(netns).await?,
    }
    Ok(())
}
