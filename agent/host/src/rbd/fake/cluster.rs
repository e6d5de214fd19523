//! What a fake cluster keeps beside its images.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use async_trait::async_trait;
use dc_types::Bytes;

use super::{CAPACITY, FakeCeph};
use crate::rbd::{ClientAddress, Cluster, MapEpoch, RbdError, Session, Space, SpaceState, User};

#[async_trait]
impl Cluster for FakeCeph {
    fn own_user(&self) -> String {
        "client.agent".to_owned()
    }

    async fn read_space(&self) -> Result<Space, RbdError> {
        self.act("ceph.read_space", |state| {
            let used = state.images.values().map(|image| image.disk.used().0).sum();
            Ok(Space {
                used: Bytes(used),
                free: Bytes(CAPACITY - used),
                state: match state.full {
                    true => SpaceState::Full,
                    false => SpaceState::Open,
                },
            })
        })
        .await
    }

    async fn list_users(&self, prefix: &str) -> Result<Vec<User>, RbdError> {
        self.act("ceph.list_users", |state| {
            let all = state.users.values();
            Ok(all
                .filter(|user| user.name.starts_with(prefix))
                .cloned()
                .collect())
        })
        .await
    }

    async fn ensure_user(&self, user: &User) -> Result<(), RbdError> {
        self.act("ceph.ensure_user", |state| {
            state.users.insert(user.name.clone(), user.clone());
            Ok(())
        })
        .await
    }

    async fn remove_user(&self, name: &str) -> Result<(), RbdError> {
        self.act("ceph.remove_user", |state| {
            state.users.remove(name);
            Ok(())
        })
        .await
    }

    async fn list_sessions(&self) -> Result<Vec<Session>, RbdError> {
        self.act("ceph.list_sessions", |state| Ok(state.sessions.clone()))
            .await
    }

    async fn list_monitors(&self) -> Result<Vec<SocketAddr>, RbdError> {
        self.act("ceph.list_monitors", |_| {
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], 6789))])
        })
        .await
    }

    async fn block(&self, address: &ClientAddress, _seconds: u64) -> Result<(), RbdError> {
        self.act("ceph.block", |state| {
            state.blocked.insert(address.clone());
            for image in state.images.values_mut() {
                image.watchers.retain(|watcher| watcher != address);
            }
            Ok(())
        })
        .await
    }

    async fn list_blocked(&self) -> Result<Vec<ClientAddress>, RbdError> {
        self.act("ceph.list_blocked", |state| {
            Ok(state.blocked.iter().cloned().collect())
        })
        .await
    }

    async fn read_map_epoch(&self) -> Result<MapEpoch, RbdError> {
        self.act("ceph.read_map_epoch", |state| {
            Ok(MapEpoch(state.blocked.len() as u64))
        })
        .await
    }

    async fn read_oldest_osd_map(&self) -> Result<MapEpoch, RbdError> {
        self.act("ceph.read_oldest_osd_map", |state| {
            Ok(MapEpoch(state.blocked.len() as u64))
        })
        .await
    }

    async fn list_records(&self, object: &str) -> Result<BTreeMap<String, Vec<u8>>, RbdError> {
        self.act("ceph.list_records", |state| {
            Ok(state.records.get(object).cloned().unwrap_or_default())
        })
        .await
    }

    async fn read_record(&self, object: &str, key: &str) -> Result<Option<Vec<u8>>, RbdError> {
        self.act("ceph.read_record", |state| {
            let object = state.records.get(object);
            Ok(object.and_then(|object| object.get(key).cloned()))
        })
        .await
    }

    async fn write_record(&self, object: &str, key: &str, text: &[u8]) -> Result<(), RbdError> {
        self.act("ceph.write_record", |state| {
            let object = state.records.entry(object.to_owned()).or_default();
            object.insert(key.to_owned(), text.to_vec());
            Ok(())
        })
        .await
    }

    async fn remove_record(&self, object: &str, key: &str) -> Result<(), RbdError> {
        self.act("ceph.remove_record", |state| {
            if let Some(object) = state.records.get_mut(object) {
                object.remove(key);
            }
            Ok(())
        })
        .await
    }
}
