//! Looks at everything the storage plan depends on.

use dc_agent_core::storage::{PoolSeen, Seen, TargetsSeen};
use dc_agent_core::wanted::WantedOwned;
use dc_host::Tools;
use dc_types::PoolName;
use dc_types::report::PoolFacts;

/// Looking never fails as a whole: a pool that cannot be looked at is seen as faulty, a target
/// daemon as silent.
pub type ReadError = std::convert::Infallible;

/// On a host without pools, nothing is looked at.
pub async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Seen, ReadError> {
    let mut seen = Seen::default();
    if wanted.host.pools.is_empty() {
        return Ok(seen);
    }
    for pool in wanted.host.pools.keys() {
        seen.pools
            .insert(pool.clone(), read_pool(tools, pool).await);
    }
    seen.fetching = tools.images.read_progress();
    seen.targets = match tools.targets.list_targets().await {
        Ok(targets) => TargetsSeen::Listed(targets),
        Err(error) => TargetsSeen::Unknown(error.to_string()),
    };
    Ok(seen)
}

async fn read_pool(tools: &Tools, pool: &PoolName) -> PoolSeen {
    let facts = tools.volumes.ensure_pool(pool).await;
    let empty = |facts| PoolSeen {
        facts,
        volumes: Default::default(),
        images: Default::default(),
    };
    if facts.fault.is_some() {
        return empty(facts);
    }
    let volumes = tools.volumes.list_volumes(pool).await;
    let images = tools.images.list_images(pool).await;
    match (volumes, images) {
        (Ok(volumes), Ok(images)) => PoolSeen {
            facts,
            volumes,
            images,
        },
        (Err(error), _) => empty(with_fault(facts, &error)),
        (_, Err(error)) => empty(with_fault(facts, &error)),
    }
}

fn with_fault(facts: PoolFacts, error: &dyn std::error::Error) -> PoolFacts {
    PoolFacts {
        fault: Some(super::trouble::in_full(error)),
        ..facts
    }
}
