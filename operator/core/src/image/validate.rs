//! What one Image asks.

use dc_crds::image::{ImageFormatName, ImageSourceSpec, ImageSpec};
use dc_types::plan::{ImageFormat, ImageItem, ImageSource};
use dc_types::{Bytes, HostName, ImageUid, PoolName};

use super::Seen;
use crate::words::Fact;

/// One item for each pool that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidImage {
    pub items: Vec<(HostName, ImageItem)>,
    /// Pools that are named and not there.
    pub missing: Vec<Fact>,
}

pub fn validate(seen: &Seen<'_>) -> Result<ValidImage, Vec<Fact>> {
    let ImageSpec {
        source,
        sha256,
        format,
        pools: _,
        max_download,
        max_virtual_size,
    } = &seen.image.spec;
    let mut wrong = Vec::new();
    let mut size = |field: &str, text: &str| {
        text.parse::<Bytes>().unwrap_or_else(|error| {
            wrong.push(Fact::SizeInvalid {
                error: format!("{field}: {error}"),
            });
            Bytes(0)
        })
    };
    let max_download = size("maxDownload", max_download);
    let max_virtual = size("maxVirtualSize", max_virtual_size);
    let ImageSourceSpec { file, http } = source;
    let source = match (file, http) {
        (Some(file), _) => ImageSource::File(file.clone()),
        (None, Some(http)) => ImageSource::Http(http.clone()),
        // The schema asks for exactly one.
        (None, None) => ImageSource::File(String::new()),
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let item = |pool: &PoolName| ImageItem {
        image: ImageUid(seen.me.uid.0),
        pool: pool.clone(),
        source: source.clone(),
        sha256: sha256.clone(),
        format: match format {
            ImageFormatName::Raw => ImageFormat::Raw,
            ImageFormatName::Qcow2 => ImageFormat::Qcow2,
        },
        max_download,
        max_virtual,
    };
    let mut valid = ValidImage {
        items: Vec::new(),
        missing: Vec::new(),
    };
    for pool in seen.pools {
        match &pool.at {
            Some((name, host)) => valid.items.push((host.clone(), item(name))),
            None => valid.missing.push(Fact::PoolMissing {
                pool: pool.name.clone(),
            }),
        }
    }
    Ok(valid)
}
