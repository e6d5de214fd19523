//! Which blocks of a volume are read, which are kept from the backup before, and which are zero.
//! Pure: from the list of blobs of the backup before and the changed extents to a [`Plan`].
//!
//! What always holds: carried out, a plan gives the same list of blobs as reading everything, if
//! the extents that it was made from leave out no change. It reads whole blocks, so it reads at most
//! what changed, rounded up to blocks.

use dc_agent_core::storage::Extent;
use rustic_core::Id;

use crate::blocks;

/// A volume as the backup before holds it, cut on the same grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// In bytes.
    pub size: u64,
    /// One for each block.
    pub blobs: Vec<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In bytes.
    pub size: u64,
    /// In order, without gaps or overlaps; neighbours differ in what is done.
    pub runs: Vec<Run>,
}

/// Blocks with which the same is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub first: u64,
    /// Never 0.
    pub count: u64,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// As the backup before has it.
    Keep,
    Read,
    /// All zero, and known to be without reading.
    Zero,
}

/// `changed` is what differs from `before`, or all that may hold data when there is none. What lies
/// beyond the end of `before` and is not listed reads as zero: so a driver's list is meant.
/// `has` tells whether the repository still holds a blob.
#[must_use]
pub fn plan(
    size: u64,
    before: Option<&Before>,
    changed: &[Extent],
    has: impl Fn(&Id) -> bool,
) -> Plan {
    let mut plan = Plan {
        size,
        runs: Vec::new(),
    };
    let mut extents = dc_agent_core::storage::merge(changed.iter().copied())
        .into_iter()
        .map(|extent| blocks::touched(extent, size))
        .peekable();
    for block in 0..blocks::count(size) {
        while extents.next_if(|touched| touched.end <= block).is_some() {}
        let is_changed = extents.peek().is_some_and(|touched| touched.start <= block);
        let how = match is_changed {
            true => How::Read,
            false => unchanged(block, size, before, &has),
        };
        plan.push(block, how);
    }
    plan
}

fn unchanged(block: u64, size: u64, before: Option<&Before>, has: impl Fn(&Id) -> bool) -> How {
    let Some(before) = before else {
        return How::Zero;
    };
    let index = usize::try_from(block).unwrap_or(usize::MAX);
    match before.blobs.get(index) {
        None => How::Zero,
        // The last block of one of the two, which ends elsewhere in the other.
        Some(_) if blocks::extent(block, before.size) != blocks::extent(block, size) => How::Read,
        Some(blob) if has(blob) => How::Keep,
        Some(_) => How::Read,
    }
}

impl Plan {
    fn push(&mut self, block: u64, how: How) {
        match self.runs.last_mut() {
            Some(run) if run.how == how => run.count += 1,
            _ => self.runs.push(Run {
                first: block,
                count: 1,
                how,
            }),
        }
    }

    /// How many blocks are treated so.
    #[must_use]
    pub fn count(&self, how: How) -> u64 {
        let runs = self.runs.iter().filter(|run| run.how == how);
        runs.map(|run| run.count).sum()
    }

    /// The blocks that are read, in order.
    pub fn reads(&self) -> impl Iterator<Item = u64> + '_ {
        let reads = self.runs.iter().filter(|run| run.how == How::Read);
        reads.flat_map(|run| run.first..run.first + run.count)
    }

    /// The list of blobs, but for the blocks that are read, which are filled in later. `zero` gives
    /// the blob of so many zero bytes.
    pub(crate) fn outline(&self, before: Option<&Before>, zero: impl Fn(u64) -> Id) -> Vec<Id> {
        let mut blobs = Vec::with_capacity(usize::try_from(blocks::count(self.size)).unwrap_or(0));
        for run in &self.runs {
            for block in run.first..run.first + run.count {
                let kept = || Some(before?.blobs[usize::try_from(block).ok()?]);
                blobs.push(match run.how {
                    How::Keep => kept().unwrap_or_default(),
                    How::Read => Id::default(),
                    How::Zero => zero(blocks::extent(block, self.size).length),
                });
            }
        }
        blobs
    }
}

#[cfg(test)]
mod tests;
