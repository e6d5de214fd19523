//! How bytes become what a repository keeps: compressed with zstd, encrypted with AES-256-CTR, signed
//! with Poly1305-AES, and named by their SHA-256, as restic's design document says. What is made is
//! taken apart again before it is written: a bit that flips in memory is found while the source is
//! still there.

use aes256ctr_poly1305aes::aead::{Aead, AeadInPlace, Nonce};
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key};
use rand::Rng;
use rustic_core::Id;
use rustic_core::repofile::MasterKey;
use sha2::{Digest, Sha256};

use crate::error::BackupError;

const NONCE: usize = 16;

/// What encryption adds: the nonce before, the signature after.
pub const OVERHEAD: usize = NONCE + 16;

/// As restic's "auto": level 3 of zstd, its default.
const LEVEL: i32 = 3;

/// What begins a compressed file that is in no pack.
const COMPRESSED: u8 = 2;

#[derive(Clone)]
pub struct Cipher(Key);

/// A blob as a pack holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct Sealed {
    pub id: Id,
    pub bytes: Vec<u8>,
    /// Of what was compressed; `None` when it is stored as it is.
    pub uncompressed: Option<u32>,
}

pub fn hash(bytes: &[u8]) -> Id {
    Id::new(Sha256::digest(bytes).into())
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| unsealable(error.to_string()))
}

fn unsealable(fault: String) -> BackupError {
    BackupError::Corrupt {
        what: "what was to be written".to_owned(),
        fault,
    }
}

impl Cipher {
    pub fn new(key: &MasterKey) -> Self {
        let parts = [&key.encrypt[..], &key.mac.k, &key.mac.r].concat();
        let mut bytes = Key::default();
        // A repository's key has 32, 16 and 16 bytes: rustic_core has opened the config with it.
        let length = parts.len().min(bytes.len());
        bytes[..length].copy_from_slice(&parts[..length]);
        Self(bytes)
    }

    /// Encrypts and signs.
    pub fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, BackupError> {
        let mut nonce = [0; NONCE];
        rand::rng().fill_bytes(&mut nonce);
        let mut bytes = Vec::with_capacity(plain.len() + OVERHEAD);
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(plain);
        let aead = Aes256CtrPoly1305Aes::new(&self.0);
        let tag = aead
            .encrypt_in_place_detached(&nonce.into(), &[], &mut bytes[NONCE..])
            .map_err(|error| unsealable(error.to_string()))?;
        bytes.extend_from_slice(&tag);
        Ok(bytes)
    }

    /// Checks and decrypts; `None` when it was not made with this key or has changed since.
    pub fn decrypt(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = bytes.split_at_checked(NONCE)?;
        let nonce = Nonce::<Aes256CtrPoly1305Aes>::from_slice(nonce);
        Aes256CtrPoly1305Aes::new(&self.0).decrypt(nonce, rest).ok()
    }

    /// A blob for a pack. A tree is always compressed, data where it helps.
    pub fn seal(&self, plain: &[u8], always_compress: bool) -> Result<Sealed, BackupError> {
        let id = hash(plain);
        let compressed = compress(plain)?;
        let helps = always_compress || compressed.len() < plain.len();
        let (stored, uncompressed) = match helps {
            true => (&compressed[..], u32::try_from(plain.len()).ok()),
            false => (plain, None),
        };
        let bytes = self.encrypt(stored)?;
        let opened = self.unseal(&bytes, uncompressed);
        if opened.as_deref().map(hash) != Some(id) {
            return Err(unsealable(
                "it does not come out as it went in; look at the host's memory".to_owned(),
            ));
        }
        Ok(Sealed {
            id,
            bytes,
            uncompressed,
        })
    }

    /// A blob as it was before it went into a pack; `None` when it is not of this key, or damaged.
    pub fn unseal(&self, bytes: &[u8], uncompressed: Option<u32>) -> Option<Vec<u8>> {
        let stored = self.decrypt(bytes)?;
        match uncompressed {
            None => Some(stored),
            Some(length) => zstd::bulk::decompress(&stored, usize::try_from(length).ok()?).ok(),
        }
    }

    /// A file that is in no pack: an index, a snapshot, a lock. With its name.
    pub fn seal_file(&self, json: &[u8]) -> Result<(Id, Vec<u8>), BackupError> {
        let plain = [&[COMPRESSED][..], &compress(json)?].concat();
        let bytes = self.encrypt(&plain)?;
        match self.open_file(&bytes) {
            Some(opened) if opened == json => Ok((hash(&bytes), bytes)),
            _ => Err(unsealable("it does not come out as it went in".to_owned())),
        }
    }

    /// `None` when it is not of this key, or no such file.
    pub fn open_file(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let plain = self.decrypt(bytes)?;
        match plain.split_first() {
            Some((&COMPRESSED, rest)) => zstd::stream::decode_all(rest).ok(),
            Some((b'{' | b'[', _)) => Some(plain),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_alone() {
        let (cipher, other) = (
            Cipher::new(&MasterKey::new()),
            Cipher::new(&MasterKey::new()),
        );
        let (id, bytes) = cipher.seal_file(br#"{"a":1}"#).unwrap();
        assert_eq!(id, hash(&bytes));
        assert_eq!(cipher.open_file(&bytes).unwrap(), br#"{"a":1}"#);
        assert_eq!(other.open_file(&bytes), None);
        let mut changed = bytes.clone();
        changed[20] ^= 1;
        assert_eq!(cipher.open_file(&changed), None);
        assert_eq!(cipher.open_file(&bytes[..10]), None);
    }

    #[test]
    fn data_is_compressed_where_it_helps_and_a_tree_always() {
        let cipher = Cipher::new(&MasterKey::new());
        let zeros = cipher.seal(&[0; 4096], false).unwrap();
        assert_eq!(zeros.uncompressed, Some(4096));
        assert!(zeros.bytes.len() < 100);
        let mut noise = vec![0; 4096];
        rand::rng().fill_bytes(&mut noise);
        let data = cipher.seal(&noise, false).unwrap();
        assert_eq!(data.uncompressed, None);
        assert_eq!(data.bytes.len(), 4096 + OVERHEAD);
        let tree = cipher.seal(&noise, true).unwrap();
        assert_eq!((tree.id, tree.uncompressed), (data.id, Some(4096)));
    }
}
