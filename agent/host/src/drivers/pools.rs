//! The drivers of one host, put together from its configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_agent_core::wanted::HostView;
use dc_types::PoolName;

use super::folder::Remembered;
use super::san::SanGrants;
use super::{Driver, Drivers, FakeDriver, FolderDriver};
use crate::images::Fetcher;
use crate::knobs::Knobs;
use crate::targets::{FakeTargets, RealTargets, Targets};
use crate::tools::TgtControl;

/// The real pools of a host. Opens nothing.
pub fn real_pools(host: &HostView, tgt: Option<&TgtControl>) -> Drivers {
    let state = host.folders.state.join("storage");
    let remembered = Remembered::new(&state);
    let fetcher = Arc::new(Fetcher::new(host.folders.images.clone()));
    // On a host without pools nobody asks it anything.
    let tgt = tgt.cloned().unwrap_or_default();
    let targets: Arc<dyn Targets> = Arc::new(RealTargets::new(&tgt, &state));
    let roots = Arc::new(host.pools.clone());
    let drivers = host.pools.iter().map(|(pool, root)| {
        let grants = SanGrants::new(pool.clone(), roots.clone(), targets.clone());
        let driver = FolderDriver::new(
            pool.clone(),
            root.clone(),
            remembered.clone(),
            Arc::new(grants),
            fetcher.clone(),
        );
        (pool.clone(), Arc::new(driver) as Arc<dyn Driver>)
    });
    drivers.collect()
}

/// The pools of a fake machine, all served by one fake daemon.
pub fn fake_pools(
    host: &HostView,
    knobs: &Knobs,
    targets: &FakeTargets,
) -> BTreeMap<PoolName, FakeDriver> {
    let roots = Arc::new(host.pools.clone());
    let pools = host.pools.iter().map(|(pool, root)| {
        let grants = SanGrants::new(pool.clone(), roots.clone(), Arc::new(targets.clone()));
        let driver = FakeDriver::new(pool.clone(), root.clone(), knobs.clone(), Arc::new(grants));
        (pool.clone(), driver)
    });
    pools.collect()
}
