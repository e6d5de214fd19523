//! What a reconciler is given and what it gives back.
//!
//! The storage, network and vm reconcilers are three verticals over the same words. Each is given
//! a [`Wanted`]: the whole plan of the host, of which it takes its own kinds and looks at the
//! others where it must. It answers with steps, and with a [`Status`]. Time and everything else
//! that was looked at is in the vertical's own `Seen`; nothing here is observed.
//!
//! What always holds: an item that is absent from the plan means nothing. Only a [`Release`] is an
//! order to remove. An item and a release may stand under the same key; the release then speaks of
//! older epochs than the item's and is carried out first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use dc_types::plan::{Firmware, Item, ItemKey, ItemKind, Items, Portal, Release};
use dc_types::report::{Accelerator, Observation, Released, Role};
use dc_types::{Epoch, HostName, PoolName};
use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

/// Releases that the host has not been told to forget yet, newest of each key.
pub type Releases = BTreeMap<ItemKey, Release>;

/// What does not change while the agent runs: the host's own configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    pub name: HostName,
    pub roles: Vec<Role>,
    pub accelerator: Accelerator,
    pub addresses: HostAddresses,
    /// Where targets listen; on storage hosts.
    pub portal: Option<Portal>,
    /// Where each pool of this host lies.
    pub pools: BTreeMap<PoolName, PoolConfig>,
    /// The way to the outside; on gateway hosts.
    pub edge: Option<EdgeView>,
    pub folders: Folders,
    /// Changes at every boot.
    pub boot_id: String,
}

/// Where a pool lies, and by which driver it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolConfig {
    /// A folder whose volumes the target daemon opens to machines of any host.
    Iscsi { folder: PathBuf },
    /// A folder whose volumes the machines of this same host open.
    Directory { folder: PathBuf },
    /// A pool of a Ceph cluster, which machines of any host reach themselves.
    Rbd {
        /// Names the cluster's monitors, and the keyring of `user`.
        conf: PathBuf,
        /// Without the leading `client.`.
        user: String,
        /// As the cluster calls it.
        pool: String,
    },
}

/// The host's own addresses on the three networks that join hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostAddresses {
    pub management: IpAddr,
    pub storage: IpAddr,
    pub overlay: IpAddr,
}

/// The interface of a gateway host that leads outside, and its addresses there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeView {
    /// In the host's own namespace when the agent starts; it is moved into the edge namespace.
    pub interface: String,
    #[serde(default)]
    pub ipv4: Option<Ipv4Net>,
    #[serde(default)]
    pub ipv6: Option<Ipv6Net>,
    #[serde(default)]
    pub gateway_v4: Option<Ipv4Addr>,
    #[serde(default)]
    pub gateway_v6: Option<Ipv6Addr>,
}

/// Folders the verticals write to. Every name below them is made from an id, never from a text
/// that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// The agent's own state; a vertical keeps what it must remember in a folder of its name here.
    pub state: PathBuf,
    /// Where images of source `File` are found; on storage hosts.
    pub images: PathBuf,
    /// Cloud-init seeds; readable by QEMU.
    pub seeds: PathBuf,
    /// Serial console logs; writable by QEMU.
    pub consoles: PathBuf,
}

/// What the emulator of this host can do; read once, at start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Concrete machine types, the newest default first.
    pub machine_types: Vec<String>,
    pub firmwares: Vec<Firmware>,
    pub cpu_models: Vec<String>,
}

/// What the host is to carry, as the pure functions of a vertical take it.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub items: &'a Items,
    pub releases: &'a Releases,
    pub host: &'a HostView,
    /// Keys whose last status was Ready, of all verticals: a machine is started only when its
    /// network and its endpoints are in here.
    pub ready: &'a BTreeSet<ItemKey>,
}

impl<'a> Wanted<'a> {
    /// The items of one kind, in the order of their keys.
    pub fn of_kind(&self, kind: ItemKind) -> impl Iterator<Item = &'a Item> + use<'a> {
        self.items
            .range(first_of(kind)..)
            .map(|(_, item)| item)
            .take_while(move |item| item.key.kind == kind)
    }

    /// The releases of one kind, in the order of their keys.
    pub fn releases_of_kind(&self, kind: ItemKind) -> impl Iterator<Item = &'a Release> + use<'a> {
        self.releases
            .range(first_of(kind)..)
            .map(|(_, release)| release)
            .take_while(move |release| release.key.kind == kind)
    }

    /// The epoch up to which everything under `key` must go, if any.
    #[must_use]
    pub fn released_up_to(&self, key: &ItemKey) -> Option<Epoch> {
        self.releases.get(key).map(|release| release.epoch)
    }
}

fn first_of(kind: ItemKind) -> ItemKey {
    ItemKey {
        kind,
        id: uuid::Uuid::nil(),
        card: 0,
    }
}

/// The same, kept by whoever crosses an await: cheap to clone, a snapshot of one moment.
#[derive(Clone, Debug)]
pub struct WantedOwned {
    pub items: Arc<Items>,
    pub releases: Arc<Releases>,
    pub host: Arc<HostView>,
    pub ready: Arc<BTreeSet<ItemKey>>,
}

impl WantedOwned {
    #[must_use]
    pub fn as_wanted(&self) -> Wanted<'_> {
        Wanted {
            items: &self.items,
            releases: &self.releases,
            host: &self.host,
            ready: &self.ready,
        }
    }
}

/// What a vertical says of its items: one observation for each of them, and the releases of which
/// `Seen` shows that nothing is left up to their epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub observations: Vec<Observation>,
    pub released: Vec<Released>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use dc_types::ObjectRef;
    use dc_types::ObjectUid;
    use dc_types::plan::Disposition;
    use uuid::Uuid;

    #[test]
    fn releases_are_found_by_kind_and_by_key() {
        let release = |kind, id| Release {
            key: ItemKey::new(kind, Uuid::from_u128(id)),
            epoch: Epoch {
                incarnation: 1,
                revision: 9,
            },
            object: ObjectRef {
                namespace: "so-nnmt".into(),
                name: "a".into(),
                uid: ObjectUid(Uuid::from_u128(id)),
            },
            disposition: Disposition::Remove,
        };
        let releases: Releases = [
            release(ItemKind::Grant, 1),
            release(ItemKind::Volume, 2),
            release(ItemKind::Volume, 0),
            release(ItemKind::Vm, 3),
        ]
        .into_iter()
        .map(|r| (r.key, r))
        .collect();
        let host = host_view();
        let wanted = Wanted {
            items: &Items::new(),
            releases: &releases,
            host: &host,
            ready: &BTreeSet::new(),
        };
        let volumes: Vec<u128> = wanted
            .releases_of_kind(ItemKind::Volume)
            .map(|r| r.key.id.as_u128())
            .collect();
        assert_eq!(volumes, [0, 2]);
        assert_eq!(wanted.of_kind(ItemKind::Vm).count(), 0);
        let vm = ItemKey::new(ItemKind::Vm, Uuid::from_u128(3));
        assert_eq!(wanted.released_up_to(&vm).map(|e| e.revision), Some(9));
    }

    /// A host of all roles, for the tests of this crate.
    pub(crate) fn host_view() -> HostView {
        let address = |last: u8| IpAddr::V4(Ipv4Addr::new(10, 250, 0, last));
        HostView {
            name: HostName::new("h1").unwrap(),
            roles: vec![Role::Compute, Role::Storage, Role::Gateway],
            accelerator: Accelerator::Tcg,
            addresses: HostAddresses {
                management: address(1),
                storage: address(2),
                overlay: address(3),
            },
            portal: Some(Portal {
                address: address(2),
                port: 3260,
            }),
            pools: BTreeMap::from([(
                PoolName::new("p1").unwrap(),
                PoolConfig::Iscsi {
                    folder: "/pools/p1".into(),
                },
            )]),
            edge: None,
            folders: Folders {
                state: "/state".into(),
                images: "/images".into(),
                seeds: "/seeds".into(),
                consoles: "/consoles".into(),
            },
            boot_id: "boot-1".into(),
        }
    }
}
