//! How far backups and restores are, and what they have done.

use dc_types::Bytes;
use dc_types::report::{
    BackupCounts, BackupDone, ManifestFile, ManifestRead, Progress, RestoreDone, VolumeBackedUp,
};

use crate::field::{list, optional, optional_text, to_list};
use crate::{OnWire, WireError, wire};

impl OnWire for Progress {
    type Wire = wire::Progress;
    fn to_wire(&self) -> wire::Progress {
        let Self { done, of } = self;
        wire::Progress {
            done_bytes: done.0,
            of_bytes: of.0,
        }
    }
    fn from_wire(wire: wire::Progress) -> Result<Self, WireError> {
        let wire::Progress {
            done_bytes,
            of_bytes,
        } = wire;
        Ok(Self {
            done: Bytes(done_bytes),
            of: Bytes(of_bytes),
        })
    }
}

impl OnWire for BackupDone {
    type Wire = wire::BackupDone;
    fn to_wire(&self) -> wire::BackupDone {
        let Self {
            backup,
            size,
            began_at,
            ended_at,
            counts,
        } = self;
        wire::BackupDone {
            backup: backup.clone(),
            size_bytes: size.0,
            began_at_unix_s: *began_at,
            ended_at_unix_s: *ended_at,
            counts: counts.as_ref().map(OnWire::to_wire),
        }
    }
    fn from_wire(wire: wire::BackupDone) -> Result<Self, WireError> {
        let wire::BackupDone {
            backup,
            size_bytes,
            began_at_unix_s,
            ended_at_unix_s,
            counts,
        } = wire;
        Ok(Self {
            backup,
            size: Bytes(size_bytes),
            began_at: began_at_unix_s,
            ended_at: ended_at_unix_s,
            counts: optional(counts, "counts")?,
        })
    }
}

impl OnWire for BackupCounts {
    type Wire = wire::BackupCounts;
    fn to_wire(&self) -> wire::BackupCounts {
        let Self {
            read,
            added,
            volumes,
        } = self;
        wire::BackupCounts {
            read_bytes: read.0,
            added_bytes: added.0,
            volumes: to_list(volumes),
        }
    }
    fn from_wire(wire: wire::BackupCounts) -> Result<Self, WireError> {
        let wire::BackupCounts {
            read_bytes,
            added_bytes,
            volumes,
        } = wire;
        Ok(Self {
            read: Bytes(read_bytes),
            added: Bytes(added_bytes),
            volumes: list(volumes, "volumes")?,
        })
    }
}

impl OnWire for VolumeBackedUp {
    type Wire = wire::VolumeBackedUp;
    fn to_wire(&self) -> wire::VolumeBackedUp {
        let Self {
            file,
            size,
            read,
            full,
        } = self;
        wire::VolumeBackedUp {
            file: file.clone(),
            size_bytes: size.0,
            read_bytes: read.0,
            full: full.as_ref().map(OnWire::to_wire),
        }
    }
    fn from_wire(wire: wire::VolumeBackedUp) -> Result<Self, WireError> {
        let wire::VolumeBackedUp {
            file,
            size_bytes,
            read_bytes,
            full,
        } = wire;
        Ok(Self {
            file,
            size: Bytes(size_bytes),
            read: Bytes(read_bytes),
            full: optional(full, "full")?,
        })
    }
}

impl OnWire for RestoreDone {
    type Wire = wire::RestoreDone;
    fn to_wire(&self) -> wire::RestoreDone {
        let Self {
            written,
            began_at,
            ended_at,
            verified,
        } = self;
        wire::RestoreDone {
            written_bytes: written.0,
            began_at_unix_s: *began_at,
            ended_at_unix_s: *ended_at,
            verified_sha256: verified.map(|sum| sum.to_string()),
        }
    }
    fn from_wire(wire: wire::RestoreDone) -> Result<Self, WireError> {
        let wire::RestoreDone {
            written_bytes,
            began_at_unix_s,
            ended_at_unix_s,
            verified_sha256,
        } = wire;
        Ok(Self {
            written: Bytes(written_bytes),
            began_at: began_at_unix_s,
            ended_at: ended_at_unix_s,
            verified: optional_text(verified_sha256.as_deref(), "verified_sha256")?,
        })
    }
}

impl OnWire for ManifestRead {
    type Wire = wire::ManifestRead;
    fn to_wire(&self) -> wire::ManifestRead {
        let Self { machine, files } = self;
        wire::ManifestRead {
            machine: machine.clone(),
            files: to_list(files),
        }
    }
    fn from_wire(wire: wire::ManifestRead) -> Result<Self, WireError> {
        let wire::ManifestRead { machine, files } = wire;
        Ok(Self {
            machine,
            files: list(files, "files")?,
        })
    }
}

impl OnWire for ManifestFile {
    type Wire = wire::ManifestFile;
    fn to_wire(&self) -> wire::ManifestFile {
        let Self { file, size } = self;
        wire::ManifestFile {
            file: file.clone(),
            size_bytes: size.0,
        }
    }
    fn from_wire(wire: wire::ManifestFile) -> Result<Self, WireError> {
        let wire::ManifestFile { file, size_bytes } = wire;
        Ok(Self {
            file,
            size: Bytes(size_bytes),
        })
    }
}
