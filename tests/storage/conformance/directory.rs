//! A folder of a host whose own QEMU opens the files: once with reflinks, once without.

use std::fs::File;
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::wanted::HostView;
use dc_host::drivers::Driver;
use dc_types::plan::{GrantAccess, ImageItem};
use dc_types::report::Orphan;
use dc_types::{Epoch, HostName, InstanceId, SnapshotId};

use super::bench::pool;
use super::rig::{Place, Rig};
use crate::folder;
use crate::holder::Holder;
use crate::site::{POOL_FOLDER, PoolConfig, XFS, attach, host_with, mount_pool};

/// On XFS.
pub struct Reflinks {
    _disk: File,
}

/// On a file system that does not let files share blocks.
pub struct Plain {
    _disk: File,
}

fn host() -> HostView {
    host_with(PoolConfig::Directory {
        folder: POOL_FOLDER.into(),
    })
}

async fn driver() -> Arc<dyn Driver> {
    let tools = attach(&Arc::new(host())).await;
    tools.drivers.of(&pool()).unwrap().clone()
}

fn holder(volume: InstanceId, epoch: Epoch) -> Holder {
    let path = format!("{POOL_FOLDER}/grants/{volume}.{epoch}.raw");
    Holder {
        arguments: ["-f", "raw", "-d", "unmap", &path]
            .map(str::to_owned)
            .to_vec(),
    }
}

macro_rules! directory {
    ($rig:ident, $mkfs:expr) => {
        #[async_trait(?Send)]
        impl Rig for $rig {
            const PLACE: Place = Place::Machine;

            async fn start() -> Self {
                Self {
                    _disk: mount_pool($mkfs),
                }
            }

            async fn attach(_: Option<&Self>) -> Arc<dyn Driver> {
                driver().await
            }

            fn access(_: InstanceId, _: Epoch) -> GrantAccess {
                GrantAccess::File {
                    local: HostName::new("s1").unwrap(),
                }
            }

            fn holder(volume: InstanceId, epoch: Epoch) -> Option<Holder> {
                Some(holder(volume, epoch))
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

            fn spoil(&mut self, volume: InstanceId, snapshot: SnapshotId) -> bool {
                folder::spoil(volume, snapshot);
                true
            }

            fn litter(&mut self) -> Vec<Orphan> {
                folder::litter(POOL_FOLDER)
            }
        }
    };
}

directory!(Reflinks, XFS);
directory!(Plain, &["mkfs.ext4", "-q", "-E", "nodiscard"]);
