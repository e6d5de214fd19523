//! Repositories: how a department gets into its own one, and how a BackupRepository stands.

use std::collections::BTreeMap;

use dc_crds::backup::{FolderPlace, RestPlace};
use dc_crds::{BackupRepository, BackupRepositorySpec, BackupRepositoryStatus};
use dc_types::Bytes;
use dc_types::claim::BackupState;
use dc_types::plan::{RepositoryAccess, RepositoryPlace, Secret};

use super::password::RecoveryKey;
use crate::claims::Claims;
use crate::conditions::{Draft, Judged, merge};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::words::{BackupFact, Fact, all_words};

/// The operator's recovery keys, by id.
pub type RecoveryKeys = BTreeMap<String, RecoveryKey>;

/// What is known of a repository's logins.
#[derive(Clone, Copy, Debug)]
pub enum Logins<'a> {
    /// It asks for none.
    NotAsked,
    NoSecret,
    /// Passwords by department.
    Are(&'a BTreeMap<String, Secret>),
}

/// The place and the password of a department's repository.
pub fn access(
    repository: &BackupRepository,
    department: &str,
    keys: &RecoveryKeys,
    logins: Logins<'_>,
) -> Result<RepositoryAccess, BackupFact> {
    let BackupRepositorySpec {
        folder,
        rest,
        recovery_key,
        bandwidth: _,
    } = &repository.spec;
    let name = repository.metadata.name.as_deref().unwrap_or_default();
    let password = recovery_key_of(keys, recovery_key)?.password(name, department);
    let place = match (folder, rest) {
        (Some(FolderPlace { path }), _) => RepositoryPlace::Folder {
            path: format!("{path}/{department}"),
        },
        (None, Some(rest)) => at_server(rest, department, logins)?,
        // The API server lets no object through that names neither.
        (None, None) => {
            return Err(BackupFact::RepositoryMissing {
                repository: name.to_owned(),
            });
        }
    };
    Ok(RepositoryAccess { place, password })
}

fn recovery_key_of<'a>(keys: &'a RecoveryKeys, id: &str) -> Result<&'a RecoveryKey, BackupFact> {
    keys.get(id).ok_or_else(|| BackupFact::RecoveryKeyMissing {
        key: id.to_owned(),
        known: keys.keys().cloned().collect(),
    })
}

fn at_server(
    rest: &RestPlace,
    department: &str,
    logins: Logins<'_>,
) -> Result<RepositoryPlace, BackupFact> {
    let RestPlace {
        url,
        ca_bundle,
        login_secret,
    } = rest;
    let secret = login_secret.clone();
    let login = match logins {
        Logins::Are(logins) => logins.get(department),
        Logins::NoSecret | Logins::NotAsked => {
            return Err(BackupFact::LoginSecretMissing { secret });
        }
    };
    let login = login.ok_or_else(|| BackupFact::LoginMissing {
        secret,
        department: department.to_owned(),
    })?;
    Ok(RepositoryPlace::Rest {
        url: format!("{}/{department}/", url.trim_end_matches('/')),
        user: department.to_owned(),
        login: login.clone(),
        ca: ca_bundle.clone().unwrap_or_default(),
    })
}

/// Bytes a second; none when nothing limits it.
#[must_use]
pub fn limit(repository: &BackupRepository) -> Option<Bytes> {
    repository.spec.bandwidth.as_ref()?.parse().ok()
}

/// What was read for one BackupRepository.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub repository: &'a BackupRepository,
    pub keys: &'a RecoveryKeys,
    pub logins: Logins<'a>,
    pub claims: &'a Claims,
    /// Backups whose records tell that they are done there, and when the last of them ended.
    pub backups: u64,
    pub last_backup: Option<&'a str>,
}

#[must_use]
pub fn plan(seen: &Seen<'_>) -> Plan {
    let name = seen.repository.metadata.name.as_deref().unwrap_or_default();
    if object::life(&seen.repository.metadata) == Life::Deleting {
        let running = seen.claims.backups.values().filter(|claim| {
            claim.value.repository == name && claim.value.state == BackupState::Running
        });
        let running = running.map(|claim| format!("backup {}", claim.value.owner));
        let restores = seen.claims.restores.values();
        let restores = restores.filter(|claim| claim.value.repository == name);
        let restores = restores.map(|claim| format!("restore {}", claim.value.owner));
        let manifests = seen.claims.manifests.values();
        let manifests = manifests.filter(|claim| claim.value.repository == name);
        let manifests = manifests.map(|claim| format!("machine restore {}", claim.value.owner));
        let by: Vec<String> = running.chain(restores).chain(manifests).collect();
        return match by.is_empty() {
            true => Plan::let_go(),
            false => Plan::found(Fact::Backup(BackupFact::RepositoryUsed { by })),
        };
    }
    let key = recovery_key_of(seen.keys, &seen.repository.spec.recovery_key);
    let mut found: Vec<Fact> = key.err().map(Fact::Backup).into_iter().collect();
    if let (Some(rest), Logins::NoSecret) = (&seen.repository.spec.rest, seen.logins) {
        found.push(Fact::Backup(BackupFact::LoginSecretMissing {
            secret: rest.login_secret.clone(),
        }));
    }
    Plan::all_found(found)
}

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> BackupRepositoryStatus {
    let spec = &seen.repository.spec;
    let folder = spec.folder.as_ref().map(|folder| folder.path.clone());
    let old = seen.repository.status.as_ref();
    let conditions = old.map_or(&[][..], |old| &old.conditions);
    let words = all_words(&plan.found).unwrap_or_else(|| Fact::Ready.words());
    BackupRepositoryStatus {
        conditions: merge(conditions, vec![Draft::ready(words)], judged),
        place: folder
            .or_else(|| spec.rest.as_ref().map(|rest| rest.url.clone()))
            .unwrap_or_default(),
        backups: i64::try_from(seen.backups).unwrap_or(i64::MAX),
        last_backup: seen.last_backup.map(str::to_owned),
    }
}
