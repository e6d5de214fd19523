//! Master keys: what the keys of volumes are wrapped by. They are files of the operator's own hosts, in
//! no store, each called by its id; the last one in the order of their ids wraps, all of them unwrap.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dc_operator_core::backup::password::RecoveryKey;
use dc_operator_core::backup::repository::RecoveryKeys;
use dc_operator_core::volume::encryption::Sealed;
use dc_operator_core::words::EncryptionFact;
use dc_types::InstanceId;
use dc_types::claim::VolumeKey;
use dc_types::plan::{Formatted, Secret};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::recovery::{self, RecoveryError};

/// Of a volume's key.
const KEY_BYTES: usize = 32;

#[derive(Debug, Error)]
pub enum MasterError {
    #[error("the master keys cannot be read")]
    Read(#[from] RecoveryError),
    #[error(
        "{} can be read by others than its owner; take that right away, as by `chmod 0400`", .path.display()
    )]
    Open { path: PathBuf },
    #[error("{} cannot be looked at", .path.display())]
    Look {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Master keys by their id. Their Debug form shows the ids alone.
#[derive(Clone, Debug, Default)]
pub struct MasterKeys(RecoveryKeys);

/// Every key of a folder, which its owner alone may read.
pub fn read(folder: &Path) -> Result<MasterKeys, MasterError> {
    let keys = recovery::read(folder)?;
    for id in keys.keys() {
        let path = folder.join(id);
        let found = fs::metadata(&path).map_err(|source| MasterError::Look {
            path: path.clone(),
            source,
        })?;
        if found.permissions().mode() & 0o077 != 0 {
            return Err(MasterError::Open { path });
        }
    }
    Ok(MasterKeys(keys))
}

impl MasterKeys {
    #[must_use]
    pub fn new(keys: RecoveryKeys) -> Self {
        Self(keys)
    }

    /// The id of the one that wraps.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.0.last_key_value().map(|(id, _)| id.as_str())
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// A key that nobody has had, for one volume.
    pub fn new_key(&self, volume: InstanceId) -> Result<VolumeKey, EncryptionFact> {
        let mut key = [0; KEY_BYTES];
        SystemRandom::new()
            .fill(&mut key)
            .map_err(|_| EncryptionFact::NoMasterKey)?;
        let Sealed {
            master,
            nonce,
            wrapped,
        } = self.seal(volume, &key)?;
        Ok(VolumeKey {
            volume,
            master,
            nonce,
            wrapped,
            formatted: Formatted::Never,
            former: Vec::new(),
        })
    }

    /// The same key under the newest master key. It was opened again before it is given out; `name` is
    /// the volume's, for words.
    pub fn rewrap(&self, key: &VolumeKey, name: &str) -> Result<Sealed, EncryptionFact> {
        let opened = self.open(key, name)?;
        let unreadable = || EncryptionFact::KeyUnreadable {
            volume: name.to_owned(),
            id: key.master.clone(),
        };
        let bytes = hex::decode(&opened.0).map_err(|_| unreadable())?;
        let sealed = self.seal(key.volume, &bytes)?;
        let new = VolumeKey {
            master: sealed.master.clone(),
            nonce: sealed.nonce.clone(),
            wrapped: sealed.wrapped.clone(),
            ..key.clone()
        };
        match self.open(&new, name)? == opened {
            true => Ok(sealed),
            false => Err(unreadable()),
        }
    }

    fn seal(&self, volume: InstanceId, key: &[u8]) -> Result<Sealed, EncryptionFact> {
        let (id, master) = self.0.last_key_value().ok_or(EncryptionFact::NoMasterKey)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new()
            .fill(&mut nonce)
            .map_err(|_| EncryptionFact::NoMasterKey)?;
        let mut sealed = key.to_vec();
        cipher(master)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(volume)),
                &mut sealed,
            )
            .map_err(|_| EncryptionFact::NoMasterKey)?;
        Ok(Sealed {
            master: id.clone(),
            nonce: hex::encode(nonce),
            wrapped: Secret(hex::encode(&sealed)),
        })
    }

    /// The key of a volume, 64 hexadecimal digits; `name` is the volume's, for words.
    pub fn open(&self, key: &VolumeKey, name: &str) -> Result<Secret, EncryptionFact> {
        let VolumeKey {
            volume,
            master: id,
            nonce,
            wrapped,
            formatted: _,
            former: _,
        } = key;
        let Some(master) = self.0.get(id) else {
            return Err(EncryptionFact::MasterKeyUnknown {
                volume: name.to_owned(),
                id: id.clone(),
            });
        };
        let unreadable = || EncryptionFact::KeyUnreadable {
            volume: name.to_owned(),
            id: id.clone(),
        };
        let nonce = hex::decode(nonce).ok();
        let nonce = nonce.and_then(|nonce| nonce.try_into().ok());
        let (nonce, mut sealed) = nonce
            .zip(hex::decode(&wrapped.0).ok())
            .ok_or_else(unreadable)?;
        let opened = cipher(master)
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(*volume)),
                &mut sealed,
            )
            .map_err(|_| unreadable())?;
        match opened.len() == KEY_BYTES {
            true => Ok(Secret(hex::encode(opened))),
            false => Err(unreadable()),
        }
    }
}

/// Which master keys wrap how many keys, for whoever wants to take one away.
#[must_use]
pub fn report(counts: &BTreeMap<String, u64>, known: &MasterKeys) -> String {
    let mut ids: BTreeSet<&str> = counts.keys().map(String::as_str).collect();
    ids.extend(known.ids());
    let mut lines = Vec::new();
    for id in ids {
        let count = counts.get(id).copied().unwrap_or_default();
        let keys = match count {
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        };
        let says = match (known.knows(id), known.newest() == Some(id), count) {
            (true, true, _) => "the newest: it wraps new keys",
            (true, false, 0) => "may be retired: it wraps nothing",
            (true, false, _) => "must stay: an operator that leads is wrapping these keys anew",
            (false, _, _) => "NOT IN THE FOLDER: without it these volumes cannot be opened",
        };
        lines.push(format!("{id}: {keys}; {says}"));
    }
    match lines.is_empty() {
        true => "There is no master key and no wrapped key.".to_owned(),
        false => lines.join("\n"),
    }
}

/// What a wrapped key is bound to, so that it does not open as another volume's.
fn bound_to(volume: InstanceId) -> String {
    format!("volume {volume}")
}

fn cipher(master: &RecoveryKey) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, &master.wrapping_key());
    LessSafeKey::new(key.expect("32 bytes are the length of such a key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_operator_core::claims::Claimed;
    use dc_operator_core::txn::{Guard, Write};
    use dc_operator_core::volume::encryption;
    use dc_types::Epoch;
    use uuid::Uuid;

    fn masters(of: &[(&str, u8)]) -> MasterKeys {
        let key = |seed: u8| RecoveryKey::new([seed; 32]);
        let keys: BTreeMap<String, RecoveryKey> = of
            .iter()
            .map(|(id, seed)| ((*id).to_owned(), key(*seed)))
            .collect();
        MasterKeys(keys)
    }

    fn volume(n: u128) -> InstanceId {
        InstanceId(Uuid::from_u128(n))
    }

    #[test]
    fn a_key_is_wrapped_by_the_last_master_key_and_opens_under_its_own_volume_alone() {
        let both = masters(&[("2026a", 1), ("2027", 2)]);
        let key = both.new_key(volume(7)).unwrap();
        assert_eq!(
            (key.master.as_str(), key.formatted),
            ("2027", Formatted::Never)
        );
        let opened = both.open(&key, "data").unwrap();
        assert_eq!(opened.0.len(), 64);
        assert!(!key.wrapped.0.contains(&opened.0));
        assert_ne!(both.new_key(volume(7)).unwrap().wrapped, key.wrapped);
        let moved = VolumeKey {
            volume: volume(8),
            ..key.clone()
        };
        let unreadable = Err(EncryptionFact::KeyUnreadable {
            volume: "data".into(),
            id: "2027".into(),
        });
        assert_eq!(both.open(&moved, "data"), unreadable);
        for wrapped in ["", "zz", &key.wrapped.0[2..], &"0".repeat(96), "é0"] {
            let broken = VolumeKey {
                wrapped: Secret(wrapped.into()),
                ..key.clone()
            };
            assert_eq!(both.open(&broken, "data"), unreadable, "{wrapped}");
        }
        assert_eq!(masters(&[("2027", 3)]).open(&key, "data"), unreadable);
    }

    #[test]
    fn an_operator_without_the_master_key_says_which() {
        let old = masters(&[("2026a", 1)]);
        let key = old.new_key(volume(7)).unwrap();
        let later = masters(&[("2026a", 1), ("2027", 2)]);
        assert_eq!(later.open(&key, "data"), old.open(&key, "data"));
        let unknown = EncryptionFact::MasterKeyUnknown {
            volume: "data".into(),
            id: "2026a".into(),
        };
        assert_eq!(masters(&[("2027", 2)]).open(&key, "data"), Err(unknown));
        let none = MasterKeys::default();
        assert_eq!(none.new_key(volume(7)), Err(EncryptionFact::NoMasterKey));
    }

    #[test]
    fn a_key_that_is_wrapped_anew_stays_the_same_and_is_written_over_what_was_read_alone() {
        let old = masters(&[("2026a", 1)]);
        let both = masters(&[("2026a", 1), ("2027", 2)]);
        let key = VolumeKey {
            formatted: Formatted::Done,
            ..old.new_key(volume(7)).unwrap()
        };
        let opened = old.open(&key, "data").unwrap();
        let read = Claimed {
            value: key.clone(),
            revision: 5,
            epoch: Epoch::default(),
        };
        let txn = encryption::rewrap(&read, both.rewrap(&key, "data").unwrap());
        let at = dc_types::claim::keys::key(volume(7));
        let guard = Guard::Unchanged {
            key: at.clone(),
            revision: 5,
        };
        assert_eq!(txn.guards, [guard]);
        let [
            Write::Put {
                key: written,
                value,
            },
        ] = &txn.writes[..]
        else {
            panic!("{txn:?}");
        };
        assert_eq!(*written, at);
        let new: VolumeKey = serde_json::from_str(value).unwrap();
        assert_eq!(
            (new.master.as_str(), &*new.former),
            ("2027", &["2026a".to_owned()][..])
        );
        assert_eq!((new.formatted, new.volume), (key.formatted, key.volume));
        // By the newest alone, so that the older one may go.
        assert_eq!(masters(&[("2027", 2)]).open(&new, "data"), Ok(opened));
        let unknown = EncryptionFact::MasterKeyUnknown {
            volume: "data".into(),
            id: "2026a".into(),
        };
        assert_eq!(masters(&[("2027", 2)]).rewrap(&key, "data"), Err(unknown));
        let wrong = masters(&[("2026a", 3), ("2027", 2)]);
        let unreadable = EncryptionFact::KeyUnreadable {
            volume: "data".into(),
            id: "2026a".into(),
        };
        assert_eq!(wrong.rewrap(&key, "data"), Err(unreadable));
    }

    #[test]
    fn a_master_key_that_wraps_nothing_any_more_may_be_retired_and_one_that_is_missing_is_told() {
        let both = masters(&[("2026a", 1), ("2027", 2)]);
        let counts = |of: &[(&str, u64)]| {
            let counts = of.iter().map(|(id, n)| ((*id).to_owned(), *n));
            report(&counts.collect(), &both)
        };
        assert_eq!(
            counts(&[("2027", 3)]),
            "2026a: 0 keys; may be retired: it wraps nothing\n2027: 3 keys; the newest: it wraps new keys"
        );
        let told = counts(&[("2025", 1), ("2026a", 2)]);
        assert!(told.starts_with("2025: 1 key; NOT IN THE FOLDER"), "{told}");
        assert!(told.contains("2026a: 2 keys; must stay"), "{told}");
    }

    #[test]
    fn a_folder_that_others_may_read_from_is_refused_and_nothing_shows_a_key() {
        let folder = std::env::temp_dir().join(format!("master-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        let key = recovery::new().unwrap();
        let path = folder.join("2026a");
        fs::write(&path, key.printed()).unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o440);
        assert!(matches!(read(&folder), Err(MasterError::Open { .. })));
        mode(0o400);
        let keys = read(&folder).unwrap();
        let shown = format!("{keys:?} {:?}", keys.new_key(volume(1)).unwrap());
        for part in key.printed().split(' ').take(16) {
            assert!(!shown.contains(&format!("{part}\"")), "{shown}");
        }
        assert!(shown.contains("Secret(96 bytes)"), "{shown}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
