//! Images, volumes and grants.

use dc_types::Bytes;
use dc_types::plan::{Chap, GrantItem, ImageItem, ImageSource, Secret, VolumeItem, VolumeSource};

use crate::field::{choice, required, text};
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
        } = self;
        wire::VolumeItem {
            volume: volume.to_string(),
            pool: pool.to_string(),
            size_bytes: size.0,
            source: Some(match source {
                VolumeSource::Blank => Source::Blank(wire::Blank {}),
                VolumeSource::Image(image) => Source::FromImage(image.to_string()),
                VolumeSource::Volume(volume) => Source::FromVolume(volume.to_string()),
            }),
        }
    }
    fn from_wire(wire: wire::VolumeItem) -> Result<Self, WireError> {
        use wire::volume_item::Source;
        let wire::VolumeItem {
            volume,
            pool,
            size_bytes,
            source,
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
            },
        })
    }
}

impl OnWire for GrantItem {
    type Wire = wire::GrantItem;
    fn to_wire(&self) -> wire::GrantItem {
        let Self {
            volume,
            pool,
            initiator,
            chap,
        } = self;
        wire::GrantItem {
            volume: volume.to_string(),
            pool: pool.to_string(),
            initiator: initiator.clone(),
            chap: Some(chap.to_wire()),
        }
    }
    fn from_wire(wire: wire::GrantItem) -> Result<Self, WireError> {
        let wire::GrantItem {
            volume,
            pool,
            initiator,
            chap,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
            initiator,
            chap: required(chap, "chap")?,
        })
    }
}
