//! Sizes as people read them.

use dc_types::MiB;

/// Bytes in the largest binary unit that leaves a whole number, with one digit after the point.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut whole = bytes;
    let mut rest = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        rest = whole % 1024;
        whole /= 1024;
        unit += 1;
    }
    match rest * 10 / 1024 {
        0 => format!("{whole} {}", UNITS[unit]),
        tenth => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

/// Memory, in the same way.
#[must_use]
pub fn human_memory(memory: MiB) -> String {
    human(memory.0.saturating_mul(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_the_largest_unit_and_one_digit_after_the_point() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(300 << 40), "300 TiB");
        assert_eq!(human_memory(MiB(261_632)), "255.5 GiB");
        assert_eq!(human_memory(MiB(64)), "64 MiB");
    }
}
