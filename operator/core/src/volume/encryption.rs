//! Volumes whose bytes are encrypted: what they may be, and their keys on the way to a host.
//!
//! The key is drawn and wrapped by the shell, and handed in; it is claimed in one transaction with its
//! volume and never made again. It leaves the ledger unwrapped in one place alone: the item of the
//! machine that has the volume. Which volume has its header is written beside the key, when the
//! machine's host has said so.

use dc_crds::volume::VolumeSpec;
use dc_types::claim::{Cipher, VolumeClaim, VolumeKey, keys};
use dc_types::plan::{Formatted, Luks, Secret};
use dc_types::report::{Detail, Observation, PoolPlace};
use dc_types::size::SizeError;
use dc_types::{Bytes, Epoch, InstanceId};

use super::PoolSeen;
use crate::claims::{Claimed, Claims};
use crate::txn::Txn;
use crate::words::{EncryptionFact, Fact};

/// A key that nobody has had, wrapped for one volume.
pub type NewKeyOf<'a> = &'a dyn Fn(InstanceId) -> Result<VolumeKey, EncryptionFact>;

/// The key that is wrapped. The second one is the volume's name, for words.
pub type OpenKeyOf<'a> = &'a dyn Fn(&VolumeKey, &str) -> Result<Secret, EncryptionFact>;

#[must_use]
pub fn cipher(spec: &VolumeSpec) -> Cipher {
    match spec.encrypted {
        true => Cipher::Luks,
        false => Cipher::Plain,
    }
}

/// How much of its pool a volume takes: what its guest is to see, and the header.
pub fn whole_size(spec: &VolumeSpec) -> Result<Bytes, SizeError> {
    let asked: Bytes = spec.size.parse()?;
    Ok(Bytes(asked.0.saturating_add(cipher(spec).header().0)))
}

/// Whether a new volume may be encrypted in a pool.
pub(super) fn may_lie_in(spec: &VolumeSpec, pool: &PoolSeen<'_>) -> Result<(), Fact> {
    let place = pool.facts.map(|facts| &facts.place);
    match place {
        Some(PoolPlace::Rbd(_)) if spec.encrypted => {
            Err(Fact::Encryption(EncryptionFact::PoolCannotEncrypt {
                pool: spec.pool.clone(),
            }))
        }
        _ => Ok(()),
    }
}

/// Refuses a volume whose bytes open by its own key alone as what another one is made from.
pub(super) fn may_be_source(
    claims: &Claims,
    volume: InstanceId,
    name: &str,
) -> Result<(), EncryptionFact> {
    let claim = claims.volumes.get(&volume);
    match claim.is_none_or(|claim| claim.value.cipher.is_plain()) {
        true => Ok(()),
        false => Err(EncryptionFact::SourceEncrypted {
            source: name.to_owned(),
        }),
    }
}

/// Adds the key of a volume that is claimed for the first time.
pub(super) fn claim_key(txn: Txn, claim: &VolumeClaim, new: NewKeyOf<'_>) -> Result<Txn, Fact> {
    match claim.cipher {
        Cipher::Plain => Ok(txn),
        Cipher::Luks => {
            let key = new(claim.volume).map_err(Fact::Encryption)?;
            Ok(txn.claim(keys::key(claim.volume), &key))
        }
    }
}

/// What a claimed volume lacks: its key, which nobody makes again.
#[must_use]
pub(super) fn missing_key(claims: &Claims, claim: &VolumeClaim) -> Option<Fact> {
    let lost = !claim.cipher.is_plain() && !claims.keys.contains_key(&claim.volume);
    lost.then(|| {
        Fact::Encryption(EncryptionFact::KeyMissing {
            volume: claim.owner.name.clone(),
        })
    })
}

/// How a machine's host opens a volume. Without a key it does not start the machine, and goes on with
/// one that runs; why there is none is told beside.
#[must_use]
pub fn luks(
    claims: &Claims,
    claim: &VolumeClaim,
    open: OpenKeyOf<'_>,
) -> (Option<Luks>, Option<EncryptionFact>) {
    if claim.cipher.is_plain() {
        return (None, None);
    }
    let volume = &claim.owner.name;
    let key = claims.keys.get(&claim.volume);
    let opened = match key {
        None => Err(EncryptionFact::KeyMissing {
            volume: volume.clone(),
        }),
        Some(key) => open(&key.value, volume),
    };
    let formatted = key.map_or(Formatted::Never, |key| key.value.formatted);
    match opened {
        Ok(key) => (
            Some(Luks {
                key: Some(key),
                formatted,
            }),
            None,
        ),
        Err(fact) => (
            Some(Luks {
                key: None,
                formatted,
            }),
            Some(fact),
        ),
    }
}

/// Writes down which of a machine's volumes have their header, as its host has said under the epoch of
/// the machine's claim.
#[must_use]
pub fn formatted(
    txn: Txn,
    claims: &Claims,
    volumes: &[InstanceId],
    (epoch, said): (Epoch, Option<&Observation>),
) -> Option<Txn> {
    let said = said.filter(|said| said.epoch == epoch)?;
    let Detail::Vm { formatted, .. } = &said.detail else {
        return None;
    };
    let is_new = |key: &&Claimed<VolumeKey>| {
        let key = &key.value;
        key.formatted == Formatted::Never
            && formatted.contains(&key.volume)
            && volumes.contains(&key.volume)
    };
    let new: Vec<&Claimed<VolumeKey>> = formatted
        .iter()
        .filter_map(|volume| claims.keys.get(volume))
        .filter(is_new)
        .collect();
    if new.is_empty() {
        return None;
    }
    let txn = new.into_iter().fold(txn, |txn, key| {
        let at = keys::key(key.value.volume);
        let done = VolumeKey {
            formatted: Formatted::Done,
            ..key.value.clone()
        };
        txn.unchanged(at.clone(), key.revision).put(at, &done)
    });
    Some(txn)
}

/// Adds that the key goes, when the volume's bytes are gone. What is retained stays readable to whoever
/// has the master key.
#[must_use]
pub fn forget_key(txn: Txn, claims: &Claims, claim: &VolumeClaim) -> Txn {
    match claims.keys.get(&claim.volume) {
        None => txn,
        Some(key) => {
            let at = keys::key(claim.volume);
            txn.unchanged(at.clone(), key.revision).delete(at)
        }
    }
}

#[cfg(test)]
mod tests;
