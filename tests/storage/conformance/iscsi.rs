//! A storage host with XFS and tgtd, and QEMU's own initiator.

use std::sync::Arc;

use async_trait::async_trait;
use dc_host::drivers::Driver;
use dc_types::plan::{Chap, GrantAccess, GrantItem, ImageItem, Secret};
use dc_types::report::Orphan;
use dc_types::{Epoch, InstanceId, SnapshotId};

use super::bench::{initiator, pool};
use super::rig::{Place, Rig};
use crate::holder::Holder;
use crate::initiator::Initiator;
use crate::site::{Site, attach, iscsi_host};
use crate::{folder, site};

pub struct Iscsi {
    site: Site,
}

pub fn chap(volume: InstanceId, epoch: Epoch) -> Chap {
    Chap {
        user: format!("{volume}.{epoch}"),
        secret: Secret(format!("secret{:024}", epoch.revision)),
    }
}

#[async_trait(?Send)]
impl Rig for Iscsi {
    const PLACE: Place = Place::Machine;

    async fn start() -> Self {
        Self {
            site: Site::new().await,
        }
    }

    async fn attach(_: Option<&Self>) -> Arc<dyn Driver> {
        let tools = attach(&Arc::new(iscsi_host())).await;
        tools.drivers.of(&pool()).unwrap().clone()
    }

    fn access(volume: InstanceId, epoch: Epoch) -> GrantAccess {
        GrantAccess::Iscsi {
            chap: chap(volume, epoch),
        }
    }

    fn holder(volume: InstanceId, epoch: Epoch) -> Option<Holder> {
        let chap = chap(volume, epoch);
        let initiator = Initiator {
            target: GrantItem::target_name(volume, epoch),
            name: initiator(volume),
            user: Some(chap.user),
            secret: chap.secret.0,
        };
        Some(initiator.holder())
    }

    fn image(&self, bytes: &[u8]) -> Option<ImageItem> {
        Some(folder::image(bytes))
    }

    fn fill(&mut self, filled: bool) -> bool {
        folder::fill(filled);
        true
    }

    fn forbid(&mut self, forbidden: bool) -> bool {
        folder::forbid(forbidden);
        true
    }

    fn taker(&self) -> Box<dyn Fn(bool) + Send> {
        Box::new(folder::take_away)
    }

    async fn kill_server(&mut self, nth: usize) -> bool {
        if nth > 0 {
            return false;
        }
        self.site.kill_tgtd();
        self.site.start_tgtd().await;
        true
    }

    fn spoil(&mut self, volume: InstanceId, snapshot: SnapshotId) -> bool {
        folder::spoil(volume, snapshot);
        true
    }

    fn litter(&mut self) -> Vec<Orphan> {
        folder::litter(site::POOL_FOLDER)
    }
}
