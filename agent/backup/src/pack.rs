//! A pack: some blobs in one file, and what the index says of it. Pure but for the encryption of
//! its header.
//!
//! ```text
//! blob … blob  header (encrypted: an entry for each blob)  length of the header, 4 bytes
//! ```

use rustic_core::Id;
use serde::Serialize;

use crate::cipher::{Cipher, Sealed, hash};
use crate::error::BackupError;

/// As restic's default: few enough files, and small enough to be held in memory whole. The blob that
/// reaches it goes in too, so a pack is at most a block larger.
pub const PACK: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    Data,
    Tree,
}

/// An index file: which blob is where.
#[derive(Debug, Serialize)]
pub struct IndexFile<'a> {
    pub packs: &'a [IndexedPack],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexedPack {
    pub id: Id,
    pub blobs: Vec<IndexedBlob>,
}

/// Offsets and lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexedBlob {
    pub id: Id,
    #[serde(rename = "type")]
    pub kind: BlobKind,
    pub offset: u32,
    pub length: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncompressed_length: Option<u32>,
}

/// A pack that is being filled; all its blobs are of one kind.
pub struct Pack {
    kind: BlobKind,
    bytes: Vec<u8>,
    blobs: Vec<IndexedBlob>,
}

/// A pack to be written under the name that the index has.
pub struct Packed {
    pub bytes: Vec<u8>,
    pub indexed: IndexedPack,
}

impl Pack {
    pub fn new(kind: BlobKind) -> Self {
        Self {
            kind,
            bytes: Vec::new(),
            blobs: Vec::new(),
        }
    }

    pub fn add(&mut self, sealed: &Sealed) -> Result<(), BackupError> {
        let small = |length: usize| {
            u32::try_from(length).map_err(|_| BackupError::Corrupt {
                what: "a pack".to_owned(),
                fault: format!("a blob or pack of {length} bytes does not fit the format"),
            })
        };
        self.blobs.push(IndexedBlob {
            id: sealed.id,
            kind: self.kind,
            offset: small(self.bytes.len())?,
            length: small(sealed.bytes.len())?,
            uncompressed_length: sealed.uncompressed,
        });
        self.bytes.extend_from_slice(&sealed.bytes);
        Ok(())
    }

    /// In bytes, without the header.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    pub fn finish(self, cipher: &Cipher) -> Result<Packed, BackupError> {
        let header: Vec<u8> = self.blobs.iter().flat_map(header_entry).collect();
        let header = cipher.encrypt(&header)?;
        let mut bytes = self.bytes;
        bytes.extend_from_slice(&header);
        // A pack has at most some thousands of blobs, so this is far below 4 GiB.
        let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        let indexed = IndexedPack {
            id: hash(&bytes),
            blobs: self.blobs,
        };
        Ok(Packed { bytes, indexed })
    }
}

/// Type, length, the length before compression if it was compressed, id.
fn header_entry(blob: &IndexedBlob) -> Vec<u8> {
    let plain = match blob.kind {
        BlobKind::Data => 0,
        BlobKind::Tree => 1,
    };
    let mut entry = Vec::with_capacity(41);
    match blob.uncompressed_length {
        None => {
            entry.push(plain);
            entry.extend_from_slice(&blob.length.to_le_bytes());
        }
        Some(uncompressed) => {
            entry.push(plain + 2);
            entry.extend_from_slice(&blob.length.to_le_bytes());
            entry.extend_from_slice(&uncompressed.to_le_bytes());
        }
    }
    // An id's hexadecimal is what it gives away of itself.
    entry.extend_from_slice(&hex::decode(blob.id.to_hex().as_str()).unwrap_or_default());
    entry
}

#[cfg(test)]
mod tests {
    use rustic_core::repofile::MasterKey;

    use super::*;

    #[test]
    fn a_pack_is_laid_out_as_the_format_says() {
        let cipher = Cipher::new(&MasterKey::new());
        let mut pack = Pack::new(BlobKind::Data);
        let zeros = cipher.seal(&[0; 5000], false).unwrap();
        let small = cipher.seal(&[7], false).unwrap();
        pack.add(&zeros).unwrap();
        pack.add(&small).unwrap();
        let Packed { bytes, indexed } = pack.finish(&cipher).unwrap();
        assert_eq!(indexed.id, hash(&bytes));

        let (rest, length) = bytes.split_at(bytes.len() - 4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (blobs, header) = rest.split_at(rest.len() - length);
        assert_eq!(blobs, [zeros.bytes.clone(), small.bytes.clone()].concat());
        let header = cipher.decrypt(header).unwrap();
        assert_eq!(header.len(), 41 + 37);
        assert_eq!((header[0], header[41]), (2, 0));
        assert_eq!(header[5..9], 5000_u32.to_le_bytes());
        assert_eq!(indexed.blobs[1].offset as usize, zeros.bytes.len());
    }
}
