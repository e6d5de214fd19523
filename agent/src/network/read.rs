//! Looks at everything the network plan depends on.

use std::collections::BTreeSet;

use dc_agent_core::names;
use dc_agent_core::network::desired::{DEPARTMENT_SYSCTLS, EDGE_SYSCTLS, HOST_SYSCTLS};
use dc_agent_core::network::firewall::TableSeen;
use dc_agent_core::network::{Machine, NetState, Place, Seen};
use dc_agent_core::wanted::WantedOwned;
use dc_host::Tools;
use dc_host::dhcp::DhcpError;
use dc_host::firewall::FirewallError;
use dc_host::links::LinksError;
use dc_types::plan::ItemKind;
use futures::future::try_join_all;
use thiserror::Error;

/// Why the host's network could not be looked at.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("cannot look at {place}")]
    Links {
        place: Place,
        #[source]
        source: LinksError,
    },
    #[error("cannot look at the firewall of {place}")]
    Firewall {
        place: Place,
        #[source]
        source: FirewallError,
    },
    #[error("cannot look at the DHCP servers")]
    Dhcp(#[from] DhcpError),
}

/// All namespaces that are named as ours: what is wanted there or not, the plan tells. On a host
/// that is to carry no network, nothing is looked at.
pub async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Seen, ReadError> {
    let view = wanted.as_wanted();
    let concerned = [ItemKind::Network, ItemKind::Endpoint]
        .into_iter()
        .any(|kind| {
            view.of_kind(kind).next().is_some() || view.releases_of_kind(kind).next().is_some()
        });
    if !concerned {
        return Ok(Seen::default());
    }
    let mut seen = Seen {
        machine: Machine::default(),
        dhcp: tools.dhcp.running().await?,
        ..Seen::default()
    };
    let looks = places(tools)
        .await?
        .into_iter()
        .map(|place| look(tools, place));
    for (place, state, tables) in try_join_all(looks).await? {
        if let Some(state) = state {
            seen.machine.put(place.clone(), state);
            seen.tables.insert(place, tables);
        }
    }
    Ok(seen)
}

/// One namespace; without a state it went away meanwhile.
async fn look(
    tools: &Tools,
    place: Place,
) -> Result<(Place, Option<NetState>, Vec<TableSeen>), ReadError> {
    let Some(state) = state(tools, &place).await? else {
        return Ok((place, None, Vec::new()));
    };
    match tools.firewall.tables(&place).await {
        Ok(tables) => Ok((place, Some(state), tables)),
        Err(source) => Err(ReadError::Firewall { place, source }),
    }
}

async fn places(tools: &Tools) -> Result<Vec<Place>, ReadError> {
    let names: BTreeSet<String> = tools.links.netns_names().await.map_err(|source| {
        let place = Place::Host;
        ReadError::Links { place, source }
    })?;
    let ours = |name: &String| *name == names::EDGE_NETNS || names::netns_transit(name).is_some();
    let ours = names.into_iter().filter(ours).map(Place::Netns);
    Ok(std::iter::once(Place::Host).chain(ours).collect())
}

async fn state(tools: &Tools, place: &Place) -> Result<Option<NetState>, ReadError> {
    let asserted: &[(&str, &str)] = match place {
        Place::Host => &HOST_SYSCTLS,
        Place::Netns(name) if name == names::EDGE_NETNS => &EDGE_SYSCTLS,
        Place::Netns(_) => &DEPARTMENT_SYSCTLS,
    };
    let sysctls: Vec<&str> = asserted.iter().map(|(name, _)| *name).collect();
    tools
        .links
        .state(place, &sysctls)
        .await
        .map_err(|source| ReadError::Links {
            place: place.clone(),
            source,
        })
}
