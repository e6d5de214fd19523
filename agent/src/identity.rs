//! Who this host is to the operator: a key that never leaves it, and the certificate for it.
//!
//! The first certificate comes by a join file (one-time token), the next ones by the certificate
//! before, at two thirds of its life, each with a new key. Key and certificate lie in one file, so
//! that they change together. A join file with another token than the one this identity came by
//! means that a person wants the host to join anew.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dc_proto::join::JoinFile;
use dc_types::HostName;
use dc_types::plan::Secret;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::pem::parse_x509_pem;

use crate::disk::{self, DiskError};
use crate::keeper::Place;

#[derive(Debug, Error)]
pub enum IdentityError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{path} is not an identity that this agent can read: {message}")]
    Form { path: PathBuf, message: String },
    #[error("{path} is the identity of host {found}, and this is {host}")]
    AnotherHost {
        path: PathBuf,
        found: HostName,
        host: HostName,
    },
    #[error("the join file {path} does not read: {source}")]
    JoinForm {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the join file {path} is that of host {found}, and this is {host}")]
    JoinAnotherHost {
        path: PathBuf,
        found: HostName,
        host: HostName,
    },
    #[error(
        "this host has no valid certificate and no join file: take join.json of Secret join-{host} \
         in namespace dc-system, and name it as join_file in the configuration"
    )]
    NoWayIn { host: HostName },
    #[error("a key or a request cannot be made: {0}")]
    Key(#[from] rcgen::Error),
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub key_pem: Secret,
    pub certificate_pem: String,
    pub ca_pem: String,
    /// Digest of the token that it first came by.
    joined_with: String,
    pub valid: Validity,
}

/// Seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: i64,
    pub until: i64,
}

impl Validity {
    #[must_use]
    pub fn is_over(self, now: SystemTime) -> bool {
        unix(now) >= self.until
    }

    /// How long until two thirds of its life are over.
    #[must_use]
    pub fn until_renewal(self, now: SystemTime) -> Duration {
        let renewal = self.from + (self.until - self.from) * 2 / 3;
        Duration::from_secs(u64::try_from(renewal - unix(now)).unwrap_or(0))
    }
}

fn unix(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().cast_signed()
}

/// A key that was just made, and the request for its certificate.
pub struct Fresh {
    pub key_pem: Secret,
    pub csr_pem: String,
}

/// Makes a key (ECDSA P-256) and a request that names the host.
pub fn make_key(host: &HostName) -> Result<Fresh, IdentityError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, host.as_str());
    params.distinguished_name = name;
    Ok(Fresh {
        key_pem: Secret(key.serialize_pem()),
        csr_pem: params.serialize_request(&key)?.pem()?,
    })
}

impl Identity {
    /// Puts a key and the certificate for it together.
    pub fn new(
        key_pem: Secret,
        certificate_pem: String,
        ca_pem: String,
        joined_with: String,
    ) -> Result<Self, IdentityError> {
        let valid = validity(&certificate_pem)?;
        Ok(Self {
            key_pem,
            certificate_pem,
            ca_pem,
            joined_with,
            valid,
        })
    }

    /// The same host with a new key and certificate.
    pub fn renewed(
        &self,
        key_pem: Secret,
        certificate_pem: String,
        ca_pem: String,
    ) -> Result<Self, IdentityError> {
        Self::new(key_pem, certificate_pem, ca_pem, self.joined_with.clone())
    }
}

fn validity(certificate_pem: &str) -> Result<Validity, IdentityError> {
    let bad = |e: &dyn std::fmt::Display| IdentityError::Certificate(e.to_string());
    let (_, pem) = parse_x509_pem(certificate_pem.as_bytes()).map_err(|e| bad(&e))?;
    let certificate = pem.parse_x509().map_err(|e| bad(&e))?;
    let validity = certificate.validity();
    Ok(Validity {
        from: validity.not_before.timestamp(),
        until: validity.not_after.timestamp(),
    })
}

/// The digest that tells one token from another without keeping it.
#[must_use]
pub fn token_digest(token: &Secret) -> String {
    let digest = Sha256::digest(token.0.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the host has to go by.
#[derive(Debug)]
pub enum Standing {
    Joined(Identity),
    ToJoin(JoinFile),
}

/// Keeps the identity, on disk or for a simulated host in memory.
pub struct IdentityStore {
    host: HostName,
    place: Place,
    join_file: Option<PathBuf>,
    in_memory: Mutex<Option<Identity>>,
}

const IDENTITY: &str = "identity.json";
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    host: HostName,
    key_pem: Secret,
    certificate_pem: String,
    ca_pem: String,
    joined_with: String,
}

impl IdentityStore {
    #[must_use]
    pub fn new(host: HostName, place: Place, join_file: Option<PathBuf>) -> Self {
        Self {
            host,
            place,
            join_file,
            in_memory: Mutex::default(),
        }
    }

    /// The certificate to use, or the join file to get one with.
    pub fn look(&self, now: SystemTime) -> Result<Standing, IdentityError> {
        let kept = self.load()?;
        let join = self.join_file()?;
        if let Some(identity) = kept {
            let again = join
                .as_ref()
                .is_some_and(|join| token_digest(&join.token) != identity.joined_with);
            if !again && !identity.valid.is_over(now) {
                return Ok(Standing::Joined(identity));
            }
        }
        join.map(Standing::ToJoin)
            .ok_or_else(|| IdentityError::NoWayIn {
                host: self.host.clone(),
            })
    }

    /// Keeps an identity; it is on disk when this returns.
    pub fn keep(&self, identity: &Identity) -> Result<(), IdentityError> {
        let Place::Disk { folder, durability } = &self.place else {
            *self.memory() = Some(identity.clone());
            return Ok(());
        };
        let Identity {
            key_pem,
            certificate_pem,
            ca_pem,
            joined_with,
            valid: _,
        } = identity.clone();
        let file = File {
            version: VERSION,
            host: self.host.clone(),
            key_pem,
            certificate_pem,
            ca_pem,
            joined_with,
        };
        let bytes = serde_json::to_vec(&file).expect("texts are representable as JSON");
        disk::ensure_private_folder(folder)?;
        disk::write_whole(&folder.join(IDENTITY), &bytes, *durability)?;
        Ok(())
    }

    fn load(&self) -> Result<Option<Identity>, IdentityError> {
        let Place::Disk { folder, .. } = &self.place else {
            return Ok(self.memory().clone());
        };
        let path = folder.join(IDENTITY);
        let Some(bytes) = disk::read_whole(&path)? else {
            return Ok(None);
        };
        let file: File = serde_json::from_slice(&bytes).map_err(|e| IdentityError::Form {
            path: path.clone(),
            message: e.to_string(),
        })?;
        if file.version != VERSION {
            let message = format!(
                "it has form {}, and this agent knows {VERSION}",
                file.version
            );
            return Err(IdentityError::Form { path, message });
        }
        if file.host != self.host {
            return Err(IdentityError::AnotherHost {
                path,
                found: file.host,
                host: self.host.clone(),
            });
        }
        Identity::new(
            file.key_pem,
            file.certificate_pem,
            file.ca_pem,
            file.joined_with,
        )
        .map(Some)
    }

    fn join_file(&self) -> Result<Option<JoinFile>, IdentityError> {
        let Some(path) = &self.join_file else {
            return Ok(None);
        };
        let Some(bytes) = disk::read_whole(path)? else {
            return Ok(None);
        };
        let file: JoinFile =
            serde_json::from_slice(&bytes).map_err(|source| IdentityError::JoinForm {
                path: path.clone(),
                source,
            })?;
        if file.host != self.host {
            return Err(IdentityError::JoinAnotherHost {
                path: path.clone(),
                found: file.host,
                host: self.host.clone(),
            });
        }
        Ok(Some(file))
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Option<Identity>> {
        self.in_memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Durability;

    fn host() -> HostName {
        HostName::new("h1").unwrap()
    }

    fn store(folder: &std::path::Path) -> IdentityStore {
        let place = Place::Disk {
            folder: folder.join("state"),
            durability: Durability::Synced,
        };
        IdentityStore::new(host(), place, Some(folder.join("join.json")))
    }

    fn write_join(folder: &std::path::Path, host: &str, token: &str) {
        let text =
            format!(r#"{{"host":"{host}","token":"{token}","ca":"","operator":"127.0.0.1:1"}}"#);
        std::fs::write(folder.join("join.json"), text).unwrap();
    }

    /// A certificate of ten days, made now.
    fn identity(token: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        let day = Duration::from_secs(86_400);
        params.not_before = SystemTime::now().into();
        params.not_after = (SystemTime::now() + day * 10).into();
        let certificate = params.self_signed(&key).unwrap().pem();
        let digest = token_digest(&Secret(token.to_owned()));
        Identity::new(
            Secret(key.serialize_pem()),
            certificate,
            String::new(),
            digest,
        )
        .unwrap()
    }

    #[test]
    fn a_host_joins_once_and_again_when_it_is_given_another_token() {
        let folder = tempfile::tempdir().unwrap();
        let (store, now) = (store(folder.path()), SystemTime::now());
        assert!(matches!(
            store.look(now),
            Err(IdentityError::NoWayIn { .. })
        ));
        write_join(folder.path(), "h1", "t1");
        assert!(matches!(store.look(now), Ok(Standing::ToJoin(_))));
        let identity = identity("t1");
        store.keep(&identity).unwrap();
        match store.look(now).unwrap() {
            Standing::Joined(kept) => assert_eq!(kept, identity),
            Standing::ToJoin(file) => panic!("{file:?}"),
        }
        write_join(folder.path(), "h1", "t2");
        assert!(matches!(store.look(now), Ok(Standing::ToJoin(_))));
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_over_at_its_end() {
        let valid = identity("t1").valid;
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs((valid.from + seconds) as u64);
        let life = valid.until - valid.from;
        let wait = valid.until_renewal(at(0)).as_secs() as i64;
        assert!((wait - life * 2 / 3).abs() <= 1, "{wait} of {life}");
        assert_eq!(valid.until_renewal(at(life)), Duration::ZERO);
        assert!(!valid.is_over(at(life - 1)));
        assert!(valid.is_over(at(life)));
    }

    #[test]
    fn a_join_file_of_another_host_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_join(folder.path(), "h2", "t");
        let error = store(folder.path()).look(SystemTime::now()).unwrap_err();
        assert!(error.to_string().contains("that of host h2"), "{error}");
    }

    #[test]
    fn the_request_names_the_host_and_the_key_stays() {
        let fresh = make_key(&host()).unwrap();
        assert!(!fresh.csr_pem.contains("PRIVATE"));
        assert!(fresh.key_pem.0.contains("PRIVATE"));
        let (_, pem) = parse_x509_pem(fresh.csr_pem.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&pem.contents).into_owned();
        assert!(text.contains("h1"));
    }
}
