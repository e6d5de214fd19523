//! The images of a fake cluster.

use std::path::Path;

use async_trait::async_trait;
use dc_types::Bytes;
use nix::errno::Errno;

use super::disk::Disk;
use super::{FakeCeph, Image};
use crate::rbd::{
    ClientAddress, Difference, ImageInfo, ImageName, Lock, Parent, ParentPlace, Rbd, RbdError,
    Shrink, Snapshot, Trashed, Usage,
};

#[async_trait]
impl Rbd for FakeCeph {
    async fn list_namespaces(&self) -> Result<Vec<String>, RbdError> {
        self.act("rbd.list_namespaces", |state| {
            Ok(state.namespaces.iter().cloned().collect())
        })
        .await
    }

    async fn ensure_namespace(&self, namespace: &str) -> Result<(), RbdError> {
        self.act("rbd.ensure_namespace", |state| {
            state.namespaces.insert(namespace.to_owned());
            Ok(())
        })
        .await
    }

    async fn list_usage(&self, namespace: &str) -> Result<Vec<Usage>, RbdError> {
        self.act("rbd.list_usage", |state| {
            let all = state.images.iter();
            let ours = all.filter(|(name, _)| name.namespace == namespace);
            Ok(ours.flat_map(|(name, image)| usage(name, image)).collect())
        })
        .await
    }

    async fn read_image(&self, image: &ImageName) -> Result<Option<ImageInfo>, RbdError> {
        self.act("rbd.read_image", |state| {
            Ok(state.images.get(image).map(|image| ImageInfo {
                id: image.id.clone(),
                size: image.disk.size(),
                changed_at: Some(jiff::Timestamp::now().as_second()),
                parent: image.parent.clone(),
            }))
        })
        .await
    }

    async fn create_image(&self, image: &ImageName, size: Bytes) -> Result<(), RbdError> {
        self.act("rbd.create_image", |state| {
            let disk = Disk::of(size);
            state.add(
                image,
                Image {
                    disk,
                    ..Image::default()
                },
            )
        })
        .await
    }

    async fn clone_image(
        &self,
        from: &ImageName,
        snapshot: &str,
        to: &ImageName,
    ) -> Result<(), RbdError> {
        self.act("rbd.clone_image", |state| {
            let source = state.image(from)?;
            let mut taken = source.snapshots.iter();
            let taken = taken.find(|(one, _)| one.name == snapshot);
            let disk = taken.ok_or(Errno::ENOENT)?.1.clone();
            let parent = Parent {
                image: from.clone(),
                id: source.id.clone(),
                place: ParentPlace::Listed,
            };
            let made = Image {
                disk,
                parent: Some(parent),
                ..Image::default()
            };
            state.add(to, made)
        })
        .await
    }

    async fn import_image(&self, file: &Path, to: &ImageName) -> Result<(), RbdError> {
        let bytes = std::fs::read(file).map_err(|source| RbdError::Bytes {
            image: to.to_string(),
            what: "cannot be imported",
            source,
        })?;
        self.act("rbd.import_image", |state| {
            let disk = Disk::from_bytes(&bytes);
            state.add(
                to,
                Image {
                    disk,
                    ..Image::default()
                },
            )
        })
        .await
    }

    async fn resize_image(
        &self,
        image: &ImageName,
        size: Bytes,
        shrink: Shrink,
    ) -> Result<(), RbdError> {
        self.act("rbd.resize_image", |state| {
            let image = state.image(image)?;
            if size < image.disk.size() && shrink == Shrink::Refused {
                return Err(Errno::EINVAL);
            }
            image.disk.resize(size);
            Ok(())
        })
        .await
    }

    async fn rename_image(&self, image: &ImageName, name: &str) -> Result<(), RbdError> {
        self.act("rbd.rename_image", |state| {
            let to = ImageName::new(&image.namespace, name);
            if state.images.contains_key(&to) {
                return Err(Errno::EEXIST);
            }
            let moved = state.images.remove(image).ok_or(Errno::ENOENT)?;
            state.images.insert(to, moved);
            Ok(())
        })
        .await
    }

    async fn flatten_image(&self, image: &ImageName) -> Result<(), RbdError> {
        self.act("rbd.flatten_image", |state| {
            state.image(image)?.parent = None;
            Ok(())
        })
        .await
    }

    async fn remove_image(&self, image: &ImageName) -> Result<(), RbdError> {
        self.act("rbd.remove_image", |state| {
            let Some(found) = state.images.get(image) else {
                return Ok(());
            };
            if !found.snapshots.is_empty() || state.has_clones(&found.id) {
                return Err(Errno::ENOTEMPTY);
            }
            state.images.remove(image);
            Ok(())
        })
        .await
    }

    async fn set_option(&self, image: &ImageName, _key: &str, _to: &str) -> Result<(), RbdError> {
        self.act("rbd.set_option", |state| state.image(image).map(drop))
            .await
    }

    async fn trash_image(&self, image: &ImageName) -> Result<(), RbdError> {
        self.act("rbd.trash_image", |state| {
            if let Some(found) = state.images.remove(image) {
                state.trash.push((image.clone(), found));
            }
            Ok(())
        })
        .await
    }

    async fn list_trash(&self, namespace: &str) -> Result<Vec<Trashed>, RbdError> {
        self.act("rbd.list_trash", |state| {
            let all = state.trash.iter();
            let ours = all.filter(|(name, _)| name.namespace == namespace);
            let shown = ours.map(|(name, image)| Trashed {
                id: image.id.clone(),
                name: name.name.clone(),
            });
            Ok(shown.collect())
        })
        .await
    }

    async fn remove_trashed(&self, namespace: &str, id: &str) -> Result<(), RbdError> {
        self.act("rbd.remove_trashed", |state| {
            if state.has_clones(id) {
                return Err(Errno::ENOTEMPTY);
            }
            state
                .trash
                .retain(|(name, image)| name.namespace != namespace || image.id != id);
            Ok(())
        })
        .await
    }

    async fn list_snapshots(&self, image: &ImageName) -> Result<Vec<Snapshot>, RbdError> {
        self.act("rbd.list_snapshots", |state| {
            let taken = state.image(image)?.snapshots.iter();
            Ok(taken.map(|(snapshot, _)| snapshot.clone()).collect())
        })
        .await
    }

    async fn create_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        self.act("rbd.create_snapshot", |state| {
            state.made += 1;
            let order = state.made;
            let image = state.image(image)?;
            if image.snapshots.iter().any(|(one, _)| one.name == snapshot) {
                return Ok(());
            }
            let taken = Snapshot {
                order,
                name: snapshot.to_owned(),
                size: image.disk.size(),
                taken_at: jiff::Timestamp::now().as_second(),
            };
            image.snapshots.push((taken, image.disk.clone()));
            Ok(())
        })
        .await
    }

    async fn remove_snapshot(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        self.act("rbd.remove_snapshot", |state| {
            if let Some(image) = state.images.get_mut(image) {
                image.snapshots.retain(|(one, _)| one.name != snapshot);
            }
            Ok(())
        })
        .await
    }

    async fn rollback_image(&self, image: &ImageName, snapshot: &str) -> Result<(), RbdError> {
        self.act("rbd.rollback_image", |state| {
            let image = state.image(image)?;
            let mut taken = image.snapshots.iter();
            let found = taken.find(|(one, _)| one.name == snapshot);
            image.disk = found.ok_or(Errno::ENOENT)?.1.clone();
            Ok(())
        })
        .await
    }

    async fn read_differences(
        &self,
        image: &ImageName,
        from: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<Difference>, RbdError> {
        self.act("rbd.read_differences", |state| {
            let image = state.image(image)?;
            let find = |name: &str| {
                let mut taken = image.snapshots.iter();
                let found = taken.find(|(one, _)| one.name == name);
                found.map(|(_, disk)| disk).ok_or(Errno::ENOENT)
            };
            let nothing = Disk::default();
            let from = from.map_or(Ok(&nothing), find)?;
            let to = to.map_or(Ok(&image.disk), find)?;
            Ok(from.differences(to))
        })
        .await
    }

    async fn list_clones(&self, image: &ImageName) -> Result<Vec<ImageName>, RbdError> {
        self.act("rbd.list_clones", |state| {
            let id = state.image(image)?.id.clone();
            let all = state.images.iter();
            let clones = all.filter(|(_, one)| one.parent.as_ref().is_some_and(|of| of.id == id));
            Ok(clones.map(|(name, _)| name.clone()).collect())
        })
        .await
    }

    async fn list_watchers(&self, image: &ImageName) -> Result<Vec<ClientAddress>, RbdError> {
        self.act("rbd.list_watchers", |state| {
            Ok(state.image(image)?.watchers.clone())
        })
        .await
    }

    async fn list_locks(&self, image: &ImageName) -> Result<Vec<Lock>, RbdError> {
        self.act("rbd.list_locks", |state| {
            Ok(state.image(image)?.locks.clone())
        })
        .await
    }

    async fn remove_lock(&self, image: &ImageName, lock: &Lock) -> Result<(), RbdError> {
        self.act("rbd.remove_lock", |state| {
            state.image(image)?.locks.retain(|one| one != lock);
            Ok(())
        })
        .await
    }
}

fn usage(name: &ImageName, image: &Image) -> Vec<Usage> {
    let one = |snapshot: Option<&str>, disk: &Disk| Usage {
        name: name.name.clone(),
        snapshot: snapshot.map(str::to_owned),
        size: disk.size(),
        used: disk.used(),
    };
    let taken = image.snapshots.iter();
    let taken = taken.map(|(snapshot, disk)| one(Some(&snapshot.name), disk));
    taken.chain([one(None, &image.disk)]).collect()
}
