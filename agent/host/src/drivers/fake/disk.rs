//! The bytes of a fake volume: blocks that are there, shared between clones as a file system does.

use std::collections::BTreeMap;
use std::sync::Arc;

use dc_agent_core::storage::{Extent, clip, merge};
use dc_types::Bytes;

/// As of most file systems.
const BLOCK: u64 = 4096;

/// Sparse bytes; a clone shares every block until one of them is written.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub size: u64,
    blocks: BTreeMap<u64, Arc<[u8]>>,
}

impl Disk {
    pub fn of(size: Bytes) -> Self {
        Self {
            size: size.0,
            blocks: BTreeMap::new(),
        }
    }

    pub fn read(&self, extent: Extent) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(extent.length).unwrap_or(usize::MAX)];
        for (at, block) in self.blocks.range(extent.start / BLOCK..) {
            let start = at * BLOCK;
            if start >= extent.end() {
                break;
            }
            let (from, to) = (start.max(extent.start), (start + BLOCK).min(extent.end()));
            let within = |at: u64, of: u64| (at - of) as usize;
            bytes[within(from, extent.start)..within(to, extent.start)]
                .copy_from_slice(&block[within(from, start)..within(to, start)]);
        }
        bytes
    }

    pub fn write(&mut self, start: u64, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let at = start + done as u64;
            let offset = (at % BLOCK) as usize;
            let take = (BLOCK as usize - offset).min(bytes.len() - done);
            let old = self.blocks.get(&(at / BLOCK));
            let mut block = old.map_or_else(|| vec![0; BLOCK as usize], |old| old.to_vec());
            block[offset..offset + take].copy_from_slice(&bytes[done..done + take]);
            self.blocks.insert(at / BLOCK, block.into());
            done += take;
        }
    }

    /// Whole blocks are given back, and what is left of the others is zero.
    pub fn discard(&mut self, extent: Extent) {
        let first = extent.start / BLOCK;
        let touched: Vec<u64> = self
            .blocks
            .range(first..extent.end().div_ceil(BLOCK))
            .map(|(at, _)| *at)
            .collect();
        for at in touched {
            let start = (at * BLOCK).max(extent.start);
            let end = ((at + 1) * BLOCK).min(extent.end());
            if end - start == BLOCK {
                self.blocks.remove(&at);
            } else {
                self.write(start, &vec![0; (end - start) as usize]);
            }
        }
    }

    pub fn allocated(&self) -> u64 {
        self.blocks.len() as u64 * BLOCK
    }

    /// Blocks that are there.
    pub fn held(&self) -> Vec<Extent> {
        let held = self.blocks.keys().map(|at| Extent::new(at * BLOCK, BLOCK));
        clip(merge(held), self.size)
    }

    /// Blocks that are not shared with `older`.
    pub fn changed_since(&self, older: &Self) -> Vec<Extent> {
        let is_shared = |at: &u64| match (self.blocks.get(at), older.blocks.get(at)) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            _ => false,
        };
        let either = self.blocks.keys().chain(older.blocks.keys());
        let changed = either.filter(|at| !is_shared(at));
        let extents = changed.map(|at| Extent::new(at * BLOCK, BLOCK));
        clip(merge(extents), self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_had_and_what_differs_is_found() {
        let mut disk = Disk::of(Bytes(1 << 20));
        disk.write(4000, &[7; 200]);
        let mut clone = disk.clone();
        assert_eq!(clone.changed_since(&disk), []);
        clone.write(4100, &[8]);
        clone.discard(Extent::new(0, 4096));
        assert_eq!(clone.changed_since(&disk), [Extent::new(0, 8192)]);
        assert_eq!(disk.read(Extent::new(4090, 12)), [7; 12]);
        assert_eq!(clone.read(Extent::new(4094, 8)), [0, 0, 7, 7, 7, 7, 8, 7]);
        assert_eq!(clone.held(), [Extent::new(4096, 4096)]);
    }
}
