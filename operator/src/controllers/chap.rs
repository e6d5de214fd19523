//! The login of a grant: made anew from the volume and the epoch whenever it is needed, so that it
//! is stored nowhere.

use dc_types::plan::{Chap, Secret};
use dc_types::{Epoch, InstanceId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// RFC 7143 asks for at least 12 bytes; initiators of some arrays take no more than 16 bytes of
/// hexadecimal, ours and QEMU's do.
const LENGTH: usize = 24;

#[must_use]
pub fn chap(ledger_key: &Secret, volume: InstanceId, epoch: Epoch) -> Chap {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(ledger_key.0.as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("chap|{volume}|{epoch}").as_bytes());
    let digest = mac.finalize().into_bytes();
    let mut secret: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    secret.truncate(LENGTH);
    Chap {
        // A target daemon keeps one secret for each user, whatever the target.
        user: format!("{volume}.{epoch}"),
        secret: Secret(secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn each_epoch_of_each_volume_has_a_login_of_its_own_that_can_be_made_again() {
        let key = Secret("k".into());
        let epoch = |revision| Epoch {
            incarnation: 1,
            revision,
        };
        let a = InstanceId(Uuid::from_u128(1));
        let b = InstanceId(Uuid::from_u128(2));
        assert_eq!(chap(&key, a, epoch(5)), chap(&key, a, epoch(5)));
        assert_ne!(chap(&key, a, epoch(5)), chap(&key, a, epoch(6)));
        assert_ne!(chap(&key, a, epoch(5)).user, chap(&key, a, epoch(6)).user);
        assert_ne!(chap(&key, a, epoch(5)), chap(&key, b, epoch(5)));
        assert_ne!(
            chap(&key, a, epoch(5)),
            chap(&Secret("l".into()), a, epoch(5))
        );
        assert_eq!(chap(&key, a, epoch(5)).secret.0.len(), LENGTH);
    }
}
