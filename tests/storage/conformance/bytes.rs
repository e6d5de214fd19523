//! Bytes that do not repeat, and choices that can be made again.

/// SplitMix64: every seed gives another sequence, and the same one each time.
pub struct Random(u64);

impl Random {
    /// Seeded from the clock, or as `DC_SEED` says. The seed is told: a failure shows it.
    pub fn new(name: &str) -> Self {
        let seed = std::env::var("DC_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let clock = || {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| now.as_nanos() as u64)
        };
        let seed = seed.unwrap_or_else(clock);
        println!("{name}: DC_SEED={seed}");
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    pub fn bytes(&mut self, length: u64) -> Vec<u8> {
        // Whoever looks for what was written must not find a hole: no byte is zero.
        const NO_ZEROS: u64 = 0x0101_0101_0101_0101;
        let mut bytes = vec![0; length.next_multiple_of(8) as usize];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&(self.next() | NO_ZEROS).to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }
}

/// A block of most file systems.
const BLOCK: usize = 4096;

/// How many blocks of two arrays differ; the shorter one is zero beyond its end.
pub fn blocks_that_differ(a: &[u8], b: &[u8]) -> u64 {
    let block = |of: &[u8], start: usize| {
        let start = start.min(of.len());
        let mut block = of[start..(start + BLOCK).min(of.len())].to_vec();
        block.resize(BLOCK, 0);
        block
    };
    let starts = (0..a.len().max(b.len())).step_by(BLOCK);
    starts
        .filter(|&start| block(a, start) != block(b, start))
        .count() as u64
}

/// Whether every byte is this one. Compared as a whole: byte by byte, tests take longer over it than
/// over anything else.
pub fn all_are(bytes: &[u8], byte: u8) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == byte && *rest == bytes[..rest.len()],
    }
}

/// Compares without printing megabytes.
#[track_caller]
pub fn assert_same(is: &[u8], expected: &[u8], what: &str) {
    assert_eq!(is.len(), expected.len(), "{what}: length");
    if is != expected {
        let first = is.iter().zip(expected).position(|(a, b)| a != b);
        let blocks = blocks_that_differ(is, expected);
        panic!("{what}: {blocks} blocks differ, the first byte is {first:?}");
    }
}
