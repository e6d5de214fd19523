//! Master keys: what the keys of volumes are wrapped by. They are files of the operator's own hosts, in
//! no store, each called by its id; the last one in the order of their ids wraps, all of them unwrap.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dc_operator_core::backup::password::RecoveryKey;
use dc_operator_core::backup::repository::RecoveryKeys;
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

    /// A key that nobody has had, for one volume.
    pub fn new_key(&self, volume: InstanceId) -> Result<VolumeKey, EncryptionFact> {
        let (id, master) = self.0.last_key_value().ok_or(EncryptionFact::NoMasterKey)?;
        let random = SystemRandom::new();
        let mut key = [0; KEY_BYTES];
        let mut nonce = [0; NONCE_LEN];
        random
            .fill(&mut key)
            .and_then(|()| random.fill(&mut nonce))
            .map_err(|_| EncryptionFact::NoMasterKey)?;
        let mut sealed = key.to_vec();
        cipher(master)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bound_to(volume)),
                &mut sealed,
            )
            .map_err(|_| EncryptionFact::NoMasterKey)?;
        Ok(VolumeKey {
            volume,
            master: id.clone(),
            nonce: hex::encode(nonce),
            wrapped: Secret(hex::encode(&sealed)),
            formatted: Formatted::Never,
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
    use std::collections::BTreeMap;
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
