//! Ranges of bytes: what two snapshots differ in, found from where their blocks lie.
//!
//! ```text
//! from   ████AAAA....BBBB    A block that lies in the same place in both holds the same bytes.
//! to     ████CCCC....        Everything else may differ: data that moved, came or went.
//!            ^^^^    ^^^^
//! ```
//! What always holds: a changed byte is never missed. A byte that did not change may be called
//! changed; that costs a copy, and nothing else.

use serde::{Deserialize, Serialize};

/// A range of bytes of a volume. Neither `start` nor `end` passes 8 EiB, so that sums fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// In bytes.
    pub start: u64,
    /// In bytes; never 0 in a list that a driver gives.
    pub length: u64,
}

impl Extent {
    #[must_use]
    pub fn new(start: u64, length: u64) -> Self {
        Self { start, length }
    }

    /// The first byte after it.
    #[must_use]
    pub fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// Where a file system keeps a range of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    pub logical: Extent,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// From this byte of the device on. Equal places hold equal bytes for as long as both files
    /// are there.
    At(u64),
    /// It cannot be told: not written out yet, packed, or kept with something else.
    Unknown,
}

/// Sorted, with neither gaps of nothing nor overlaps: ranges that touch become one.
#[must_use]
pub fn merge(extents: impl IntoIterator<Item = Extent>) -> Vec<Extent> {
    let mut sorted: Vec<Extent> = extents.into_iter().filter(|e| e.length > 0).collect();
    sorted.sort_unstable();
    let mut merged: Vec<Extent> = Vec::new();
    for extent in sorted {
        match merged.last_mut() {
            Some(last) if extent.start <= last.end() => {
                last.length = last.end().max(extent.end()) - last.start;
            }
            _ => merged.push(extent),
        }
    }
    merged
}

/// What of sorted extents lies below `size`.
#[must_use]
pub fn clip(extents: Vec<Extent>, size: u64) -> Vec<Extent> {
    let within = extents.into_iter().filter(|extent| extent.start < size);
    within
        .map(|extent| Extent::new(extent.start, extent.end().min(size) - extent.start))
        .collect()
}

/// How many bytes they hold together; they must not overlap.
#[must_use]
pub fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.length).sum()
}

/// Cut into pieces of at most `most` bytes, in order, so that each can be read at once.
pub fn pieces(extents: &[Extent], most: u64) -> impl Iterator<Item = Extent> + '_ {
    let most = most.max(1);
    extents.iter().flat_map(move |extent| {
        let count = extent.length.div_ceil(most);
        (0..count).map(move |at| {
            let start = extent.start + at * most;
            Extent::new(start, most.min(extent.end() - start))
        })
    })
}

/// What may differ between two maps of the same device, below `size` bytes: merged and in order.
/// Both lists are in order and do not overlap, as a file system gives them.
#[must_use]
pub fn changed(from: &[Mapped], to: &[Mapped], size: u64) -> Vec<Extent> {
    let mut differing = Vec::new();
    // Every place where either side begins or ends something: between two of them, each side is
    // one thing throughout.
    let mut edges: Vec<u64> = from
        .iter()
        .chain(to)
        .flat_map(|mapped| [mapped.logical.start, mapped.logical.end()])
        .collect();
    edges.sort_unstable();
    edges.dedup();
    let (mut old, mut new) = (Cursor::of(from), Cursor::of(to));
    for pair in edges.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        if differs(old.at(start), new.at(start)) {
            differing.push(Extent::new(start, end - start));
        }
    }
    clip(merge(differing), size)
}

/// Whether bytes in these places may differ; `None` is a hole.
fn differs(old: Option<Place>, new: Option<Place>) -> bool {
    match (old, new) {
        (None, None) => false,
        (Some(Place::At(old)), Some(Place::At(new))) => old != new,
        (Some(_), _) | (_, Some(_)) => true,
    }
}

/// Goes over a map once, from left to right.
struct Cursor<'a> {
    rest: &'a [Mapped],
}

impl<'a> Cursor<'a> {
    fn of(map: &'a [Mapped]) -> Self {
        Self { rest: map }
    }

    /// Where byte `at` lies; `at` never falls from call to call.
    fn at(&mut self, at: u64) -> Option<Place> {
        while let Some((first, rest)) = self.rest.split_first()
            && first.logical.end() <= at
        {
            self.rest = rest;
        }
        let first = self.rest.first()?;
        let offset = at.checked_sub(first.logical.start)?;
        Some(match first.place {
            Place::At(place) => Place::At(place.saturating_add(offset)),
            Place::Unknown => Place::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mapped(start: u64, length: u64, at: u64) -> Mapped {
        Mapped {
            logical: Extent::new(start, length),
            place: Place::At(at),
        }
    }

    #[test]
    fn what_moved_came_or_went_has_changed_and_what_stayed_has_not() {
        let from = [mapped(0, 8, 100), mapped(12, 4, 300)];
        let to = [mapped(0, 4, 100), mapped(4, 4, 200)];
        let differs = changed(&from, &to, 16);
        assert_eq!(differs, [Extent::new(4, 4), Extent::new(12, 4)]);
        assert_eq!(changed(&from, &from, 16), []);
    }

    #[test]
    fn one_extent_that_is_two_now_has_not_changed_where_its_halves_lie_as_before() {
        let whole = [mapped(0, 8, 100)];
        let halves = [mapped(0, 4, 100), mapped(4, 4, 104)];
        assert_eq!(changed(&whole, &halves, 8), []);
    }

    #[test]
    fn what_cannot_be_told_has_changed_also_when_it_looks_the_same() {
        let unknown = [Mapped {
            logical: Extent::new(0, 4),
            place: Place::Unknown,
        }];
        assert_eq!(changed(&unknown, &unknown, 4), [Extent::new(0, 4)]);
    }

    #[test]
    fn nothing_past_the_end_is_given() {
        let to = [mapped(0, 8, 100)];
        assert_eq!(changed(&[], &to, 5), [Extent::new(0, 5)]);
        assert_eq!(changed(&[], &to, 0), []);
    }

    #[test]
    fn pieces_are_no_longer_than_asked_and_leave_nothing_out() {
        let whole = [Extent::new(10, 5), Extent::new(100, 8)];
        let cut: Vec<Extent> = pieces(&whole, 4).collect();
        let expected = [(10, 4), (14, 1), (100, 4), (104, 4)];
        assert_eq!(
            cut,
            expected.map(|(start, length)| Extent::new(start, length))
        );
        assert_eq!(merge(cut), whole);
    }

    /// A file of blocks, each a hole, in a place, or somewhere that cannot be told.
    fn file() -> impl Strategy<Value = Vec<Option<Place>>> {
        let block = prop_oneof![
            Just(None),
            (0u64..6).prop_map(|place| Some(Place::At(place * 10))),
            Just(Some(Place::Unknown)),
        ];
        prop::collection::vec(block, 0..12)
    }

    /// As a file system tells it: neighbours in neighbouring places are one extent, or not.
    fn map(blocks: &[Option<Place>], joins: bool) -> Vec<Mapped> {
        let mut map: Vec<Mapped> = Vec::new();
        for (at, place) in blocks.iter().enumerate() {
            let Some(place) = *place else { continue };
            let start = at as u64 * 10;
            let follows = map.last().is_some_and(|last| {
                let next = match last.place {
                    Place::At(place) => Place::At(place + last.logical.length),
                    Place::Unknown => Place::Unknown,
                };
                joins && last.logical.end() == start && next == place
            });
            match map.last_mut().filter(|_| follows) {
                Some(last) => last.logical.length += 10,
                None => map.push(Mapped {
                    logical: Extent::new(start, 10),
                    place,
                }),
            }
        }
        map
    }

    proptest! {
        #[test]
        fn exactly_the_bytes_that_may_differ_are_given(
            from in file(), to in file(), joins in any::<[bool; 2]>(), size in 0u64..130
        ) {
            let given = changed(&map(&from, joins[0]), &map(&to, joins[1]), size);
            for byte in 0..130 {
                let at = |file: &[Option<Place>]| {
                    file.get(byte as usize / 10).copied().flatten()
                };
                let (old, new) = (at(&from), at(&to));
                let may = byte < size
                    && (old != new || old == Some(Place::Unknown));
                let is = given.iter().any(|e| e.start <= byte && byte < e.end());
                prop_assert_eq!(is, may, "byte {} of {:?}", byte, given);
            }
            for pair in given.windows(2) {
                prop_assert!(pair[0].end() < pair[1].start, "{:?}", given);
            }
        }
    }
}
