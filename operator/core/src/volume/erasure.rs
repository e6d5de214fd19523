//! What is left of a volume that was erased: a certificate, made from what its storage host said.
//!
//! The host's words are put into the ledger in the same transaction that ends the release, so that
//! they are there as long as no certificate stands. The certificate's name comes from the volume's
//! uid: it is made once, however often it is tried.

use dc_crds::certificate::{ErasedBy, ErasureCertificateSpec, ErasureResult, Signature};
use dc_crds::{ERASE_ORDERED_BY, Volume};
use dc_types::claim::{DestroyedKey, ErasedVolume, MoveClaim, PendingRelease, VolumeClaim, keys};
use dc_types::plan::{Disposition, ItemKind};
use dc_types::report::{Erasure, Released};
use dc_types::{Bytes, InstanceId, ObjectRef};
use k8s_openapi::jiff::Timestamp;

use super::destruction::{self, all_compacted};
use crate::claims::Claims;
use crate::txn::Txn;

/// A certificate that is not signed yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsigned {
    pub name: String,
    /// With an empty signature.
    pub spec: ErasureCertificateSpec,
}

/// Whether a disposition ends with nothing to read.
#[must_use]
pub fn erases(disposition: Disposition) -> bool {
    match disposition {
        Disposition::EraseDiscard | Disposition::EraseZero | Disposition::EraseRandom => true,
        Disposition::Remove | Disposition::Retain => false,
    }
}

/// Adds what the host said of an erasure to the transaction that ends its release.
#[must_use]
pub fn note(txn: Txn, claims: &Claims, pending: &PendingRelease, released: &Released) -> Txn {
    let PendingRelease { host: _, release } = pending;
    if release.key.kind != ItemKind::Volume || !erases(release.disposition) {
        return txn;
    }
    let place = InstanceId(release.key.id);
    if claims.erased.contains_key(&place) {
        return txn;
    }
    let (how, said) = (release.disposition, released.erasure.as_ref());
    let erased = match (claims.volume_at(place), claims.second_at(place)) {
        (Some(claim), _) => record(&claim.value, how, said),
        (None, Some(second)) => record_left(&second.value, how, said),
        (None, None) => return txn,
    };
    txn.claim(keys::erased(place), &erased)
}

/// What is kept of an erasure; `erasure` is `None` when the host did not say how it went.
#[must_use]
pub fn record(claim: &VolumeClaim, method: Disposition, erasure: Option<&Erasure>) -> ErasedVolume {
    let VolumeClaim {
        volume,
        owner,
        pool,
        host,
        size,
        grows_from: _,
        restore: _,
        stored,
        restored: _,
        contents: _,
        cipher: _,
    } = claim;
    ErasedVolume {
        volume: *volume,
        owner: owner.clone(),
        pool: pool.clone(),
        host: host.clone(),
        size: *size,
        method,
        erasure: erasure.cloned(),
        stored: *stored,
    }
}

/// The same for a place that a move has left, or was taken back from.
#[must_use]
pub fn record_left(
    second: &MoveClaim,
    method: Disposition,
    erasure: Option<&Erasure>,
) -> ErasedVolume {
    let MoveClaim {
        volume,
        owner,
        place,
        pool,
        host,
        size,
        phase: _,
    } = second;
    ErasedVolume {
        volume: *volume,
        owner: owner.clone(),
        pool: pool.clone(),
        host: host.clone(),
        size: *size,
        method,
        erasure: erasure.cloned(),
        stored: (place != volume).then_some(*place),
    }
}

#[must_use]
pub fn certificate(
    erased: &ErasedVolume,
    volume: &Volume,
    destroyed: Option<&DestroyedKey>,
) -> Unsigned {
    let ErasedVolume {
        volume: id,
        owner,
        pool,
        host,
        size,
        method,
        erasure,
        stored: _,
    } = erased;
    let annotations = volume.metadata.annotations.as_ref();
    let deleted = volume.metadata.deletion_timestamp.as_ref();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let of = |pick: fn(&Erasure) -> u64| erasure.as_ref().map_or(0, |e| number(pick(e)));
    let at = |pick: fn(&Erasure) -> i64| {
        let second = erasure.as_ref().map(pick)?;
        Timestamp::from_second(second).ok().map(|at| at.to_string())
    };
    Unsigned {
        name: certificate_name(owner, erased.place()),
        spec: ErasureCertificateSpec {
            department: owner.namespace.clone(),
            system: volume.spec.system.clone(),
            volume: owner.name.clone(),
            volume_uid: owner.uid.to_string(),
            instance_id: id.to_string(),
            pool: pool.to_string(),
            host: host.to_string(),
            size: number(size.0),
            // What was done, where the host says so; else what it was told.
            method: match destroyed {
                Some(_) => ErasedBy::KeyDestruction,
                None => method_of(erasure.as_ref().map_or(*method, |erasure| erasure.method)),
            },
            key: destroyed.map(destruction::evidence),
            began_at: at(|e| e.began_at),
            ended_at: at(|e| e.ended_at),
            extents: of(|e| e.extents),
            bytes: of(|e| e.bytes.0),
            verified_bytes: of(|e| e.verified.0),
            result: result(*size, erasure.as_ref(), destroyed),
            ordered_by: annotations.and_then(|a| a.get(ERASE_ORDERED_BY)).cloned(),
            deleted_at: deleted.map(|at| at.0.to_string()),
            signature: Signature {
                algorithm: String::new(),
                key_id: String::new(),
                value: String::new(),
            },
        },
    }
}

/// A destroyed key is verified when all that was asked has answered: the ledger's members, and the host,
/// which has read back all blocks that held something.
fn result(
    size: Bytes,
    erasure: Option<&Erasure>,
    destroyed: Option<&DestroyedKey>,
) -> ErasureResult {
    let read_back = |least: Bytes| erasure.is_some_and(|erasure| erasure.verified >= least);
    let held = erasure.map_or(size, |erasure| erasure.bytes);
    match (destroyed, erasure) {
        (Some(key), _) if read_back(held) && all_compacted(key) => ErasureResult::Verified,
        (Some(_), _) => ErasureResult::PartlyVerified,
        (None, None) => ErasureResult::Unproven,
        (None, Some(_)) if read_back(size) => ErasureResult::Verified,
        (None, Some(_)) => ErasureResult::PartlyVerified,
    }
}

/// Department and volume for people, and the place of the bytes to be the only one: what is left
/// behind in each place of a volume has a certificate of its own.
#[must_use]
pub fn certificate_name(owner: &ObjectRef, place: InstanceId) -> String {
    format!("{}.{}.{place}", owner.namespace, owner.name)
}

fn method_of(disposition: Disposition) -> ErasedBy {
    match disposition {
        Disposition::EraseZero => ErasedBy::Zero,
        Disposition::EraseRandom => ErasedBy::Random,
        // The others are never recorded as an erasure.
        Disposition::EraseDiscard | Disposition::Remove | Disposition::Retain => ErasedBy::Discard,
    }
}

/// What is signed: the name, and the spec without its signature, as JSON with sorted keys and no
/// spaces.
#[must_use]
pub fn signed_text(name: &str, spec: &ErasureCertificateSpec) -> String {
    signed_json(name, spec)
}

/// The same of anything that is evidence and has a field `signature`.
#[must_use]
pub fn signed_json<T: serde::Serialize>(name: &str, evidence: &T) -> String {
    let value = serde_json::to_value(evidence);
    let mut value = value.expect("evidence is always representable as JSON");
    let fields = value.as_object_mut().expect("evidence is an object");
    fields.remove("signature");
    fields.insert("name".to_owned(), name.into());
    // Keys of serde_json's maps are sorted, unless a crate asks for their order to be kept.
    let sorted: std::collections::BTreeMap<_, _> = fields.iter().collect();
    serde_json::to_string(&sorted).expect("it was JSON before")
}
