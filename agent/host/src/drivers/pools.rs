//! The drivers of one host, put together from its configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dc_agent_core::wanted::{HostView, PoolConfig};
use dc_types::PoolName;

use super::folder::Remembered;
use super::grants::Grants;
use super::local::LocalGrants;
use super::local::fake::FakeLocalGrants;
use super::san::SanGrants;
use super::{Driver, Drivers, FakeDriver, FolderDriver, RbdDriver};
use crate::images::Fetcher;
use crate::knobs::Knobs;
use crate::rbd::RbdPlace;
use crate::targets::{FakeTargets, RealTargets, Targets};
use crate::tools::TgtControl;

/// The real pools of a host. Opens nothing.
pub fn real_pools(host: &HostView, tgt: Option<&TgtControl>) -> Drivers {
    let state = host.folders.state.join("storage");
    let remembered = Remembered::new(&state);
    let fetcher = Arc::new(Fetcher::new(host.folders.images.clone()));
    // On a host without such pools nobody asks it anything.
    let tgt = tgt.cloned().unwrap_or_default();
    let targets: Arc<dyn Targets> = Arc::new(RealTargets::new(&tgt, &state));
    let roots = san_roots(host);
    let drivers = host.pools.iter().map(|(pool, config)| {
        let (folder, grants): (_, Arc<dyn Grants>) = match config {
            PoolConfig::Rbd {
                conf,
                user,
                pool: ceph_name,
            } => {
                let place = RbdPlace {
                    conf: conf.clone(),
                    user: user.clone(),
                    pool: ceph_name.clone(),
                };
                let driver = RbdDriver::of_cluster(
                    pool.clone(),
                    &place,
                    &state,
                    remembered.clone(),
                    fetcher.clone(),
                );
                return (pool.clone(), Arc::new(driver) as Arc<dyn Driver>);
            }
            PoolConfig::Iscsi { folder } => {
                let grants = SanGrants::new(pool.clone(), roots.clone(), targets.clone());
                (folder, Arc::new(grants))
            }
            PoolConfig::Directory { folder } => {
                let grants = LocalGrants::new(pool.clone(), folder.clone(), host.name.clone());
                (folder, Arc::new(grants))
            }
        };
        let driver = FolderDriver::new(
            pool.clone(),
            folder.clone(),
            remembered.clone(),
            grants,
            fetcher.clone(),
        );
        (pool.clone(), Arc::new(driver) as Arc<dyn Driver>)
    });
    drivers.collect()
}

/// The folders that the target daemon serves.
fn san_roots(host: &HostView) -> Arc<BTreeMap<PoolName, PathBuf>> {
    let roots = host.pools.iter().filter_map(|(pool, config)| match config {
        PoolConfig::Iscsi { folder } => Some((pool.clone(), folder.clone())),
        PoolConfig::Directory { .. } | PoolConfig::Rbd { .. } => None,
    });
    Arc::new(roots.collect())
}

/// The pools of a fake machine: those in a folder of its own have fake names there, all others are
/// served by one fake daemon, whatever their driver.
pub fn fake_pools(
    host: &HostView,
    knobs: &Knobs,
    targets: &FakeTargets,
    folders: &BTreeMap<PoolName, FakeLocalGrants>,
) -> BTreeMap<PoolName, FakeDriver> {
    let folder = |config: &PoolConfig| match config {
        PoolConfig::Iscsi { folder } | PoolConfig::Directory { folder } => folder.clone(),
        PoolConfig::Rbd { pool, .. } => PathBuf::from("/rbd").join(pool),
    };
    let roots = host.pools.iter();
    let roots: BTreeMap<_, _> = roots
        .map(|(pool, config)| (pool.clone(), folder(config)))
        .collect();
    let roots = Arc::new(roots);
    let pools = host.pools.iter().map(|(pool, config)| {
        let root = folder(config);
        let grants: Arc<dyn Grants> = match folders.get(pool) {
            Some(names) => Arc::new(names.clone()),
            None => {
                let targets = Arc::new(targets.clone());
                Arc::new(SanGrants::new(pool.clone(), roots.clone(), targets))
            }
        };
        let driver = FakeDriver::new(pool.clone(), root, knobs.clone(), grants);
        (pool.clone(), driver)
    });
    pools.collect()
}

/// What is open in the directory pools of a fake machine.
pub fn fake_folders(host: &HostView) -> BTreeMap<PoolName, FakeLocalGrants> {
    let own = host.pools.iter().filter_map(|(pool, config)| match config {
        PoolConfig::Directory { folder } => {
            let grants = FakeLocalGrants::new(pool.clone(), folder.clone(), host.name.clone());
            Some((pool.clone(), grants))
        }
        PoolConfig::Iscsi { .. } | PoolConfig::Rbd { .. } => None,
    });
    own.collect()
}
