//! What the host is: its size, what its emulator can do, how its pools stand.

use std::sync::Arc;
use std::time::Duration;

use dc_agent_core::{Capabilities, HostView};
use dc_host::Tools;
use dc_host::machine::MachineSize;
use dc_types::MiB;
use dc_types::report::{HostFacts, PoolFacts, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::config::SizeOverride;

/// Free memory moves slowly enough for this, and only large moves are told.
const EVERY: Duration = Duration::from_secs(30);

/// The emulator is asked again until it has answered, and then hardly ever: it changes when its
/// packages do.
const CAPABILITIES_EVERY: u32 = 20;

/// A tool that takes longer has not answered.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Surroundings {
    pub host: Arc<HostView>,
    pub size: SizeOverride,
    pub tools: Tools,
    pub pools: watch::Receiver<Vec<PoolFacts>>,
    pub facts: watch::Sender<Arc<HostFacts>>,
    pub stop: CancellationToken,
}

/// What is known before anything was looked at: the configuration.
#[must_use]
pub fn configured(host: &HostView, size: SizeOverride) -> HostFacts {
    HostFacts {
        boot_id: host.boot_id.clone(),
        roles: host.roles.clone(),
        vcpus: size.vcpus.unwrap_or(0),
        memory: size.memory.unwrap_or(MiB(0)),
        memory_available: MiB(0),
        machine_types: Vec::new(),
        firmwares: Vec::new(),
        accelerator: host.accelerator,
        cpu_models: Vec::new(),
        overlay: host.addresses.overlay,
        portal: host.portal.clone(),
        pools: Vec::new(),
    }
}

/// Keeps the facts current until told to stop.
pub async fn run(around: Surroundings) {
    let stop = around.stop.clone();
    tokio::select! {
        () = keep_current(around) => {}
        () = stop.cancelled() => {}
    }
}

async fn keep_current(around: Surroundings) {
    let Surroundings {
        host,
        size,
        tools,
        mut pools,
        facts,
        stop: _,
    } = around;
    let mut capabilities: Option<Capabilities> = None;
    let mut rounds: u32 = 0;
    loop {
        let measured = read_size(&tools).await;
        let emulates = host.roles.contains(&Role::Compute);
        if emulates && (capabilities.is_none() || rounds.is_multiple_of(CAPABILITIES_EVERY)) {
            capabilities = read_capabilities(&tools).await.or(capabilities);
        }
        rounds = rounds.wrapping_add(1);
        let now = assemble(
            &host,
            size,
            measured,
            capabilities.as_ref(),
            pools.borrow_and_update().clone(),
        );
        facts.send_if_modified(|old| {
            let changed = **old != now;
            if changed {
                *old = Arc::new(now);
            }
            changed
        });
        tokio::select! {
            Ok(()) = pools.changed() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn assemble(
    host: &HostView,
    size: SizeOverride,
    measured: Option<MachineSize>,
    capabilities: Option<&Capabilities>,
    pools: Vec<PoolFacts>,
) -> HostFacts {
    let mut facts = configured(host, size);
    if let Some(measured) = measured {
        facts.vcpus = size.vcpus.unwrap_or(measured.vcpus);
        facts.memory = size.memory.unwrap_or(measured.memory);
        facts.memory_available = measured.memory_available.min(facts.memory);
    }
    if let Some(capabilities) = capabilities {
        let Capabilities {
            machine_types,
            firmwares,
            cpu_models,
        } = capabilities.clone();
        facts.machine_types = machine_types;
        facts.firmwares = firmwares;
        facts.cpu_models = cpu_models;
    }
    facts.pools = pools;
    facts
}

async fn read_size(tools: &Tools) -> Option<MachineSize> {
    match tokio::time::timeout(DEADLINE, tools.machine.size()).await {
        Ok(Ok(size)) => Some(size),
        Ok(Err(error)) => {
            warn!("the host's size is unknown: {error}");
            None
        }
        Err(_) => None,
    }
}

async fn read_capabilities(tools: &Tools) -> Option<Capabilities> {
    match tokio::time::timeout(DEADLINE, tools.hypervisor.facts()).await {
        Ok(Ok(facts)) => Some(facts.capabilities),
        Ok(Err(error)) => {
            warn!("what the emulator can do is unknown: {error}");
            None
        }
        Err(_) => {
            warn!("what the emulator can do is unknown: it does not answer");
            None
        }
    }
}
