//! One look at the machines of this host.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dc_agent_core::network::Place;
use dc_agent_core::vm::Seen;
use dc_agent_core::vm::seen::TapPlace;
use dc_agent_core::{WantedOwned, names};
use dc_host::Tools;
use dc_host::hypervisor::HypervisorError;
use dc_host::links::{LinksError, TapSeen};
use dc_host::seed::SeedError;
use thiserror::Error;

/// Why machines could not be looked at.
#[derive(Debug, Error)]
pub enum ReadError {
    #[error("cannot look at the machines")]
    Hypervisor(#[from] HypervisorError),
    #[error("cannot look at the machines' files")]
    Seeds(#[from] SeedError),
    #[error("cannot look at the machines' taps")]
    Links(#[from] LinksError),
}

/// Everything that the plan of machines depends on, now. Machines are looked at whole: what no plan
/// speaks of is seen as well.
pub async fn read(tools: &Tools, _wanted: &WantedOwned) -> Result<Seen, ReadError> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_1970.unwrap_or_default().as_secs().cast_signed();
    read_at(tools, now).await
}

/// The same at a given time, in seconds since 1970.
pub async fn read_at(tools: &Tools, now: i64) -> Result<Seen, ReadError> {
    let (domains, secrets, files, records, taps) = tokio::join!(
        tools.hypervisor.domains(),
        tools.hypervisor.secrets(),
        tools.seeds.machines(),
        tools.seeds.records(),
        tools.links.taps(),
    );
    let domains = domains?;
    Ok(Seen {
        now,
        domains: domains.ours,
        foreign: domains.foreign,
        secrets: secrets?
            .into_iter()
            .map(|label| (label.uuid, label))
            .collect(),
        records: records?,
        files: files?,
        taps: our_taps(taps?),
    })
}

fn our_taps(taps: BTreeMap<String, TapSeen>) -> BTreeMap<String, TapPlace> {
    let places = taps.into_iter().map(|(name, tap)| {
        let place = match tap.place {
            Place::Host => TapPlace::Host,
            Place::Netns(netns) => TapPlace::Netns {
                netns,
                bridge: tap.bridge,
            },
        };
        (name, place)
    });
    places.filter(|(name, _)| names::is_tap(name)).collect()
}
