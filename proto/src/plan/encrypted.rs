//! Disks that are encrypted: another kind of source, so that a peer which does not know it refuses the
//! whole machine.

use dc_types::plan::{DiskSource, Formatted, Luks};

use crate::field::{optional, required};
use crate::{OnWire, WireError, wire};

use wire::encrypted_disk::Source;

pub(super) fn to_wire(source: &DiskSource, luks: &Luks) -> wire::EncryptedDisk {
    let Luks { key, formatted } = luks;
    wire::EncryptedDisk {
        key: key.as_ref().map(OnWire::to_wire),
        formatted: match formatted {
            Formatted::Never => false,
            Formatted::Done => true,
        },
        source: Some(match source {
            DiskSource::Iscsi { portal, chap } => Source::Iscsi(wire::IscsiDisk {
                portal: Some(portal.to_wire()),
                chap: Some(chap.to_wire()),
            }),
            DiskSource::Rbd {
                cluster,
                image,
                cephx,
            } => Source::Rbd(wire::RbdDisk {
                cluster: Some(cluster.to_wire()),
                image: image.clone(),
                cephx: Some(cephx.to_wire()),
            }),
            DiskSource::File { path } => Source::File(path.clone()),
        }),
    }
}

pub(super) fn from_wire(wire: wire::EncryptedDisk) -> Result<(DiskSource, Luks), WireError> {
    let wire::EncryptedDisk {
        key,
        formatted,
        source,
    } = wire;
    let luks = Luks {
        key: optional(key, "encrypted.key")?,
        formatted: match formatted {
            false => Formatted::Never,
            true => Formatted::Done,
        },
    };
    let source = source.ok_or_else(|| WireError::new("encrypted.source", "is missing"))?;
    let source = match source {
        Source::Iscsi(wire::IscsiDisk { portal, chap }) => DiskSource::Iscsi {
            portal: required(portal, "encrypted.iscsi.portal")?,
            chap: required(chap, "encrypted.iscsi.chap")?,
        },
        Source::Rbd(wire::RbdDisk {
            cluster,
            image,
            cephx,
        }) => DiskSource::Rbd {
            cluster: required(cluster, "encrypted.rbd.cluster")?,
            image,
            cephx: required(cephx, "encrypted.rbd.cephx")?,
        },
        Source::File(path) => DiskSource::File { path },
    };
    Ok((source, luks))
}
