//! Does one step of the network plan.

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
    #[error("interfaces cannot be set up: {0}")]
    Links(#[from] LinksError),
    #[error("firewall rules cannot be loaded: {0}")]
    Firewall(#[from] FirewallError),
    #[error("the DHCP server cannot be run: {0}")]
    Dhcp(#[from] DhcpError),
    #[error("live connections cannot be cut: {0}")]
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
        message: error.to_string(),
    })
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
