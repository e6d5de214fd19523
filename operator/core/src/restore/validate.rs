//! What one Restore asks, checked against the backup and the volume it names.

use dc_crds::VolumeSpec;
use dc_crds::condition::types;
use dc_crds::restore::{InPlace, RepositorySnapshot, RestoreSpec, RestoreTarget};
use dc_crds::volume::{Access, SourceSpec};
use dc_types::claim::{RestoreClaim, RestoreState, VolumeClaim};
use dc_types::{Bytes, InstanceId};

use super::{Seen, in_place};
use crate::backup::file;
use crate::claims::Claimed;
use crate::conditions::find;
use crate::object::{self, Life};
use crate::volume::validate::is_made;
use crate::words::{BackupFact, Fact};

/// What is to be done next for one that is not claimed.
#[derive(Debug)]
pub(super) enum Next<'a> {
    Make(Box<VolumeSpec>),
    Claim(Box<RestoreClaim>, &'a Claimed<VolumeClaim>),
}

/// A volume of a backup.
pub(super) struct Source {
    pub repository: String,
    pub snapshot_id: String,
    pub size: Bytes,
}

pub(super) fn validate<'a>(seen: &Seen<'a>) -> Result<Next<'a>, Vec<Fact>> {
    let one = |fact| vec![Fact::Backup(fact)];
    seen.source.map_err(|fact| vec![fact.clone()])?;
    let source = source(seen).map_err(one)?;
    let RestoreTarget {
        name,
        system,
        pool,
        size,
        reclaim,
        erase_method,
        qos,
    } = &seen.restore.spec.to;
    let size = match size {
        None => source.size,
        Some(text) => text.parse::<Bytes>().map_err(|error| {
            vec![Fact::SizeInvalid {
                error: format!("to.size: {error}"),
            }]
        })?,
    };
    if size < source.size {
        return Err(one(BackupFact::TooSmall {
            size: size.to_string(),
            need: source.size.to_string(),
        }));
    }
    match seen.repository {
        None => {
            return Err(one(BackupFact::RepositoryMissing {
                repository: source.repository,
            }));
        }
        Some(found) => {
            found.access.map_err(|fact| one(fact.clone()))?;
        }
    }
    if let Some(InPlace { stop_machine }) = &seen.restore.spec.in_place {
        return in_place::validate(seen, source, *stop_machine);
    }
    let Some(volume) = seen.volume else {
        return match seen.refused {
            Some(fact) => Err(vec![fact.clone()]),
            None => Ok(Next::Make(Box::new(VolumeSpec {
                system: system.clone(),
                pool: pool.clone(),
                size: size.to_string(),
                source: SourceSpec {
                    restore: Some(seen.me.name.clone()),
                    ..SourceSpec::default()
                },
                access: Access::default(),
                reclaim: *reclaim,
                erase_method: *erase_method,
                qos: qos.clone(),
                restore: None,
                encrypted: false,
            }))),
        };
    };
    let taken = || {
        one(BackupFact::NameTaken {
            volume: name.clone(),
        })
    };
    let mine = volume.spec.source.restore.as_deref() == Some(&*seen.me.name);
    if !mine || volume.spec.pool != *pool || object::life(&volume.metadata) == Life::Deleting {
        return Err(taken());
    }
    let waits = || {
        one(BackupFact::VolumeWaits {
            volume: name.clone(),
            says: says(seen),
        })
    };
    let id = InstanceId(object::uid(&volume.metadata).ok_or_else(waits)?.0);
    let claim = seen.claims.volumes.get(&id).ok_or_else(waits)?;
    if claim.value.contents.is_whole() || seen.claims.restores_of(id).next().is_some() {
        return Err(taken());
    }
    if claim.value.size < source.size {
        return Err(one(BackupFact::TooSmall {
            size: claim.value.size.to_string(),
            need: source.size.to_string(),
        }));
    }
    if !is_made(seen.volume_said) {
        return Err(waits());
    }
    let VolumeClaim {
        pool, host, size, ..
    } = &claim.value;
    let restore = RestoreClaim {
        owner: seen.me.clone(),
        volume: id,
        place: claim.value.place(),
        pool: pool.clone(),
        host: host.clone(),
        size: *size,
        repository: source.repository,
        snapshot_id: source.snapshot_id,
        file: file(&seen.restore.spec.volume),
        verify: seen.restore.spec.verify,
        state: RestoreState::Running,
    };
    Ok(Next::Claim(Box::new(restore), claim))
}

/// What the volume says that keeps it from being made.
fn says(seen: &Seen<'_>) -> Option<String> {
    let status = seen.volume?.status.as_ref()?;
    let ready = find(&status.conditions, types::READY)?;
    let on_its_way = [
        Fact::Creating.words().reason,
        Fact::Backup(BackupFact::AwaitsRestore {
            restore: String::new(),
        })
        .words()
        .reason,
    ];
    (!on_its_way.contains(&ready.reason)).then(|| ready.message.clone())
}

fn source(seen: &Seen<'_>) -> Result<Source, BackupFact> {
    let RestoreSpec {
        backup,
        snapshot,
        volume,
        verify: _,
        department: _,
        to,
        in_place: _,
    } = &seen.restore.spec;
    if let Some(RepositorySnapshot { repository, id }) = snapshot {
        // How large the file is, the host finds out.
        let size = to.size.as_deref().unwrap_or_default();
        return Ok(Source {
            repository: repository.clone(),
            snapshot_id: id.clone(),
            size: size.parse().unwrap_or_default(),
        });
    }
    let name = backup.clone().unwrap_or_default();
    let Some(found) = seen.backup else {
        return Err(BackupFact::BackupMissing { backup: name });
    };
    let status = found.status.clone().unwrap_or_default();
    let Some(snapshot_id) = status.snapshot_id else {
        return Err(BackupFact::BackupNotDone { backup: name });
    };
    let one = status.volumes.iter().find(|of| of.volume == *volume);
    let size = one.and_then(|one| one.size.parse().ok());
    match size {
        Some(size) => Ok(Source {
            repository: found.spec.repository.clone(),
            snapshot_id,
            size,
        }),
        None => Err(BackupFact::BackupWithoutVolume {
            backup: name,
            volume: volume.clone(),
            has: status.volumes.into_iter().map(|of| of.volume).collect(),
        }),
    }
}
