//! The pools of the data centre of the tests, and who serves them.

use dc_crds::Volume;
use dc_crds::host::HostRole;
use dc_crds::pool::{DirectoryDriver, Driver, IscsiDriver, RbdDriver};
use dc_crds::vm::Disk;
use dc_types::plan::RbdCluster;
use dc_types::report::{Lack, PoolFacts, PoolPlace, Verb};
use dc_types::{HostName, ObjectRef, PoolName};

use super::{POOL, STORAGE, Sim, host, objects};
use crate::object;
use crate::sight::Removal;
use crate::vm;
use crate::vm::moving::SecondSeen;
use crate::volume::{self, validate::pool_host};

impl Sim {
    /// The pool is one of Ceph.
    pub fn set_ceph(&mut self, cluster: &RbdCluster) {
        let facts = &mut self
            .host_objects
            .get_mut(&host(STORAGE))
            .expect("it is there")
            .1;
        facts.portal = None;
        facts.pools[0].place = PoolPlace::Rbd(cluster.clone());
        self.pools.get_mut(POOL).unwrap().spec.driver = Driver {
            iscsi: None,
            rbd: Some(RbdDriver {
                host: STORAGE.into(),
            }),
            directory: None,
        };
    }

    /// A folder of a compute host, of 100 GiB.
    pub fn add_directory_pool(&mut self, name: &str, on: &str) {
        let mut pool = objects::pool();
        pool.metadata.name = Some(name.into());
        pool.spec.driver = Driver {
            iscsi: None,
            rbd: None,
            directory: Some(DirectoryDriver { host: on.into() }),
        };
        self.pools.insert(name.into(), pool);
        let facts = &mut self.host_objects.get_mut(&host(on)).unwrap().1;
        facts.pools.push(PoolFacts {
            place: PoolPlace::Directory {
                folder: format!("/srv/{name}"),
            },
            pool: PoolName::new(name).unwrap(),
            ..objects::pool_facts()
        });
    }

    /// A second SAN, of a storage host of its own, of 100 GiB.
    pub fn add_san(&mut self, name: &str, on: &str) {
        if !self.hosts.contains_key(&host(on)) {
            self.add_host(on, HostRole::Storage);
            let facts = &mut self.host_objects.get_mut(&host(on)).unwrap().1;
            facts.pools.clear();
        }
        let mut pool = objects::pool();
        pool.metadata.name = Some(name.into());
        pool.spec.driver.iscsi = Some(IscsiDriver { host: on.into() });
        self.pools.insert(name.into(), pool);
        let facts = &mut self.host_objects.get_mut(&host(on)).unwrap().1;
        facts.pools.push(PoolFacts {
            pool: PoolName::new(name).unwrap(),
            ..objects::pool_facts()
        });
    }

    /// The agent of the pool's host serves it otherwise than its object says.
    pub fn serve_as(&mut self, pool: &str, place: PoolPlace) {
        let on = pool_host(&self.pools[pool]).unwrap();
        let facts = &mut self.host_objects.get_mut(&on).unwrap().1;
        let of_pool = facts.pools.iter_mut().find(|f| f.pool.as_str() == pool);
        of_pool.unwrap().place = place;
    }

    /// A pool's driver cannot do this, from now on.
    pub fn lack(&mut self, pool: &str, verb: Verb, why: &str) {
        let on = pool_host(&self.pools[pool]).unwrap();
        let facts = &mut self.host_objects.get_mut(&on).unwrap().1;
        let of_pool = facts.pools.iter_mut().find(|f| f.pool.as_str() == pool);
        of_pool.unwrap().lacks.push(Lack {
            verb,
            why: why.into(),
        });
    }

    /// Where a volume lies: by its claim, else by its object.
    pub(super) fn storage_of(&self, volume: &Volume) -> HostName {
        let me = object::object_ref(&volume.metadata).unwrap();
        if let Some(claim) = self.ledger.claims.volumes.get(&volume::id(&me)) {
            return claim.value.host.clone();
        }
        let pool = self.pools.get(&volume.spec.pool);
        pool.and_then(pool_host).unwrap_or_else(|| host(STORAGE))
    }

    pub(super) fn facts_of(&self, on: &HostName, pool: &str) -> Option<&PoolFacts> {
        let pools = &self.host_objects[on].1.pools;
        pools.iter().find(|facts| facts.pool.as_str() == pool)
    }

    /// What is read around one disk of a machine.
    pub(super) fn disk_seen(&self, me: &ObjectRef, disk: &Disk) -> vm::DiskSeen<'_> {
        let template = disk.template.as_ref().map(|template| &template.pool);
        let wanted = template.and_then(|pool| self.pools.get(pool));
        let unclaimed = |volume, pool| vm::DiskSeen {
            volume,
            reach: vm::Reach::of_wanted(pool),
            way: None,
            volume_said: None,
            grant_said: None,
            grant_removal: Removal::Done,
            second: None,
        };
        let Some(volume) = self.volumes.get(&vm::volume_name(&me.name, disk)) else {
            return unclaimed(None, wanted);
        };
        let mut object = self.pools.get(&volume.spec.pool);
        let volume_ref = object::object_ref(&volume.metadata).unwrap();
        let claims = &self.ledger.claims;
        let Some(claim) = claims.volumes.get(&volume::id(&volume_ref)) else {
            return unclaimed(Some(volume), object);
        };
        let (storage, pool) = (&claim.value.host, &claim.value.pool);
        object = self.pools.get(pool.as_str()).or(object);
        let grant = vm::grant_key(claim.value.place());
        let pending = claims.releases.contains_key(&(storage.clone(), grant));
        let way = vm::Way::of(&self.host_objects[storage].1, pool);
        vm::DiskSeen {
            volume: Some(volume),
            reach: vm::Reach::of_claimed(pool, storage, object, way.as_ref()),
            way,
            volume_said: self.said(storage, &self.key_of(&volume_ref)),
            grant_said: self.said(storage, &grant),
            second: claims.moves.get(&claim.value.volume).map(|second| {
                let (host, pool) = (&second.value.host, &second.value.pool);
                SecondSeen {
                    way: vm::Way::of(&self.host_objects[host].1, pool),
                    grant_said: self.said(host, &vm::grant_key(second.value.place)),
                }
            }),
            grant_removal: match pending {
                true => Removal::Pending,
                false => Removal::Done,
            },
        }
    }
}
