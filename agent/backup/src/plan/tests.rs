//! The plan against a volume of small numbers: block `b` of a volume holds the number `bytes[b]`
//! in its first byte, and the blob of a block is that number and the block's length.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::blocks::BLOCK;

/// A volume: the number that each block holds, and how long the last block is.
#[derive(Debug, Clone)]
struct Volume {
    numbers: Vec<u8>,
    last: u64,
}

impl Volume {
    fn size(&self) -> u64 {
        (self.numbers.len() as u64 - 1) * BLOCK + self.last
    }

    fn blob(&self, block: u64) -> Id {
        let number = self.numbers[usize::try_from(block).unwrap()];
        blob(number, blocks::extent(block, self.size()).length)
    }

    fn read_fully(&self) -> Vec<Id> {
        let all = 0..self.numbers.len() as u64;
        all.map(|block| self.blob(block)).collect()
    }
}

fn blob(number: u8, length: u64) -> Id {
    let mut bytes = [number; 32];
    bytes[..8].copy_from_slice(&length.to_le_bytes());
    Id::new(bytes)
}

fn carry_out(plan: &Plan, now: &Volume, before: Option<&Before>) -> Vec<Id> {
    let mut blobs = plan.outline(before, |length| blob(0, length));
    for block in plan.reads() {
        blobs[usize::try_from(block).unwrap()] = now.blob(block);
    }
    blobs
}

fn volume() -> impl Strategy<Value = Volume> {
    let numbers = prop::collection::vec(0..4_u8, 1..24);
    (numbers, prop_oneof![Just(BLOCK), 1..BLOCK])
        .prop_map(|(numbers, last)| Volume { numbers, last })
}

/// What a driver gives: every block that differs, or that is beyond the end of the older one and
/// holds something; and now and then one that does not differ.
fn changed(before: Option<&Volume>, now: &Volume, extra: &BTreeSet<u64>) -> Vec<Extent> {
    let all = 0..now.numbers.len() as u64;
    all.filter(|block| {
        let index = usize::try_from(*block).unwrap();
        let old = before.and_then(|before| before.numbers.get(index));
        extra.contains(block) || *old.unwrap_or(&0) != now.numbers[index]
    })
    .map(|block| Extent::new(block * BLOCK, 1))
    .collect()
}

proptest! {
    #[test]
    fn a_plan_gives_what_a_full_read_gives(
        old in prop::option::of(volume()),
        now in volume(),
        extra in prop::collection::btree_set(0..24_u64, 0..4),
        lost in prop::collection::vec(0..4_u8, 0..2),
    ) {
        let before = old.as_ref().map(|old| Before { size: old.size(), blobs: old.read_fully() });
        let changed = changed(old.as_ref(), &now, &extra);
        let has = |id: &Id| !lost.iter().any(|n| id.to_hex().as_str().ends_with(&format!("{n:02x}")));
        let plan = plan(now.size(), before.as_ref(), &changed, has);
        prop_assert_eq!(carry_out(&plan, &now, before.as_ref()), now.read_fully());
        let blocks: u64 = plan.runs.iter().map(|run| run.count).sum();
        prop_assert_eq!(blocks, blocks::count(now.size()));
        prop_assert!(plan.runs.windows(2).all(|two| two[0].how != two[1].how
            && two[0].first + two[0].count == two[1].first));
    }

    #[test]
    fn nothing_is_read_that_did_not_change(now in volume(), extra in prop::collection::btree_set(0..24_u64, 0..4)) {
        let before = Before { size: now.size(), blobs: now.read_fully() };
        let changed = changed(Some(&now), &now, &extra);
        let plan = plan(now.size(), Some(&before), &changed, |_| true);
        let inside = extra.iter().filter(|block| **block < blocks::count(now.size())).count();
        prop_assert_eq!(plan.count(How::Read), inside as u64);
        prop_assert_eq!(plan.count(How::Zero), 0);
    }
}

#[test]
fn an_empty_volume_has_an_empty_plan() {
    assert!(plan(0, None, &[], |_| true).runs.is_empty());
}

#[test]
fn a_volume_that_grew_reads_the_block_that_was_its_last_and_takes_the_rest_as_zero() {
    let now = Volume {
        numbers: vec![1, 2, 0, 0],
        last: BLOCK,
    };
    let before = Before {
        size: BLOCK + 7,
        blobs: vec![blob(1, BLOCK), blob(2, 7)],
    };
    let plan = plan(now.size(), Some(&before), &[], |_| true);
    let hows: Vec<_> = plan.runs.iter().map(|run| (run.count, run.how)).collect();
    assert_eq!(hows, [(1, How::Keep), (1, How::Read), (2, How::Zero)]);
    assert_eq!(carry_out(&plan, &now, Some(&before)), now.read_fully());
}
