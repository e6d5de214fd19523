//! What the programs answer, and what is taken from it. Each form was written down from the real
//! answer of Ceph 16.2; keys that are not asked for may come and go.

use std::net::SocketAddr;

use dc_types::Bytes;
use dc_types::plan::Secret;
use serde::Deserialize;

use super::{
    ClientAddress, Difference, ImageName, Lock, Parent, ParentPlace, Session, Snapshot, Space,
    SpaceState, Trashed, Usage, User,
};

impl From<dc_rados::Parent> for Parent {
    fn from(parent: dc_rados::Parent) -> Self {
        Self {
            image: ImageName::new(parent.namespace, parent.image),
            id: parent.id,
            place: match parent.in_trash {
                true => ParentPlace::Trash,
                false => ParentPlace::Listed,
            },
        }
    }
}

impl From<dc_rados::Snapshot> for Snapshot {
    fn from(snapshot: dc_rados::Snapshot) -> Self {
        Self {
            order: snapshot.id,
            name: snapshot.name,
            size: Bytes(snapshot.size),
            taken_at: snapshot.taken_at,
        }
    }
}

impl From<dc_rados::Locker> for Lock {
    fn from(locker: dc_rados::Locker) -> Self {
        Self {
            id: locker.cookie,
            locker: locker.client,
            address: ClientAddress(locker.address),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DiskUsage {
    images: Vec<UsageOfOne>,
}

#[derive(Debug, Deserialize)]
struct UsageOfOne {
    name: String,
    #[serde(default)]
    snapshot: Option<String>,
    provisioned_size: u64,
    used_size: u64,
}

impl From<DiskUsage> for Vec<Usage> {
    fn from(usage: DiskUsage) -> Self {
        let images = usage.images.into_iter();
        images
            .map(|one| Usage {
                name: one.name,
                snapshot: one.snapshot,
                size: Bytes(one.provisioned_size),
                used: Bytes(one.used_size),
            })
            .collect()
    }
}

/// An image, or a snapshot of one.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub image: String,
    #[serde(default)]
    pub snapshot: Option<String>,
    pub size: u64,
}

impl Listed {
    /// What is told of an image of which it cannot be asked what it takes.
    pub fn unknown(self) -> Usage {
        Usage {
            name: self.image,
            snapshot: self.snapshot,
            size: Bytes(self.size),
            used: Bytes(0),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct DiffExtent {
    offset: u64,
    length: u64,
    /// "true" or "false": whether it holds something now. Either way it may differ.
    #[serde(rename = "exists")]
    _exists: String,
}

impl From<DiffExtent> for Difference {
    fn from(extent: DiffExtent) -> Self {
        Self {
            offset: extent.offset,
            length: extent.length,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct TrashListed {
    id: String,
    name: String,
}

impl From<TrashListed> for Trashed {
    fn from(listed: TrashListed) -> Self {
        Self {
            id: listed.id,
            name: listed.name,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Child {
    #[serde(default)]
    pool_namespace: String,
    image: String,
}

impl From<Child> for ImageName {
    fn from(child: Child) -> Self {
        Self::new(child.pool_namespace, child.image)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Df {
    pools: Vec<DfPool>,
}

#[derive(Debug, Deserialize)]
struct DfPool {
    name: String,
    stats: DfStats,
}

#[derive(Debug, Deserialize)]
struct DfStats {
    stored: u64,
    max_avail: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct PoolListed {
    pool_name: String,
    /// Separated by commas.
    flags_names: String,
    /// In bytes, 0 for none.
    #[serde(default)]
    quota_max_bytes: u64,
}

/// The room of one pool; `None` when the cluster does not know it.
pub(super) fn space(df: &Df, pools: &[PoolListed], pool: &str) -> Option<Space> {
    let listed = pools.iter().find(|one| one.pool_name == pool)?;
    let stats = &df.pools.iter().find(|one| one.name == pool)?.stats;
    let free = match listed.quota_max_bytes {
        0 => stats.max_avail,
        quota => stats.max_avail.min(quota.saturating_sub(stats.stored)),
    };
    let full = listed.flags_names.split(',').any(|flag| flag == "full");
    Some(Space {
        used: Bytes(stats.stored),
        free: Bytes(free),
        state: match full || stats.max_avail == 0 {
            true => SpaceState::Full,
            false => SpaceState::Open,
        },
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct AuthDump {
    auth_dump: Vec<AuthEntry>,
}

#[derive(Debug, Deserialize)]
struct AuthEntry {
    entity: String,
    key: Secret,
    #[serde(default)]
    caps: AuthCaps,
}

#[derive(Debug, Default, Deserialize)]
struct AuthCaps {
    #[serde(default)]
    mon: String,
    #[serde(default)]
    osd: String,
}

/// The users whose names begin so; the keys of all others are forgotten at once.
pub(super) fn users(dump: AuthDump, prefix: &str) -> Vec<User> {
    let entries = dump.auth_dump.into_iter();
    entries
        .filter(|entry| entry.entity.starts_with(prefix))
        .map(|entry| User {
            name: entry.entity,
            key: entry.key,
            monitor: entry.caps.mon,
            osd: entry.caps.osd,
        })
        .collect()
}

/// A user as a keyring file states it.
pub(super) fn keyring(user: &User) -> String {
    let User {
        name,
        key,
        monitor,
        osd,
    } = user;
    let key = &key.0;
    format!("[{name}]\n\tkey = {key}\n\tcaps mon = \"{monitor}\"\n\tcaps osd = \"{osd}\"\n")
}

#[derive(Debug, Deserialize)]
pub(super) struct MonitorDump {
    pub mons: Vec<Monitor>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Monitor {
    pub name: String,
    public_addrs: Addresses,
}

impl Monitor {
    /// Of the protocol's first version, which every client speaks.
    pub fn address(&self) -> Option<SocketAddr> {
        let mut first = self.public_addrs.addrvec.iter();
        let first = first.find(|one| one.r#type == "v1")?;
        first.addr.parse().ok()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct SessionListed {
    #[serde(default)]
    entity_name: String,
    addrs: Addresses,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    addrvec: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    r#type: String,
    addr: String,
    nonce: u64,
}

impl SessionListed {
    /// With addresses as the blocklist takes them: `address:port/nonce`.
    pub fn sessions(&self) -> impl Iterator<Item = Session> + '_ {
        let all = self.addrs.addrvec.iter();
        all.map(|one| Session {
            user: self.entity_name.clone(),
            address: ClientAddress(format!("{}/{}", one.addr, one.nonce)),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Blocked {
    addr: String,
}

/// The answer is two lists, one after the other: of addresses, and of ranges of them.
pub(super) fn blocked(answer: &[u8]) -> serde_json::Result<Vec<ClientAddress>> {
    let lists = serde_json::Deserializer::from_slice(answer).into_iter::<Vec<Blocked>>();
    let lists: Vec<Vec<Blocked>> = lists.collect::<serde_json::Result<_>>()?;
    let all = lists.into_iter().flatten();
    Ok(all.map(|one| ClientAddress(one.addr)).collect())
}

#[derive(Debug, Deserialize)]
pub(super) struct OsdStat {
    pub epoch: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct OsdTree {
    pub nodes: Vec<OsdNode>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OsdNode {
    /// Negative for what is not an OSD.
    pub id: i32,
    #[serde(default)]
    pub status: String,
    pub r#type: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OsdStatus {
    pub newest_map: u64,
}
