//! The password of a department's repository: made from the recovery key whenever it is needed, and
//! stored nowhere. Whoever has the key on paper has every password, without the control plane.

use std::fmt;

use dc_types::plan::Secret;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Names the use, so that the same key can serve another one and give nothing of this away.
const SALT: &[u8] = b"dc.sonla.gov.vn/backup/v1";

/// The same of a master key.
const WRAPPING_SALT: &[u8] = b"dc.sonla.gov.vn/volume-key/v1";

/// Hexadecimal digits of the check at the end of a printed key: one typing error in 65536 is not
/// noticed, and then no repository opens.
const CHECK: usize = 4;

/// A recovery key, or a master key of volumes: 32 bytes by chance.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryKey([u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecoveryKeyError {
    #[error("a recovery key is 68 hexadecimal digits; blanks do not matter")]
    Form,
    #[error("the last four digits do not fit the others: one of them is misread")]
    Check,
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey")
    }
}

impl RecoveryKey {
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As it is printed: 17 groups of four hexadecimal digits, of which the last one checks the
    /// others. Blanks and the size of letters do not matter.
    pub fn read(text: &str) -> Result<Self, RecoveryKeyError> {
        let digits: String = text.split_whitespace().collect();
        let digits = digits.to_ascii_lowercase();
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !plain || digits.len() != 64 + CHECK {
            return Err(RecoveryKeyError::Form);
        }
        let mut key = [0; 32];
        for (at, byte) in key.iter_mut().enumerate() {
            let pair = &digits[2 * at..2 * at + 2];
            *byte = u8::from_str_radix(pair, 16).map_err(|_| RecoveryKeyError::Form)?;
        }
        let key = Self(key);
        match key.check() == digits[64..] {
            true => Ok(key),
            false => Err(RecoveryKeyError::Check),
        }
    }

    /// The form for paper, and for the operator's folder.
    #[must_use]
    pub fn printed(&self) -> String {
        let digits = hex(&self.0) + &self.check();
        let groups = digits.as_bytes().chunks(4);
        let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
        groups.collect::<Vec<_>>().join(" ")
    }

    /// The key of 256 bits by which the keys of volumes are wrapped, where this is a master key: one of
    /// another use than [`password`](Self::password), so that neither gives anything of the other away.
    #[must_use]
    pub fn wrapping_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(WRAPPING_SALT), &self.0)
            .expand(b"aes-256-gcm", &mut key)
            .expect("32 bytes are not too many for HKDF-SHA256");
        key
    }

    fn check(&self) -> String {
        hex(&Sha256::digest(self.0))[..CHECK].to_owned()
    }

    /// The password of a department's repository: 64 hexadecimal digits, of
    /// HKDF-SHA256 (RFC 5869) with the salt above and `<repository>/<department>` as info. Neither
    /// name can hold a '/'.
    #[must_use]
    pub fn password(&self, repository: &str, department: &str) -> Secret {
        let mut password = [0; 32];
        let info = format!("{repository}/{department}");
        Hkdf::<Sha256>::new(Some(SALT), &self.0)
            .expand(info.as_bytes(), &mut password)
            .expect("32 bytes are not too many for HKDF-SHA256");
        Secret(hex(&password))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> RecoveryKey {
        RecoveryKey::new(std::array::from_fn(|at| at as u8))
    }

    #[test]
    fn a_printed_key_is_read_again_and_a_misread_one_is_found() {
        let printed = key().printed();
        assert_eq!(printed.split(' ').count(), 17);
        assert_eq!(RecoveryKey::read(&printed), Ok(key()));
        let shouted = printed.to_uppercase().replace(' ', "\n");
        assert_eq!(RecoveryKey::read(&shouted), Ok(key()));
        for at in 0..printed.len() {
            let mut misread = printed.clone().into_bytes();
            match misread[at] {
                b' ' => continue,
                b'0' => misread[at] = b'1',
                _ => misread[at] = b'0',
            }
            let misread = String::from_utf8(misread).unwrap();
            assert_eq!(RecoveryKey::read(&misread), Err(RecoveryKeyError::Check));
        }
        for text in ["", "0001", &printed[5..], &format!("{printed} 0000")] {
            assert_eq!(RecoveryKey::read(text), Err(RecoveryKeyError::Form));
        }
    }

    #[test]
    fn a_password_is_of_one_key_one_repository_and_one_department() {
        let password = |key: &RecoveryKey, repository, department| {
            let Secret(password) = key.password(repository, department);
            password
        };
        let first = password(&key(), "main", "so-nnmt");
        assert_eq!(first, password(&key(), "main", "so-nnmt"));
        assert_eq!(first.len(), 64);
        assert_ne!(first, password(&key(), "main", "so-khcn"));
        assert_ne!(first, password(&key(), "second", "so-nnmt"));
        assert_ne!(
            first,
            password(&RecoveryKey::new([9; 32]), "main", "so-nnmt")
        );
        assert_eq!(format!("{:?}", key()), "RecoveryKey");
    }

    /// Written down: whoever has the paper must come to the same password in ten years. Made with
    /// Python's hmac, by the steps of RFC 5869.
    #[test]
    fn the_password_of_a_known_key_stays_what_it_is() {
        let Secret(password) = key().password("main", "so-nnmt");
        assert_eq!(
            password,
            "83f706e3c23426a86663f7b75c60a8d64de0c3ba49f221f71dabb911cad36b95"
        );
    }
}
