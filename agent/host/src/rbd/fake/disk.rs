//! The bytes of a fake image: blocks that hold something.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::Bytes;

use crate::rbd::Difference;

const BLOCK: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    size: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    pub fn of(size: Bytes) -> Self {
        Self {
            size: size.0,
            blocks: BTreeMap::new(),
        }
    }

    /// What is zero takes no place.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut disk = Self::of(Bytes(bytes.len() as u64));
        for (at, block) in (0..).zip(bytes.chunks(BLOCK as usize)) {
            if block.iter().any(|&byte| byte != 0) {
                disk.write(at * BLOCK, block);
            }
        }
        disk
    }

    pub fn size(&self) -> Bytes {
        Bytes(self.size)
    }

    pub fn used(&self) -> Bytes {
        Bytes(self.blocks.len() as u64 * BLOCK)
    }

    pub fn resize(&mut self, size: Bytes) {
        self.size = size.0;
        self.blocks.retain(|&at, _| at < size.0);
    }

    pub fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let places = offset..offset + length as u64;
        places.map(|at| self.byte(at)).collect()
    }

    fn byte(&self, at: u64) -> u8 {
        let block = self.blocks.get(&(at / BLOCK * BLOCK));
        let byte = block.and_then(|block| block.get((at % BLOCK) as usize));
        byte.copied().unwrap_or_default()
    }

    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let block = self.blocks.entry(at / BLOCK * BLOCK);
            block.or_insert_with(|| vec![0; BLOCK as usize])[(at % BLOCK) as usize] = *byte;
        }
    }

    /// Gives whole blocks back, and overwrites parts of others.
    pub fn discard(&mut self, offset: u64, length: usize) {
        self.write(offset, &vec![0; length]);
        let end = offset + length as u64;
        self.blocks.retain(|&at, _| at < offset || at + BLOCK > end);
    }

    pub fn differences(&self, newer: &Self) -> Vec<Difference> {
        let places: BTreeSet<&u64> = self.blocks.keys().chain(newer.blocks.keys()).collect();
        let differ = places
            .into_iter()
            .filter(|at| self.blocks.get(at) != newer.blocks.get(at));
        differ
            .map(|&offset| Difference {
                offset,
                length: BLOCK,
            })
            .collect()
    }
}
