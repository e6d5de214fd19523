//! The key of a grant on a Ceph pool: made anew from the volume and the epoch whenever it is
//! needed, so that it is stored nowhere but in the cluster.
//!
//! A key of Ceph's is, in base64 (ceph.git, `CryptoKey::encode`, all of it little-endian):
//!
//! ```text
//! u16 kind (1: AES-128) · u32 and u32 when it was made, seconds and nanoseconds · u16 16 · 16 bytes
//! ```

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dc_types::plan::Secret;
use dc_types::{Epoch, InstanceId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const AES: u16 = 1;
const LENGTH: u16 = 16;

#[must_use]
pub fn cephx_key(ledger_key: &Secret, volume: InstanceId, epoch: Epoch) -> Secret {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(ledger_key.0.as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("cephx|{volume}|{epoch}").as_bytes());
    let digest = mac.finalize().into_bytes();
    let mut key = Vec::new();
    key.extend(AES.to_le_bytes());
    // When it was made says nothing: the same key is made at any time.
    key.extend(0_u64.to_le_bytes());
    key.extend(LENGTH.to_le_bytes());
    key.extend(digest.iter().take(LENGTH.into()));
    Secret(BASE64_STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_epoch_of_each_volume_has_a_key_of_its_own_that_can_be_made_again() {
        let key = Secret("k".into());
        let epoch = |revision| Epoch {
            incarnation: 1,
            revision,
        };
        let a = InstanceId(Uuid::from_u128(1));
        let b = InstanceId(Uuid::from_u128(2));
        let made = cephx_key(&key, a, epoch(5));
        assert_eq!(made, cephx_key(&key, a, epoch(5)));
        assert_ne!(made, cephx_key(&key, a, epoch(6)));
        assert_ne!(made, cephx_key(&key, b, epoch(5)));
        assert_ne!(made, cephx_key(&Secret("l".into()), a, epoch(5)));
    }

    #[test]
    fn it_has_the_form_that_ceph_reads() {
        let volume = InstanceId(Uuid::from_u128(1));
        let made = cephx_key(&Secret("k".into()), volume, Epoch::default());
        let bytes = BASE64_STANDARD.decode(&made.0).unwrap();
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[..12], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0]);
        // As every key of a keyring begins.
        assert!(made.0.starts_with("AQ"), "it has another kind");
    }
}
