//! One look at the machines of this host.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dc_agent_core::network::Place;
use dc_agent_core::vm::hold::{Freeze, asks_guest};
use dc_agent_core::vm::probes;
use dc_agent_core::vm::seen::{Domain, Power, TapPlace};
use dc_agent_core::vm::{Record, Seen};
use dc_agent_core::{WantedOwned, names};
use dc_host::Tools;
use dc_host::hypervisor::HypervisorError;
use dc_host::links::{LinksError, TapSeen};
use dc_host::luks::LuksError;
use dc_host::seed::SeedError;
use dc_types::InstanceId;
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
    #[error("cannot look at the formatting of encrypted volumes")]
    Luks(#[from] LuksError),
}

/// Everything that the plan of machines depends on, now. Machines are looked at whole: what no plan
/// speaks of is seen as well.
pub async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Seen, ReadError> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since_1970.unwrap_or_default().as_secs().cast_signed();
    let mut seen = read_at(tools, now).await?;
    let asked = probes::asked(&wanted.as_wanted(), &seen.domains);
    let (hypervisor, seeds) = (&tools.hypervisor, &tools.seeds);
    seen.probed = tools.probing.look(hypervisor, seeds, &asked);
    Ok(seen)
}

/// The same at a given time, in seconds since 1970.
pub async fn read_at(tools: &Tools, now: i64) -> Result<Seen, ReadError> {
    let (domains, secrets, files, records, taps, formats) = tokio::join!(
        tools.hypervisor.domains(),
        tools.hypervisor.secrets(),
        tools.seeds.machines(),
        tools.seeds.records(),
        tools.links.taps(),
        tools.formatter.formats(),
    );
    let (domains, records) = (domains?, records?);
    let rates = tools.metered(now, &domains.ours);
    let freezes = ask_guests(tools, &domains.ours, &records).await;
    Ok(Seen {
        now,
        domains: domains.ours,
        foreign: domains.foreign,
        secrets: secrets?
            .into_iter()
            .map(|label| (label.uuid, label))
            .collect(),
        records,
        files: files?,
        taps: our_taps(taps?),
        freezes,
        rates,
        formats: formats?,
        probed: BTreeMap::new(),
    })
}

/// How the file systems are of guests that are being held or let go. A guest that cannot be asked
/// is one that does not answer: the others are not to wait for it.
async fn ask_guests(
    tools: &Tools,
    domains: &BTreeMap<InstanceId, Domain>,
    records: &BTreeMap<InstanceId, Record>,
) -> BTreeMap<InstanceId, Freeze> {
    let asked = records.iter().filter(|(vm, record)| {
        let running = |domain: &Domain| domain.power == Power::Running;
        asks_guest(record) && domains.get(vm).is_some_and(running)
    });
    let answers = asked.map(|(vm, _)| async {
        let state = tools.hypervisor.freeze_state(*vm).await;
        (*vm, state.unwrap_or(Freeze::Unanswered))
    });
    futures::future::join_all(answers)
        .await
        .into_iter()
        .collect()
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
