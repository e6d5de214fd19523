//! Link-layer values: MAC addresses and VXLAN network ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::InstanceId;

/// Why a text is not a usable MAC address.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MacError {
    #[error("MAC address {0:?} is not six pairs of hexadecimal digits joined by ':'")]
    Form(String),
    #[error("MAC address {0:?} is a multicast address: a card's first byte must be even")]
    Multicast(String),
}

/// A unicast MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The MAC of card number `nic` of a machine: locally administered, the same for life, taken
    /// from a digest of the id so that a restored machine keeps it without a table.
    /// `attempt` counts how many of these were found taken.
    #[must_use]
    pub fn of_instance(id: InstanceId, nic: u32, attempt: u32) -> Self {
        let mut digest = Sha256::new();
        digest.update(id.0.as_bytes());
        digest.update(nic.to_be_bytes());
        digest.update(attempt.to_be_bytes());
        let d = digest.finalize();
        // 52:54:00 is what libvirt and QEMU use for guests; three bytes of digest follow.
        Self([0x52, 0x54, 0x00, d[0], d[1], d[2]])
    }

    /// The MAC of a subnet's gateway: the same on every host that carries the subnet.
    #[must_use]
    pub fn of_gateway(vni: Vni) -> Self {
        let b = vni.0.to_be_bytes();
        Self([0x02, 0xdc, 0x00, b[1], b[2], b[3]])
    }
}

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let form = || MacError::Form(text.to_owned());
        let mut out = [0u8; 6];
        let mut parts = text.split(':');
        for byte in &mut out {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(form)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| form())?;
        }
        if parts.next().is_some() {
            return Err(form());
        }
        if out[0] & 1 == 1 {
            return Err(MacError::Multicast(text.to_owned()));
        }
        Ok(Self(out))
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;
    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A VXLAN network id, 1 to 2^24-1 (RFC 7348).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vni(pub u32);

impl Vni {
    /// The lowest id given out; the ones below are left to people.
    pub const FIRST: Vni = Vni(4096);
    pub const LAST: Vni = Vni((1 << 24) - 1);
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_mac_reads_back_and_bad_ones_say_why() {
        let mac: Mac = "52:54:00:0a:0b:0c".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:0a:0b:0c");
        assert!(matches!(
            "52:54:00:0a:0b".parse::<Mac>(),
            Err(MacError::Form(_))
        ));
        assert!(matches!(
            "52:54:00:0a:0b:0c:0d".parse::<Mac>(),
            Err(MacError::Form(_))
        ));
        assert!(matches!(
            "01:00:5e:00:00:01".parse::<Mac>(),
            Err(MacError::Multicast(_))
        ));
    }

    #[test]
    fn the_mac_of_a_machine_is_the_same_for_life_and_differs_by_card_and_attempt() {
        let id = InstanceId(Uuid::from_u128(7));
        assert_eq!(Mac::of_instance(id, 0, 0), Mac::of_instance(id, 0, 0));
        assert_ne!(Mac::of_instance(id, 0, 0), Mac::of_instance(id, 1, 0));
        assert_ne!(Mac::of_instance(id, 0, 0), Mac::of_instance(id, 0, 1));
    }
}
