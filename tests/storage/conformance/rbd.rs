//! A Ceph that tests hand on, and QEMU's own RBD client.

use std::sync::Arc;

use async_trait::async_trait;
use dc_host::drivers::Driver;
use dc_lab::ceph::Daemon;
use dc_types::plan::{GrantAccess, ImageItem};
use dc_types::report::{Orphan, OrphanKind};
use dc_types::{Bytes, Epoch, InstanceId, SnapshotId};

use super::rig::{Place, Rig};
use crate::cluster::{self, Cluster};
use crate::folder;
use crate::holder::Holder;

pub struct Rbd {
    cluster: Cluster,
}

#[async_trait(?Send)]
impl Rig for Rbd {
    const PLACE: Place = Place::Ceph;

    async fn start() -> Self {
        Self {
            cluster: Cluster::lent(),
        }
    }

    async fn attach(_: Option<&Self>) -> Arc<dyn Driver> {
        cluster::attach()
    }

    fn access(volume: InstanceId, epoch: Epoch) -> GrantAccess {
        cluster::access(volume, epoch)
    }

    fn holder(volume: InstanceId, epoch: Epoch) -> Option<Holder> {
        let image = cluster::volume_as(volume, epoch);
        Some(Holder {
            arguments: vec!["-f".into(), "raw".into(), image],
        })
    }

    fn image(&self, bytes: &[u8]) -> Option<ImageItem> {
        Some(folder::image(bytes))
    }

    /// A full pool of Ceph lets nobody open an image, not even to read it: what happens then is in
    /// `rbd::faults`.
    fn fill(&mut self, _filled: bool) -> bool {
        false
    }

    fn forbid(&mut self, forbidden: bool) -> bool {
        self.cluster.forbid(forbidden);
        true
    }

    fn taker(&self) -> Box<dyn Fn(bool) + Send> {
        let cluster = self.cluster.clone();
        Box::new(move |away| cluster.rename_pool(away))
    }

    async fn kill_server(&mut self, nth: usize) -> bool {
        let daemon = [Daemon::Osd, Daemon::Monitor].get(nth).copied();
        if let Some(daemon) = daemon {
            self.cluster.kill(daemon).await;
        }
        daemon.is_some()
    }

    /// What a snapshot holds cannot be changed in Ceph.
    fn spoil(&mut self, _volume: InstanceId, _snapshot: SnapshotId) -> bool {
        false
    }

    fn litter(&mut self) -> Vec<Orphan> {
        let stray = |kind, name: &str| Orphan {
            kind,
            name: name.to_owned(),
            size: Bytes(0),
            since: None,
        };
        let lost = InstanceId(uuid::Uuid::from_u128(77)).to_string();
        let image = format!("dc_images/{}", uuid::Uuid::from_u128(78));
        for name in ["by-hand", "somewhere/by-hand", &lost, &image] {
            self.cluster.make_image(name, "1M");
        }
        self.cluster.make_image("nothing", "0");
        vec![
            stray(OrphanKind::Other, "by-hand"),
            stray(OrphanKind::Other, "nothing"),
            stray(OrphanKind::Other, "somewhere/by-hand"),
            stray(OrphanKind::Volume, &lost),
            stray(OrphanKind::Image, &image),
        ]
    }
}
