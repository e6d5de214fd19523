//! Counted things: bytes of volumes, MiB of memory, and the texts people write for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a text is not a size.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("size {0:?} is not a whole number with a unit: write for example 512Mi, 20Gi or 1350G")]
pub struct SizeError(pub String);

/// A number of bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Bytes(pub u64);

/// Memory of a guest or a host, in MiB.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct MiB(pub u64);

/// The units of Kubernetes quantities that make sense for whole bytes.
const UNITS: [(&str, u64); 10] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

impl FromStr for Bytes {
    type Err = SizeError;
    /// Reads `20Gi`, `1350G`, `4096`: a whole number and an optional unit. No fractions, no sign.
    fn from_str(text: &str) -> Result<Self, SizeError> {
        let error = || SizeError(text.to_owned());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let factor = match unit {
            "" => 1,
            unit => {
                UNITS
                    .iter()
                    .find(|(name, _)| *name == unit)
                    .ok_or_else(error)?
                    .1
            }
        };
        number.checked_mul(factor).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for Bytes {
    /// The largest unit that divides the number, so that the text reads back as the same value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, factor) in [UNITS[3], UNITS[2], UNITS[1], UNITS[7], UNITS[6], UNITS[0]] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{name}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1024 && self.0.is_multiple_of(1024) {
            write!(f, "{}Gi", self.0 / 1024)
        } else {
            write!(f, "{}Mi", self.0)
        }
    }
}

impl Bytes {
    /// Whole MiB, rounded down.
    #[must_use]
    pub fn to_mib(self) -> MiB {
        MiB(self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_whole_numbers_with_a_known_unit() {
        assert_eq!("1350G".parse(), Ok(Bytes(1_350_000_000_000)));
        assert_eq!("20Gi".parse(), Ok(Bytes(20 << 30)));
        for bad in [
            "",
            "Gi",
            "-1Gi",
            "1.5Gi",
            "1 Gi",
            "1gi",
            "99999999999P",
            "0x10",
        ] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(n in any::<u64>()) {
            prop_assert_eq!(Bytes(n).to_string().parse::<Bytes>(), Ok(Bytes(n)));
        }
    }
}
