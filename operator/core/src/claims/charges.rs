//! What the claims of each department hold: an index like the others, so that a decision need not
//! go over all claims.

use std::collections::BTreeMap;

use dc_types::claim::{
    MoveClaim, SnapshotClaim, SnapshotPurpose, SubnetClaim, VmClaim, VolumeClaim,
};
use dc_types::{Bytes, MiB, PoolName};

use crate::quota::wish::Exposed;

/// What is held on behalf of one department.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    pub vms: u64,
    pub vcpus: u64,
    pub memory: MiB,
    pub subnets: u64,
    /// One for each volume.
    pub snapshots: u64,
    pub exposed: Exposed,
    /// Sizes of volumes, by pool; of one that moves in both.
    pub pools: BTreeMap<PoolName, Bytes>,
}

/// Charges by namespace, which is the department's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charges {
    by_namespace: BTreeMap<String, Charge>,
}

/// Whether a claim came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Came,
    Went,
}

impl Turn {
    fn of(self, count: &mut u64, n: u64) {
        match self {
            Turn::Came => *count += n,
            Turn::Went => *count -= n,
        }
    }
}

impl Charges {
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<&Charge> {
        self.by_namespace.get(namespace)
    }

    /// Every department that holds something.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Charge)> {
        let all = self.by_namespace.iter();
        all.map(|(namespace, charge)| (namespace.as_str(), charge))
    }

    pub fn vm(&mut self, vm: &VmClaim, turn: Turn) {
        self.change(&vm.owner.namespace, |charge| {
            turn.of(&mut charge.vms, 1);
            turn.of(&mut charge.vcpus, u64::from(vm.vcpus));
            turn.of(&mut charge.memory.0, vm.memory.0);
            let exposed = Exposed::of(&vm.cards);
            turn.of(&mut charge.exposed.addresses, exposed.addresses);
            turn.of(&mut charge.exposed.services, exposed.services);
        });
    }

    pub fn volume(&mut self, volume: &VolumeClaim, turn: Turn) {
        self.bytes(&volume.owner.namespace, (&volume.pool, volume.size), turn);
    }

    /// A volume that moves is charged in both places.
    pub fn second(&mut self, second: &MoveClaim, turn: Turn) {
        self.bytes(&second.owner.namespace, (&second.pool, second.size), turn);
    }

    fn bytes(&mut self, namespace: &str, (pool, size): (&PoolName, Bytes), turn: Turn) {
        self.change(namespace, |charge| {
            let held = charge.pools.entry(pool.clone()).or_default();
            turn.of(&mut held.0, size.0);
            charge.pools.retain(|_, held| held.0 > 0);
        });
    }

    pub fn subnet(&mut self, subnet: &SubnetClaim, turn: Turn) {
        self.change(&subnet.owner.namespace, |charge| {
            turn.of(&mut charge.subnets, 1);
        });
    }

    /// Snapshots of backups are the platform's.
    pub fn snapshot(&mut self, snapshot: &SnapshotClaim, turn: Turn) {
        if snapshot.purpose != SnapshotPurpose::Department {
            return;
        }
        self.change(&snapshot.owner.namespace, |charge| {
            turn.of(&mut charge.snapshots, 1);
        });
    }

    fn change(&mut self, namespace: &str, change: impl FnOnce(&mut Charge)) {
        let charge = self.by_namespace.entry(namespace.to_owned()).or_default();
        change(charge);
        if *charge == Charge::default() {
            self.by_namespace.remove(namespace);
        }
    }
}
