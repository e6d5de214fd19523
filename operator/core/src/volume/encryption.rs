//! Volumes whose bytes are encrypted: what they may be, and their keys on the way to a host.
//!
//! The key is drawn and wrapped by the shell, and handed in; it is claimed in one transaction with its
//! volume and never made again. It leaves the ledger unwrapped in one place alone: the item of the
//! machine that has the volume. Which volume has its header is written beside the key, when the
//! machine's host has said so.

use std::collections::BTreeMap;

use dc_crds::volume::VolumeSpec;
use dc_types::claim::{Cipher, VolumeClaim, VolumeKey, keys};
use dc_types::plan::{Formatted, Luks, Secret};
use dc_types::report::{Detail, Observation};
use dc_types::size::SizeError;
use dc_types::{Bytes, Epoch, InstanceId};

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

/// Adds that the key goes, or the record of its destruction, when the volume's bytes are gone. What is
/// retained stays readable to whoever has the master key.
#[must_use]
pub fn forget_key(txn: Txn, claims: &Claims, claim: &VolumeClaim) -> Txn {
    let txn = match claims.destroyed.get(&claim.volume) {
        None => txn,
        Some(destroyed) => {
            let at = keys::destroyed(claim.volume);
            txn.unchanged(at.clone(), destroyed.revision).delete(at)
        }
    };
    match claims.keys.get(&claim.volume) {
        None => txn,
        Some(key) => {
            let at = keys::key(claim.volume);
            txn.unchanged(at.clone(), key.revision).delete(at)
        }
    }
}

/// How many keys each master key wraps, those included that the operator does not know.
#[must_use]
pub fn wrapped_by(claims: &Claims) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for key in claims.keys.values() {
        *counts.entry(key.value.master.clone()).or_default() += 1;
    }
    counts
}

/// Keys that are to be wrapped anew, at most `limit`: another master key than the `newest` wraps them,
/// and each `may` be.
pub fn outdated<'a>(
    claims: &'a Claims,
    newest: &str,
    may: impl Fn(&VolumeKey) -> bool,
    limit: usize,
) -> Vec<&'a Claimed<VolumeKey>> {
    let keys = claims.keys.values();
    let old = keys.filter(|key| key.value.master != newest && may(&key.value));
    old.take(limit).collect()
}

/// Puts the same key, wrapped anew, in the place of the entry that it was read from.
#[must_use]
pub fn rewrap(old: &Claimed<VolumeKey>, sealed: Sealed) -> Txn {
    let VolumeKey {
        volume,
        master,
        nonce: _,
        wrapped: _,
        formatted,
        former,
    } = &old.value;
    let at = keys::key(*volume);
    let former = former.iter().filter(|id| **id != sealed.master);
    let new = VolumeKey {
        volume: *volume,
        former: former.chain([master]).cloned().collect(),
        master: sealed.master,
        nonce: sealed.nonce,
        wrapped: sealed.wrapped,
        formatted: *formatted,
    };
    Txn::new(format!(
        "volume {volume}: its key is wrapped by {}",
        new.master
    ))
    .unchanged(at.clone(), old.revision)
    .put(at, &new)
}

/// A key wrapped by a master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub master: String,
    pub nonce: String,
    pub wrapped: Secret,
}

#[cfg(test)]
mod tests;
