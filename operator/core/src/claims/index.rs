//! The indexes of the claims: what a claim adds to them when it comes, and takes away when it goes.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::claim::{MoveClaim, SnapshotClaim, VmClaim, VolumeClaim};
use dc_types::{Bytes, InstanceId, PoolName, SnapshotId};

use super::Claims;
use super::charges::Turn;

impl Claims {
    pub(super) fn index_vm(&mut self, id: InstanceId, vm: &VmClaim) {
        self.charges.vm(vm, Turn::Came);
        self.host_vms.entry(vm.host.clone()).or_default().insert(id);
        self.namespace_vms
            .entry(vm.owner.namespace.clone())
            .or_default()
            .insert(id);
        let promise = self.host_promises.entry(vm.host.clone()).or_default();
        promise.vms += 1;
        promise.vcpus += u64::from(vm.vcpus);
        promise.memory.0 += vm.memory.0;
    }

    pub(super) fn unindex_vm(&mut self, id: InstanceId, vm: &VmClaim) {
        self.charges.vm(vm, Turn::Went);
        remove_from(&mut self.host_vms, &vm.host, id);
        remove_from(&mut self.namespace_vms, &vm.owner.namespace, id);
        let promise = self.host_promises.entry(vm.host.clone()).or_default();
        promise.vms -= 1;
        promise.vcpus -= u64::from(vm.vcpus);
        promise.memory.0 -= vm.memory.0;
        if promise.vms == 0 {
            self.host_promises.remove(&vm.host);
        }
    }

    pub(super) fn index_volume(&mut self, id: InstanceId, volume: &VolumeClaim) {
        self.charges.volume(volume, Turn::Came);
        self.host_volumes
            .entry(volume.host.clone())
            .or_default()
            .insert(id);
        if let Some(place) = volume.stored {
            self.moved_volumes.insert(place, id);
        }
        self.promise(&volume.pool, volume.size);
    }

    pub(super) fn unindex_volume(&mut self, id: InstanceId, volume: &VolumeClaim) {
        self.charges.volume(volume, Turn::Went);
        remove_from(&mut self.host_volumes, &volume.host, id);
        if let Some(place) = volume.stored {
            self.moved_volumes.remove(&place);
        }
        self.take_back(&volume.pool, volume.size);
    }

    pub(super) fn index_move(&mut self, id: InstanceId, second: &MoveClaim) {
        self.charges.second(second, Turn::Came);
        self.second_places.insert(second.place, id);
        self.promise(&second.pool, second.size);
    }

    pub(super) fn unindex_move(&mut self, second: &MoveClaim) {
        self.charges.second(second, Turn::Went);
        self.second_places.remove(&second.place);
        self.take_back(&second.pool, second.size);
    }

    pub(super) fn index_snapshot(&mut self, id: SnapshotId, snapshot: &SnapshotClaim) {
        self.charges.snapshot(snapshot, Turn::Came);
        let of_volume = self.volume_snapshots.entry(snapshot.volume).or_default();
        of_volume.insert(id);
        let of_owner = self.owner_snapshots.entry(snapshot.owner.uid).or_default();
        of_owner.insert(id);
        self.promise(&snapshot.pool, snapshot.size);
    }

    pub(super) fn unindex_snapshot(&mut self, id: SnapshotId, snapshot: &SnapshotClaim) {
        self.charges.snapshot(snapshot, Turn::Went);
        remove_from(&mut self.volume_snapshots, &snapshot.volume, id);
        remove_from(&mut self.owner_snapshots, &snapshot.owner.uid, id);
        self.take_back(&snapshot.pool, snapshot.size);
    }

    fn promise(&mut self, pool: &PoolName, size: Bytes) {
        self.pool_promises.entry(pool.clone()).or_default().0 += size.0;
    }

    fn take_back(&mut self, pool: &PoolName, size: Bytes) {
        let promise = self.pool_promises.entry(pool.clone()).or_default();
        promise.0 -= size.0;
        if promise.0 == 0 {
            self.pool_promises.remove(pool);
        }
    }
}

pub(super) fn remove_from<K: Ord + Clone, I: Ord>(
    index: &mut BTreeMap<K, BTreeSet<I>>,
    at: &K,
    id: I,
) {
    if let Some(ids) = index.get_mut(at) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(at);
        }
    }
}
