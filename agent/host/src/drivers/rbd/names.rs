//! What things are called in a Ceph pool. All names are made from ids.
//!
//! ```text
//! VOLUME                  a volume
//! VOLUME@SNAPSHOT         a snapshot of it
//! VOLUME@clone-OTHER      the moment that volume OTHER is being cloned from
//! making-VOLUME           not whole yet
//! erasing-VOLUME          taken out of use, and not erased to the end
//! retained-VOLUME-EPOCH
//! dc_images/IMAGE@base    what volumes are cloned from
//! dc_images/making-IMAGE
//! ```
//! Volumes lie in the pool's own namespace: libvirt cannot name an image in another one before its
//! version 11.6. Who may open which is not a matter of namespaces: see [`super::rights`].

use dc_types::{Epoch, ImageUid, InstanceId, SnapshotId};

use crate::rbd::ImageName;

/// The namespace of volumes.
pub const HOME: &str = "";

/// The namespace of images.
pub const IMAGES: &str = "dc_images";

/// The one snapshot of an image.
pub const BASE: &str = "base";

pub fn volume(volume: InstanceId) -> ImageName {
    ImageName::new(HOME, volume.to_string())
}

pub fn making(volume: InstanceId) -> ImageName {
    ImageName::new(HOME, format!("making-{volume}"))
}

pub fn erasing(volume: InstanceId) -> ImageName {
    ImageName::new(HOME, format!("erasing-{volume}"))
}

pub fn retained(volume: InstanceId, epoch: Epoch) -> ImageName {
    ImageName::new(HOME, format!("retained-{volume}-{epoch}"))
}

pub fn clone_of(made: InstanceId) -> String {
    format!("clone-{made}")
}

pub fn image(image: ImageUid) -> ImageName {
    ImageName::new(IMAGES, image.to_string())
}

pub fn making_image(image: ImageUid) -> ImageName {
    ImageName::new(IMAGES, format!("making-{image}"))
}

/// What a name among the volumes stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    Volume(InstanceId),
    Making,
    Erasing(InstanceId),
    Retained,
    Foreign,
}

pub fn meaning(name: &str) -> Meaning {
    if let Some(volume) = id(name) {
        return Meaning::Volume(volume);
    }
    let after = |prefix| name.strip_prefix(prefix);
    match (
        after("erasing-").and_then(id),
        after("making-").and_then(id),
    ) {
        (Some(volume), _) => Meaning::Erasing(volume),
        (None, Some(_)) => Meaning::Making,
        (None, None) if after("retained-").is_some() => Meaning::Retained,
        (None, None) => Meaning::Foreign,
    }
}

/// What a snapshot's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Snapshot(SnapshotId),
    Clone,
    Foreign,
}

pub fn moment(name: &str) -> Moment {
    match name.parse::<SnapshotId>() {
        Ok(snapshot) if snapshot.to_string() == name => Moment::Snapshot(snapshot),
        _ if name.strip_prefix("clone-").and_then(id).is_some() => Moment::Clone,
        _ => Moment::Foreign,
    }
}

/// An id, when it is written as we write it.
fn id(text: &str) -> Option<InstanceId> {
    let id: InstanceId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_name_that_is_made_is_understood() {
        let a = InstanceId(Uuid::from_u128(10));
        let epoch = Epoch {
            incarnation: 1,
            revision: 7,
        };
        let of = |image: ImageName| meaning(&image.name);
        assert_eq!(of(volume(a)), Meaning::Volume(a));
        assert_eq!(of(making(a)), Meaning::Making);
        assert_eq!(of(erasing(a)), Meaning::Erasing(a));
        assert_eq!(of(retained(a, epoch)), Meaning::Retained);
        assert_eq!(meaning("disk"), Meaning::Foreign);
        assert_eq!(meaning(&a.to_string().to_uppercase()), Meaning::Foreign);
        let snapshot = SnapshotId(Uuid::from_u128(11));
        assert_eq!(moment(&snapshot.to_string()), Moment::Snapshot(snapshot));
        assert_eq!(moment(&clone_of(a)), Moment::Clone);
        assert_eq!(moment("monday"), Moment::Foreign);
    }
}
