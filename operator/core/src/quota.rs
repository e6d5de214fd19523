//! Quota: what a department may hold at most, judged where claims are made.
//!
//! Nothing is counted anywhere: use is a function of the claims, wishes of the objects that have
//! none yet. A claim is refused when what the department holds, what older wishes of it ask for and
//! what is asked now are together more than the limit:
//!
//! ```text
//! held by claims │ older wishes │ this wish │ … younger wishes        ≤ limit
//! ```
//! What always holds:
//! - No claim takes a department past a limit: one is decided after the other against the ledger.
//! - Wishes are served by the age of their objects, so none waits for ever behind younger ones. A
//!   wish that is larger than the limit by itself holds nobody up.
//! - Only what grows is asked about: a limit below what is held takes nothing away.
//!
//! A machine and the volumes of its templates are one wish: its volumes are not made before there is
//! room for all of it, and once they are being made nobody goes before it, so that two machines never
//! hold half of what both need.

use std::collections::BTreeMap;

use dc_crds::StoragePool;
use dc_crds::quota::{Quota, StorageQuota};
use dc_types::Bytes;

use crate::claims::Claims;
use crate::words::Fact;

pub mod report;
pub mod wish;

pub use wish::{Asker, Objects, Wish, wishes};

/// One thing that is limited.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    VirtualMachines,
    Vcpus,
    /// In bytes.
    Memory,
    /// Of one class of pools, in bytes.
    Storage(String),
    Subnets,
    /// One for each volume of a VolumeSnapshot.
    Snapshots,
    /// Cards that publish something.
    PublicAddresses,
    /// What they publish, each service of each card.
    PublishedServices,
}

/// How much of each thing; what is not named is none. Counts, or bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<Thing, u64>);

impl Amounts {
    #[must_use]
    pub fn of(things: impl IntoIterator<Item = (Thing, u64)>) -> Self {
        let mut amounts = Self::default();
        for (thing, amount) in things {
            amounts.add(thing, amount);
        }
        amounts
    }

    pub fn add(&mut self, thing: Thing, amount: u64) {
        if amount > 0 {
            let sum = self.0.entry(thing).or_default();
            *sum = sum.saturating_add(amount);
        }
    }

    pub fn add_all(&mut self, other: &Amounts) {
        for (thing, amount) in &other.0 {
            self.add(thing.clone(), *amount);
        }
    }

    #[must_use]
    pub fn get(&self, thing: &Thing) -> u64 {
        self.0.get(thing).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Thing, u64)> {
        self.0.iter().map(|(thing, amount)| (thing, *amount))
    }
}

/// The limits of one department; what is not named is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits(BTreeMap<Thing, u64>);

impl Limits {
    /// As its object says. A size that does not read, which the schema refuses, allows nothing.
    #[must_use]
    pub fn read(quota: Option<&Quota>) -> Self {
        let Some(quota) = quota else {
            return Self::default();
        };
        let Quota {
            virtual_machines,
            vcpus,
            memory,
            storage,
            subnets,
            snapshots,
            public_addresses,
            published_services,
        } = quota;
        let bytes = |size: &str| size.parse::<Bytes>().map_or(0, |bytes| bytes.0);
        let counts = [
            (Thing::VirtualMachines, virtual_machines.map(u64::from)),
            (Thing::Vcpus, vcpus.map(u64::from)),
            (Thing::Memory, memory.as_deref().map(bytes)),
            (Thing::Subnets, subnets.map(u64::from)),
            (Thing::Snapshots, snapshots.map(u64::from)),
            (Thing::PublicAddresses, public_addresses.map(u64::from)),
            (Thing::PublishedServices, published_services.map(u64::from)),
        ];
        let counts = counts
            .into_iter()
            .filter_map(|(thing, limit)| Some((thing, limit?)));
        let classes = storage.iter().map(|StorageQuota { class, size }| {
            let thing = Thing::Storage(class.clone());
            (thing, bytes(size))
        });
        Self(counts.chain(classes).collect())
    }

    #[must_use]
    pub fn get(&self, thing: &Thing) -> Option<u64> {
        self.0.get(thing).copied()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn things(&self) -> impl Iterator<Item = &Thing> {
        self.0.keys()
    }

    /// Whether a wish could be granted at all if nothing else were there.
    #[must_use]
    pub fn could_allow(&self, asks: &Amounts) -> bool {
        asks.iter()
            .all(|(thing, amount)| self.get(thing).is_none_or(|limit| amount <= limit))
    }
}

/// The class of each pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolClasses(BTreeMap<String, String>);

impl PoolClasses {
    #[must_use]
    pub fn read<'a>(pools: impl IntoIterator<Item = &'a StoragePool>) -> Self {
        let named = pools.into_iter().filter_map(|pool| {
            let name = pool.metadata.name.clone()?;
            Some((name, pool.spec.class.clone()))
        });
        Self(named.collect())
    }

    #[must_use]
    pub fn of(&self, pool: &str) -> Option<&str> {
        self.0.get(pool).map(String::as_str)
    }
}

/// What a department's claims hold. A volume whose pool has no object any more counts in every
/// class: it is somewhere.
#[must_use]
pub fn used(claims: &Claims, department: &str, classes: &PoolClasses) -> Amounts {
    let Some(charge) = claims.charges().of(department) else {
        return Amounts::default();
    };
    let mut used = Amounts::of([
        (Thing::VirtualMachines, charge.vms),
        (Thing::Vcpus, charge.vcpus),
        (Thing::Memory, charge.memory.0 << 20),
        (Thing::Subnets, charge.subnets),
        (Thing::Snapshots, charge.snapshots),
        (Thing::PublicAddresses, charge.exposed.addresses),
        (Thing::PublishedServices, charge.exposed.services),
    ]);
    for (pool, bytes) in &charge.pools {
        match classes.of(pool.as_str()) {
            Some(class) => used.add(Thing::Storage(class.to_owned()), bytes.0),
            None => {
                for class in classes.0.values() {
                    used.add(Thing::Storage(class.clone()), bytes.0);
                }
            }
        }
    }
    used
}

/// What a wish met that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Over {
    pub thing: Thing,
    pub asked: u64,
    pub used: u64,
    /// Asked for by older wishes of the department.
    pub ahead: u64,
    pub limit: u64,
}

impl Over {
    /// What nobody holds and no older wish waits for.
    #[must_use]
    pub fn free(&self) -> u64 {
        let taken = self.used.saturating_add(self.ahead);
        self.limit.saturating_sub(taken)
    }

    /// The lowest limit under which it would go on.
    #[must_use]
    pub fn enough(&self) -> u64 {
        let taken = self.used.saturating_add(self.ahead);
        taken.saturating_add(self.asked)
    }
}

/// What older wishes than that of one object ask for; only worked out when it is needed.
pub type AheadOf<'a> = &'a dyn Fn(Asker) -> Amounts;

/// What one department is allowed, for a decision about one of its objects.
#[derive(Clone, Copy)]
pub struct Allowance<'a> {
    pub department: &'a str,
    /// `None`: there is no such Department, and nobody to charge.
    pub limits: Option<&'a Limits>,
    pub classes: &'a PoolClasses,
    pub ahead: AheadOf<'a>,
}

impl Allowance<'_> {
    /// Whether an object may have `asks` more than it has; every limit that says no is named.
    pub fn check(&self, claims: &Claims, asker: Asker, asks: &Amounts) -> Result<(), Fact> {
        let Some(limits) = self.limits else {
            return Err(Fact::DepartmentMissing {
                department: self.department.to_owned(),
            });
        };
        let limited = |(thing, asked)| Some((thing, asked, limits.get(thing)?));
        let mut limited = asks.iter().filter_map(limited).peekable();
        if limited.peek().is_none() {
            return Ok(());
        }
        let used = used(claims, self.department, self.classes);
        let ahead = (self.ahead)(asker);
        let over: Vec<Over> = limited
            .map(|(thing, asked, limit)| Over {
                thing: thing.clone(),
                asked,
                used: used.get(thing),
                ahead: ahead.get(thing),
                limit,
            })
            .filter(|over| over.enough() > over.limit)
            .collect();
        match over.is_empty() {
            true => Ok(()),
            false => Err(Fact::QuotaExceeded {
                department: self.department.to_owned(),
                over,
            }),
        }
    }

    /// The thing that a volume of a pool is charged to; `None` while the pool is not known.
    #[must_use]
    pub fn storage(&self, pool: &str) -> Option<Thing> {
        let class = self.classes.of(pool)?;
        Some(Thing::Storage(class.to_owned()))
    }
}

#[cfg(test)]
mod tests;
