//! The passwords that departments sign in with at a server of backups: in a Secret of the operator's
//! namespace. It is not watched, and read again when it was read a while ago.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dc_crds::BackupRepository;
use dc_operator_core::backup::repository;
use dc_types::plan::Secret as Hidden;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use crate::controllers::api::ApiError;
use crate::controllers::{Context, lock};

/// How long a change may take to be taken in: many backups begin at once, and ask once.
const FRESH: Duration = Duration::from_secs(30);

/// What was read of a repository's Secret.
#[derive(Clone)]
pub enum Found {
    NotAsked,
    NoSecret,
    Are(Arc<BTreeMap<String, Hidden>>),
}

impl Found {
    #[must_use]
    pub fn as_seen(&self) -> repository::Logins<'_> {
        match self {
            Found::NotAsked => repository::Logins::NotAsked,
            Found::NoSecret => repository::Logins::NoSecret,
            Found::Are(logins) => repository::Logins::Are(logins),
        }
    }
}

struct Read {
    at: Instant,
    /// The Secret's name then.
    of: String,
    found: Found,
}

#[derive(Default)]
pub struct Logins {
    read: Mutex<HashMap<String, Read>>,
}

impl Logins {
    /// The logins of a repository, as they were within the last half minute.
    pub async fn read(
        &self,
        context: &Context,
        repository: &BackupRepository,
    ) -> Result<Found, ApiError> {
        let Some(rest) = &repository.spec.rest else {
            return Ok(Found::NotAsked);
        };
        let (name, of) = (repository.name_any(), rest.login_secret.clone());
        if let Some(read) = lock(&self.read).get(&name)
            && read.of == of
            && read.at.elapsed() < FRESH
            && matches!(read.found, Found::Are(_))
        {
            return Ok(read.found.clone());
        }
        let api: Api<Secret> =
            Api::namespaced(context.parts.client.clone(), &context.parts.namespace);
        let secret = api.get_opt(&of).await.map_err(|source| ApiError::Request {
            what: format!("reading Secret {}/{of}", context.parts.namespace),
            source: Box::new(source),
        })?;
        let found = match secret {
            None => Found::NoSecret,
            Some(secret) => {
                let data = secret.data.unwrap_or_default();
                // What is not text is no password: its department is told that it has none.
                let read = data.into_iter().filter_map(|(department, password)| {
                    let password = String::from_utf8(password.0).ok()?;
                    Some((department, Hidden(password.trim_end().to_owned())))
                });
                Found::Are(Arc::new(read.collect()))
            }
        };
        let read = Read {
            at: Instant::now(),
            of,
            found: found.clone(),
        };
        lock(&self.read).insert(name, read);
        Ok(found)
    }

    pub fn forget(&self, repository: &str) {
        lock(&self.read).remove(repository);
    }
}
