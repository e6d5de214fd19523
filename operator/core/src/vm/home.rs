//! The one host that can open a machine's volumes, when they lie in a directory pool.
//!
//! Such a pool is a folder of a compute host. What follows from it is decided here: a machine is
//! placed on that host or nowhere, its disks cannot lie in the folders of two hosts, a disk of
//! another host's folder cannot be added to it, and while the host is silent nothing else may have
//! what it has, because nobody can cut it off.
//!
//! Whether a pool is one is known from its object, whose driver never changes, and from what its
//! host says of it; either is enough. When neither is known the machine is not placed: where it
//! goes is for life.

use std::collections::BTreeSet;

use dc_crds::StoragePool;
use dc_crds::pool::DriverKind;
use dc_types::{HostName, PoolName};

use super::{DiskSeen, Lies, Seen, Way, id, volume_name};
use crate::object::{self, Life};
use crate::place::Only;
use crate::volume::validate::pool_host;
use crate::words::{Fact, HomeFact};

/// From where the volumes of a disk's pool can be opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nobody has said yet.
    #[default]
    Unknown,
    EveryHost,
    OneHost(Home),
}

/// A directory pool, and the host whose folder it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Home {
    pub pool: PoolName,
    pub host: HostName,
}

impl Reach {
    /// Of a volume that is claimed in a pool: where it lies is what its claim says.
    #[must_use]
    pub fn of_claimed(
        pool: &PoolName,
        host: &HostName,
        object: Option<&StoragePool>,
        way: Option<&Way>,
    ) -> Self {
        let one = || {
            Self::OneHost(Home {
                pool: pool.clone(),
                host: host.clone(),
            })
        };
        match (object.map(|object| object.spec.driver.kind()), way) {
            (Some(DriverKind::Directory), _) | (_, Some(Way::File { .. })) => one(),
            (Some(DriverKind::Iscsi | DriverKind::Rbd), _) => Self::EveryHost,
            (None, Some(Way::Iscsi(_) | Way::Rbd(_))) => Self::EveryHost,
            (None, None) => Self::Unknown,
        }
    }

    /// Of a volume that is to be claimed in the pool of this object.
    #[must_use]
    pub fn of_wanted(object: Option<&StoragePool>) -> Self {
        let Some(object) = object else {
            return Self::Unknown;
        };
        match object.spec.driver.kind() {
            DriverKind::Iscsi | DriverKind::Rbd => Self::EveryHost,
            DriverKind::Directory => {
                let name = object.metadata.name.clone().unwrap_or_default();
                match (PoolName::new(name), pool_host(object)) {
                    (Ok(pool), Some(host)) => Self::OneHost(Home { pool, host }),
                    _ => Self::Unknown,
                }
            }
        }
    }

    fn home(&self) -> Option<&Home> {
        match self {
            Self::OneHost(home) => Some(home),
            Self::Unknown | Self::EveryHost => None,
        }
    }
}

/// A disk of the object that lies in a directory pool.
struct AtHome<'a> {
    disk: &'a str,
    volume: String,
    home: &'a Home,
}

impl AtHome<'_> {
    fn in_words(&self) -> Lies {
        Lies {
            disk: self.disk.to_owned(),
            volume: self.volume.clone(),
            pool: self.home.pool.to_string(),
            host: self.home.host.to_string(),
        }
    }
}

fn at_home<'a>(seen: &Seen<'a>) -> Vec<AtHome<'a>> {
    let disks = seen.vm.spec.disks.iter().zip(seen.disks);
    let at_home = disks.filter_map(|(asked, disk)| {
        Some(AtHome {
            disk: &asked.name,
            volume: volume_name(&seen.me.name, asked),
            home: disk.reach.home()?,
        })
    });
    at_home.collect()
}

/// What keeps the disks from being opened by one machine, on the host where it is if it is on one.
pub(super) fn validate(seen: &Seen<'_>) -> Result<(), Fact> {
    let disks = at_home(seen);
    if let Some(claim) = seen.claims.vms.get(&id(seen.me)) {
        let host = &claim.value.host;
        let elsewhere = disks.iter().find(|disk| disk.home.host != *host);
        return match elsewhere {
            None => Ok(()),
            Some(disk) => Err(Fact::Home(HomeFact::DiskElsewhere {
                lies: disk.in_words(),
                vm_host: host.to_string(),
            })),
        };
    }
    let mut hosts = disks.iter().map(|disk| &disk.home.host);
    let first = hosts.next();
    match hosts.all(|host| Some(host) == first) {
        true => Ok(()),
        false => Err(Fact::Home(HomeFact::PoolsApart {
            disks: disks.iter().map(AtHome::in_words).collect(),
        })),
    }
}

/// The host that placement is bound to; an error while it is not known of a volume whether it binds.
pub(super) fn only(seen: &Seen<'_>) -> Result<Option<Only>, Fact> {
    let unknown = |disk: &DiskSeen<'_>| disk.reach == Reach::Unknown;
    if seen.disks.iter().any(unknown) {
        let disks = seen.vm.spec.disks.iter().zip(seen.disks);
        let waiting = disks.filter(|(_, disk)| unknown(disk));
        return Err(Fact::GrantsPending {
            waiting: waiting
                .map(|(asked, _)| volume_name(&seen.me.name, asked))
                .collect(),
        });
    }
    let disks = at_home(seen);
    Ok(disks.first().map(|first| Only {
        host: first.home.host.clone(),
        pools: pools_of(&disks),
        volumes: disks.iter().map(|disk| disk.volume.clone()).collect(),
    }))
}

fn pools_of(disks: &[AtHome<'_>]) -> Vec<String> {
    let pools: BTreeSet<&PoolName> = disks.iter().map(|disk| &disk.home.pool).collect();
    pools.into_iter().map(ToString::to_string).collect()
}

/// The directory pools of a host that the machine's disks lie in.
fn pools_on(seen: &Seen<'_>, host: &HostName) -> Vec<String> {
    let mut disks = at_home(seen);
    disks.retain(|disk| disk.home.host == *host);
    pools_of(&disks)
}

/// What is said of a machine whose host does not answer.
pub(super) fn silent(seen: &Seen<'_>, on: &HostName) -> Fact {
    let (host, pools) = (on.to_string(), pools_on(seen, on));
    match pools.is_empty() {
        true => Fact::HostSilent { host },
        false => Fact::Home(HomeFact::HomeSilent {
            host,
            pools,
            deleting: object::life(&seen.vm.metadata) == Life::Deleting,
        }),
    }
}

/// That it has its place, and why it is this one when it could be no other.
pub(super) fn placed(seen: &Seen<'_>, on: &HostName) -> Fact {
    let (host, pools) = (on.to_string(), pools_on(seen, on));
    match pools.is_empty() {
        true => Fact::Placed { host },
        false => Fact::Home(HomeFact::PlacedHome {
            host,
            pools,
            spread: seen.vm.spec.spread_group.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
