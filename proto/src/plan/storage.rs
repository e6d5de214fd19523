//! Images, volumes, snapshots and grants.

use dc_types::Bytes;
use dc_types::plan::{
    Cephx, Chap, GrantAccess, GrantItem, ImageItem, ImageSource, RbdCluster, RestoreOrder, Secret,
    SnapshotItem, VolumeItem, VolumeSource,
};

use crate::field::{choice, list, optional, required, text, to_list};
use crate::{OnWire, WireError, wire};

impl OnWire for Secret {
    type Wire = wire::Secret;
    fn to_wire(&self) -> wire::Secret {
        let Self(text) = self;
        wire::Secret { text: text.clone() }
    }
    fn from_wire(wire: wire::Secret) -> Result<Self, WireError> {
        let wire::Secret { text } = wire;
        Ok(Self(text))
    }
}

impl OnWire for Chap {
    type Wire = wire::Chap;
    fn to_wire(&self) -> wire::Chap {
        let Self { user, secret } = self;
        wire::Chap {
            user: user.clone(),
            secret: Some(secret.to_wire()),
        }
    }
    fn from_wire(wire: wire::Chap) -> Result<Self, WireError> {
        let wire::Chap { user, secret } = wire;
        Ok(Self {
            user,
            secret: required(secret, "secret")?,
        })
    }
}

impl OnWire for ImageItem {
    type Wire = wire::ImageItem;
    fn to_wire(&self) -> wire::ImageItem {
        use wire::image_item::Source;
        let Self {
            image,
            pool,
            source,
            sha256,
            format,
            max_download,
            max_virtual,
        } = self;
        wire::ImageItem {
            image: image.to_string(),
            pool: pool.to_string(),
            source: Some(match source {
                ImageSource::File(name) => Source::File(name.clone()),
                ImageSource::Http(address) => Source::Http(address.clone()),
            }),
            sha256: sha256.clone(),
            format: format.to_wire(),
            max_download_bytes: max_download.0,
            max_virtual_bytes: max_virtual.0,
        }
    }
    fn from_wire(wire: wire::ImageItem) -> Result<Self, WireError> {
        use wire::image_item::Source;
        let wire::ImageItem {
            image,
            pool,
            source,
            sha256,
            format,
            max_download_bytes,
            max_virtual_bytes,
        } = wire;
        Ok(Self {
            image: text(&image, "image")?,
            pool: text(&pool, "pool")?,
            source: match source.ok_or_else(|| WireError::new("source", "is missing"))? {
                Source::File(name) => ImageSource::File(name),
                Source::Http(address) => ImageSource::Http(address),
            },
            sha256,
            format: choice(format, "format")?,
            max_download: Bytes(max_download_bytes),
            max_virtual: Bytes(max_virtual_bytes),
        })
    }
}

impl OnWire for VolumeItem {
    type Wire = wire::VolumeItem;
    fn to_wire(&self) -> wire::VolumeItem {
        use wire::volume_item::Source;
        let Self {
            volume,
            pool,
            size,
            source,
            restore,
        } = self;
        wire::VolumeItem {
            volume: volume.to_string(),
            pool: pool.to_string(),
            size_bytes: size.0,
            source: Some(match source {
                VolumeSource::Blank => Source::Blank(wire::Blank {}),
                VolumeSource::Image(image) => Source::FromImage(image.to_string()),
                VolumeSource::Volume(volume) => Source::FromVolume(volume.to_string()),
                VolumeSource::Snapshot { volume, snapshot } => {
                    Source::FromSnapshot(wire::SnapshotOf {
                        volume: volume.to_string(),
                        snapshot: snapshot.to_string(),
                    })
                }
            }),
            restore: restore.as_ref().map(OnWire::to_wire),
        }
    }
    fn from_wire(wire: wire::VolumeItem) -> Result<Self, WireError> {
        use wire::volume_item::Source;
        let wire::VolumeItem {
            volume,
            pool,
            size_bytes,
            source,
            restore,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
            size: Bytes(size_bytes),
            // An unknown source must not become a blank volume.
            source: match source.ok_or_else(|| WireError::new("source", "is missing"))? {
                Source::Blank(wire::Blank {}) => VolumeSource::Blank,
                Source::FromImage(image) => VolumeSource::Image(text(&image, "from_image")?),
                Source::FromVolume(volume) => VolumeSource::Volume(text(&volume, "from_volume")?),
                Source::FromSnapshot(wire::SnapshotOf { volume, snapshot }) => {
                    VolumeSource::Snapshot {
                        volume: text(&volume, "from_snapshot.volume")?,
                        snapshot: text(&snapshot, "from_snapshot.snapshot")?,
                    }
                }
            },
            restore: optional(restore, "restore")?,
        })
    }
}

impl OnWire for RestoreOrder {
    type Wire = wire::RestoreOrder;
    fn to_wire(&self) -> wire::RestoreOrder {
        let Self { snapshot, order } = self;
        wire::RestoreOrder {
            snapshot: snapshot.to_string(),
            order: order.clone(),
        }
    }
    fn from_wire(wire: wire::RestoreOrder) -> Result<Self, WireError> {
        let wire::RestoreOrder { snapshot, order } = wire;
        Ok(Self {
            snapshot: text(&snapshot, "snapshot")?,
            order,
        })
    }
}

impl OnWire for SnapshotItem {
    type Wire = wire::SnapshotItem;
    fn to_wire(&self) -> wire::SnapshotItem {
        let Self {
            snapshot,
            volume,
            pool,
        } = self;
        wire::SnapshotItem {
            snapshot: snapshot.to_string(),
            volume: volume.to_string(),
            pool: pool.to_string(),
        }
    }
    fn from_wire(wire: wire::SnapshotItem) -> Result<Self, WireError> {
        let wire::SnapshotItem {
            snapshot,
            volume,
            pool,
        } = wire;
        Ok(Self {
            snapshot: text(&snapshot, "snapshot")?,
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
        })
    }
}

impl OnWire for Cephx {
    type Wire = wire::Cephx;
    fn to_wire(&self) -> wire::Cephx {
        let Self {
            user,
            key,
            namespace,
        } = self;
        wire::Cephx {
            user: user.clone(),
            key: Some(key.to_wire()),
            namespace: namespace.clone(),
        }
    }
    fn from_wire(wire: wire::Cephx) -> Result<Self, WireError> {
        let wire::Cephx {
            user,
            key,
            namespace,
        } = wire;
        Ok(Self {
            user,
            key: required(key, "key")?,
            namespace,
        })
    }
}

impl OnWire for RbdCluster {
    type Wire = wire::RbdCluster;
    fn to_wire(&self) -> wire::RbdCluster {
        let Self { monitors, pool } = self;
        wire::RbdCluster {
            monitors: to_list(monitors),
            pool: pool.clone(),
        }
    }
    fn from_wire(wire: wire::RbdCluster) -> Result<Self, WireError> {
        let wire::RbdCluster { monitors, pool } = wire;
        Ok(Self {
            monitors: list(monitors, "monitors")?,
            pool,
        })
    }
}

impl OnWire for GrantItem {
    type Wire = wire::GrantItem;
    fn to_wire(&self) -> wire::GrantItem {
        use wire::grant_item::Other;
        let Self {
            volume,
            pool,
            initiator,
            access,
        } = self;
        let mut wire = wire::GrantItem {
            volume: volume.to_string(),
            pool: pool.to_string(),
            initiator: initiator.clone(),
            ..Default::default()
        };
        match access {
            GrantAccess::Iscsi { chap } => wire.chap = Some(chap.to_wire()),
            GrantAccess::Rbd { cephx } => wire.other = Some(Other::Cephx(cephx.to_wire())),
            GrantAccess::File { local } => wire.other = Some(Other::Local(local.to_string())),
        }
        wire
    }
    fn from_wire(wire: wire::GrantItem) -> Result<Self, WireError> {
        use wire::grant_item::Other;
        let wire::GrantItem {
            volume,
            pool,
            initiator,
            chap,
            other,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
            initiator,
            access: match other {
                None => GrantAccess::Iscsi {
                    chap: required(chap, "chap")?,
                },
                Some(Other::Cephx(cephx)) => GrantAccess::Rbd {
                    cephx: OnWire::from_wire(cephx).map_err(|e: WireError| e.inside("cephx"))?,
                },
                Some(Other::Local(host)) => GrantAccess::File {
                    local: text(&host, "local")?,
                },
            },
        })
    }
}
