//! Backups, restores, and the repositories they are in.

use dc_types::Bytes;
use dc_types::plan::{
    BackupItem, BackupVolume, ManifestItem, RepositoryAccess, RepositoryPlace, RestoreItem,
};

use crate::field::{list, optional_text, required, text, to_list};
use crate::{OnWire, WireError, wire};

impl OnWire for BackupItem {
    type Wire = wire::BackupItem;
    fn to_wire(&self) -> wire::BackupItem {
        let Self {
            run,
            repository,
            make,
            machine,
            manifest,
            volumes,
            parent,
            limit,
        } = self;
        wire::BackupItem {
            run: run.to_string(),
            repository: Some(repository.to_wire()),
            make: *make,
            machine: machine.clone(),
            manifest: manifest.clone(),
            volumes: to_list(volumes),
            parent: parent.clone(),
            limit_bytes_per_s: limit.map(|limit| limit.0),
        }
    }
    fn from_wire(wire: wire::BackupItem) -> Result<Self, WireError> {
        let wire::BackupItem {
            run,
            repository,
            make,
            machine,
            manifest,
            volumes,
            parent,
            limit_bytes_per_s,
        } = wire;
        Ok(Self {
            run: text(&run, "run")?,
            repository: required(repository, "repository")?,
            make,
            machine,
            manifest,
            volumes: list(volumes, "volumes")?,
            parent,
            limit: limit_bytes_per_s.map(Bytes),
        })
    }
}

impl OnWire for BackupVolume {
    type Wire = wire::BackupVolume;
    fn to_wire(&self) -> wire::BackupVolume {
        let Self {
            file,
            volume,
            pool,
            snapshot,
            base,
        } = self;
        wire::BackupVolume {
            file: file.clone(),
            volume: volume.to_string(),
            pool: pool.to_string(),
            snapshot: snapshot.to_string(),
            base: base.map(|base| base.to_string()),
        }
    }
    fn from_wire(wire: wire::BackupVolume) -> Result<Self, WireError> {
        let wire::BackupVolume {
            file,
            volume,
            pool,
            snapshot,
            base,
        } = wire;
        Ok(Self {
            file,
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
            snapshot: text(&snapshot, "snapshot")?,
            base: optional_text(base.as_deref(), "base")?,
        })
    }
}

impl OnWire for RestoreItem {
    type Wire = wire::RestoreItem;
    fn to_wire(&self) -> wire::RestoreItem {
        let Self {
            run,
            repository,
            backup,
            file,
            volume,
            pool,
            size,
            verify,
            limit,
        } = self;
        wire::RestoreItem {
            run: run.to_string(),
            repository: Some(repository.to_wire()),
            backup: backup.clone(),
            file: file.clone(),
            volume: volume.to_string(),
            pool: pool.to_string(),
            size_bytes: size.0,
            verify: *verify,
            limit_bytes_per_s: limit.map(|limit| limit.0),
        }
    }
    fn from_wire(wire: wire::RestoreItem) -> Result<Self, WireError> {
        let wire::RestoreItem {
            run,
            repository,
            backup,
            file,
            volume,
            pool,
            size_bytes,
            verify,
            limit_bytes_per_s,
        } = wire;
        Ok(Self {
            run: text(&run, "run")?,
            repository: required(repository, "repository")?,
            backup,
            file,
            volume: text(&volume, "volume")?,
            pool: text(&pool, "pool")?,
            size: Bytes(size_bytes),
            verify,
            limit: limit_bytes_per_s.map(Bytes),
        })
    }
}

impl OnWire for ManifestItem {
    type Wire = wire::ManifestItem;
    fn to_wire(&self) -> wire::ManifestItem {
        let Self {
            run,
            repository,
            backup,
        } = self;
        wire::ManifestItem {
            run: run.to_string(),
            repository: Some(repository.to_wire()),
            backup: backup.clone(),
        }
    }
    fn from_wire(wire: wire::ManifestItem) -> Result<Self, WireError> {
        let wire::ManifestItem {
            run,
            repository,
            backup,
        } = wire;
        Ok(Self {
            run: text(&run, "run")?,
            repository: required(repository, "repository")?,
            backup,
        })
    }
}

impl OnWire for RepositoryAccess {
    type Wire = wire::RepositoryAccess;
    fn to_wire(&self) -> wire::RepositoryAccess {
        use wire::repository_access::Place;
        let Self { place, password } = self;
        wire::RepositoryAccess {
            password: Some(password.to_wire()),
            place: Some(match place {
                RepositoryPlace::Folder { path } => Place::Folder(path.clone()),
                RepositoryPlace::Rest {
                    url,
                    user,
                    login,
                    ca,
                } => Place::Rest(wire::RestServer {
                    url: url.clone(),
                    user: user.clone(),
                    login: Some(login.to_wire()),
                    ca_pem: ca.clone(),
                }),
            }),
        }
    }
    fn from_wire(wire: wire::RepositoryAccess) -> Result<Self, WireError> {
        use wire::repository_access::Place;
        let wire::RepositoryAccess { password, place } = wire;
        Ok(Self {
            password: required(password, "password")?,
            place: match place.ok_or_else(|| WireError::new("place", "is missing"))? {
                Place::Folder(path) => RepositoryPlace::Folder { path },
                Place::Rest(wire::RestServer {
                    url,
                    user,
                    login,
                    ca_pem,
                }) => RepositoryPlace::Rest {
                    url,
                    user,
                    login: required(login, "rest.login")?,
                    ca: ca_pem,
                },
            },
        })
    }
}
