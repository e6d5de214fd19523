//! Looks at everything the storage plan depends on.

use dc_agent_core::storage::{GrantsSeen, PoolSeen, Seen};
use dc_agent_core::wanted::WantedOwned;
use dc_host::Tools;
use dc_host::drivers::Driver;

use super::trouble::in_full;

/// Looking never fails as a whole: a pool that cannot be looked at is seen as faulty, the grants of
/// one that does not say as unknown.
pub type ReadError = std::convert::Infallible;

/// On a host without pools, nothing is looked at.
pub async fn read(tools: &Tools, _wanted: &WantedOwned) -> Result<Seen, ReadError> {
    let mut seen = Seen::default();
    for (pool, driver) in tools.drivers.iter() {
        seen.pools.insert(pool.clone(), read_pool(&**driver).await);
        seen.fetching.extend(driver.read_progress());
    }
    Ok(seen)
}

async fn read_pool(driver: &dyn Driver) -> PoolSeen {
    let mut facts = driver.ensure_pool().await;
    let listed = match facts.fault {
        Some(_) => Ok(Default::default()),
        None => driver.list().await,
    };
    let contents = listed.unwrap_or_else(|error| {
        facts.fault = Some(in_full(&error));
        Default::default()
    });
    let grants = match driver.list_grants().await {
        Ok(grants) => GrantsSeen::Listed(grants),
        Err(error) => GrantsSeen::Unknown(in_full(&error)),
    };
    PoolSeen {
        facts,
        contents,
        grants,
    }
}
