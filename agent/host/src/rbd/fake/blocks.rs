//! The bytes of a fake cluster's images.

use std::sync::Arc;

use async_trait::async_trait;
use dc_types::Bytes;
use nix::errno::Errno;

use super::disk::Disk;
use super::{FakeCeph, refused};
use crate::rbd::{BlockServer, Blocks, ImageName, Opening, RbdError};

/// An opened image, or a snapshot as it was.
struct Open {
    ceph: FakeCeph,
    image: ImageName,
    size: Bytes,
    /// Of a snapshot.
    frozen: Option<Disk>,
    writable: bool,
}

impl Open {
    async fn act<T>(
        &self,
        call: &'static str,
        work: impl FnOnce(&mut Disk) -> T,
    ) -> Result<T, RbdError> {
        let frozen = self.frozen.clone();
        self.ceph
            .act(call, |state| match frozen {
                Some(mut disk) => Ok(work(&mut disk)),
                None => Ok(work(&mut state.image(&self.image)?.disk)),
            })
            .await
    }
}

#[async_trait]
impl BlockServer for FakeCeph {
    async fn open(
        &self,
        image: &ImageName,
        opening: Opening<'_>,
    ) -> Result<Arc<dyn Blocks>, RbdError> {
        self.act("blocks.open", |state| {
            let found = state.image(image)?;
            let frozen = match opening {
                Opening::Volume => None,
                Opening::Snapshot(name) => {
                    let mut taken = found.snapshots.iter();
                    let taken = taken.find(|(one, _)| one.name == name);
                    Some(taken.ok_or(Errno::ENOENT)?.1.clone())
                }
            };
            let size = frozen.as_ref().unwrap_or(&found.disk).size();
            let open = Open {
                ceph: self.clone(),
                image: image.clone(),
                size,
                frozen,
                writable: opening == Opening::Volume,
            };
            Ok(Arc::new(open) as Arc<dyn Blocks>)
        })
        .await
    }
}

#[async_trait]
impl Blocks for Open {
    fn size(&self) -> Bytes {
        self.size
    }

    async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, RbdError> {
        self.act("blocks.read", |disk| disk.read(offset, length as usize))
            .await
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), RbdError> {
        if !self.writable {
            return Err(refused("blocks.write", Errno::EROFS));
        }
        self.act("blocks.write", |disk| disk.write(offset, bytes))
            .await
    }

    async fn discard(&self, offset: u64, length: u32) -> Result<(), RbdError> {
        self.act("blocks.discard", |disk| {
            disk.discard(offset, length as usize)
        })
        .await
    }

    async fn flush(&self) -> Result<(), RbdError> {
        self.act("blocks.flush", |_| ()).await
    }
}
