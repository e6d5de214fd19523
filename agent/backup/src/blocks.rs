//! The grid on which volumes are cut: blocks of one size, from the volume's first byte on.

use std::ops::Range;

use dc_agent_core::storage::Extent;

/// 4 MiB. Every snapshot of a volume lists all its blocks, 67 bytes each, and every blob costs the
/// index some 190 bytes, which each run reads: at 4 MiB a TiB costs a snapshot 18 MB and the index
/// 50 MB; at 1 MiB four times as much. A larger one would read more for the same change. It is also
/// within what restic's own chunker makes (512 KiB to 8 MiB), so other readers' buffers hold it.
pub const BLOCK: u64 = 4 << 20;

/// How many blocks a volume of `size` bytes has; the last may be shorter.
#[must_use]
pub fn count(size: u64) -> u64 {
    size.div_ceil(BLOCK)
}

/// The bytes of a block of a volume of `size` bytes.
#[must_use]
pub fn extent(block: u64, size: u64) -> Extent {
    let start = block.saturating_mul(BLOCK).min(size);
    Extent::new(start, (size - start).min(BLOCK))
}

/// The blocks that an extent touches, within a volume of `size` bytes.
#[must_use]
pub fn touched(extent: Extent, size: u64) -> Range<u64> {
    if extent.length == 0 || extent.start >= size {
        return 0..0;
    }
    extent.start / BLOCK..count(extent.end().min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_may_be_shorter() {
        let size = 2 * BLOCK + 5;
        assert_eq!(count(size), 3);
        assert_eq!(extent(1, size), Extent::new(BLOCK, BLOCK));
        assert_eq!(extent(2, size), Extent::new(2 * BLOCK, 5));
        assert_eq!(count(0), 0);
    }

    #[test]
    fn an_extent_touches_the_blocks_of_its_first_and_last_byte() {
        let size = 4 * BLOCK;
        assert_eq!(touched(Extent::new(BLOCK - 1, 2), size), 0..2);
        assert_eq!(touched(Extent::new(BLOCK, BLOCK), size), 1..2);
        assert_eq!(touched(Extent::new(3 * BLOCK, u64::MAX), size), 3..4);
        assert!(touched(Extent::new(size, 1), size).is_empty());
        assert!(touched(Extent::new(BLOCK, 0), size).is_empty());
    }
}
