//! A volume that is erased by the destruction of its key, from the order to the certificate.
//!
//! ```text
//! no machine has it ─▶ key deleted, recorded ─▶ each member of the ledger asked ─▶ closed
//!                      (one transaction)        (again and again)                  │
//!                            certificate ◀─ blocks discarded, as by Discard ◀──────┘
//! ```
//! What always holds: no block is discarded before the key is gone and the record is closed; the record
//! is closed when every member has said that it has no revision from before, or when those that did not
//! were waited for long enough, and then the certificate names them; what a member has said once is kept.
//! It is kept in the ledger, so whoever leads goes on where another one died.
//!
//! Compacting the ledger and asking its members is the shell's: see [`Reading`]. Neither does anything
//! to snapshots of the ledger that were made before, nor to the logs and freed pages of its members.

use std::collections::BTreeMap;

use dc_crds::certificate::KeyEvidence;
use dc_crds::volume::{EraseMethod, Reclaim, VolumeSpec};
use dc_types::InstanceId;
use dc_types::claim::{DestroyedKey, MemberSaid, VolumeClaim, VolumeKey, keys};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::Seen;
use crate::claims::{Claimed, Claims};
use crate::plan::Plan;
use crate::txn::Txn;
use crate::words::{EncryptionFact, Fact};

/// What was read for it.
#[derive(Clone, Copy)]
pub struct DestructionSeen<'a> {
    pub now: Timestamp,
    /// How long a member that does not answer is waited for.
    pub patience: SignedDuration,
    /// The last one of this term.
    pub reading: Option<&'a Reading>,
}

/// The ledger was compacted at a revision, and each of its members was read before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub incarnation: u64,
    pub revision: u64,
    /// By the member's name and id: that it has nothing from before the revision, or why that is not
    /// known. `Err` when nobody could say who the members are.
    pub members: Result<BTreeMap<String, Result<(), String>>, String>,
}

/// Whether the key of a volume is to be destroyed when it is deleted.
#[must_use]
pub fn is_asked(spec: &VolumeSpec) -> bool {
    (spec.reclaim, spec.erase_method) == (Reclaim::Erase, EraseMethod::KeyDestruction)
}

/// Refuses it of a volume that has no key.
pub(super) fn may_be_asked(spec: &VolumeSpec) -> Result<(), Fact> {
    match is_asked(spec) && !spec.encrypted {
        true => Err(Fact::Encryption(EncryptionFact::NotEncrypted)),
        false => Ok(()),
    }
}

/// What comes before the blocks of a deleted volume are released, which nobody has opened any more.
/// `None`: nothing does.
pub(super) fn plan(seen: &Seen<'_>, claim: &Claimed<VolumeClaim>) -> Option<Plan> {
    let id = claim.value.volume;
    if let Some(destroyed) = seen.claims.destroyed.get(&id) {
        return go_on(seen, destroyed);
    }
    if !is_asked(&seen.volume.spec) {
        return None;
    }
    if claim.value.cipher.is_plain() {
        return Some(Plan::found(Fact::Encryption(EncryptionFact::NotEncrypted)));
    }
    Some(match seen.claims.keys.get(&id) {
        None => Plan::found(Fact::Encryption(EncryptionFact::NoKeyToDestroy)),
        Some(key) => Plan::claim(destroy(seen, claim, key)),
    })
}

fn destroy(seen: &Seen<'_>, claim: &Claimed<VolumeClaim>, key: &Claimed<VolumeKey>) -> Txn {
    let id = claim.value.volume;
    let VolumeKey {
        volume: _,
        master,
        nonce: _,
        wrapped: _,
        formatted: _,
        former,
    } = &key.value;
    let destroyed = DestroyedKey {
        volume: id,
        masters: former.iter().chain([master]).cloned().collect(),
        at: seen.destruction.now.as_second(),
        incarnation: seen.claims.incarnation,
        revision: None,
        members: BTreeMap::new(),
        closed: false,
    };
    Txn::new(format!("volume {}: destroy its key", seen.me))
        .unchanged(keys::volume(id), claim.revision)
        .absent(keys::attach(claim.value.place()))
        .unchanged(keys::key(id), key.revision)
        .delete(keys::key(id))
        .claim(keys::destroyed(id), &destroyed)
}

fn go_on(seen: &Seen<'_>, destroyed: &Claimed<DestroyedKey>) -> Option<Plan> {
    let old = &destroyed.value;
    if old.closed {
        return None;
    }
    let put = |new: &DestroyedKey, what: &str| {
        let key = keys::destroyed(old.volume);
        Plan::claim(
            Txn::new(format!("volume {}: {what}", seen.me))
                .unchanged(key.clone(), destroyed.revision)
                .put(key, new),
        )
    };
    if old.incarnation != seen.claims.incarnation {
        // The ledger was rebuilt, maybe in another store: its revisions are others. All that is before
        // this writing is asked for anew.
        let anew = DestroyedKey {
            incarnation: seen.claims.incarnation,
            revision: None,
            members: BTreeMap::new(),
            ..old.clone()
        };
        return Some(put(
            &anew,
            "its key is destroyed, in a ledger that was rebuilt",
        ));
    }
    let new = heard(destroyed, seen.destruction);
    Some(match new == *old {
        false => put(&new, "what the ledger's members say of its destroyed key"),
        true => Plan::found(waits(&new, seen.destruction)),
    })
}

/// What is known after the last reading.
fn heard(destroyed: &Claimed<DestroyedKey>, seen: DestructionSeen<'_>) -> DestroyedKey {
    let mut new = destroyed.value.clone();
    let revision = revision_of(destroyed);
    let serves =
        |reading: &&Reading| reading.incarnation == new.incarnation && reading.revision >= revision;
    let Some(reading) = seen.reading.filter(serves) else {
        return new;
    };
    for (member, said) in reading.members.iter().flatten() {
        let known = new.members.entry(member.clone());
        let known = known.or_insert(MemberSaid::Silent);
        if said.is_ok() {
            *known = MemberSaid::Compacted;
        }
    }
    new.closed = all_compacted(&new) || seen.now >= until(&new, seen.patience);
    if new.closed || !new.members.is_empty() {
        new.revision = Some(revision);
    }
    new
}

/// Everything from before this revision is to be gone.
#[must_use]
pub fn revision_of(destroyed: &Claimed<DestroyedKey>) -> u64 {
    destroyed.value.revision.unwrap_or(destroyed.revision)
}

/// Whether every member has said that it has nothing from before.
#[must_use]
pub fn all_compacted(destroyed: &DestroyedKey) -> bool {
    let mut said = destroyed.members.values();
    !destroyed.members.is_empty() && said.all(|said| *said == MemberSaid::Compacted)
}

/// The revision at which the ledger is to be compacted, and the volumes that wait for it.
#[must_use]
pub fn unread(claims: &Claims) -> Option<(u64, Vec<InstanceId>)> {
    let of_now = |destroyed: &&Claimed<DestroyedKey>| {
        !destroyed.value.closed && destroyed.value.incarnation == claims.incarnation
    };
    let waiting: Vec<_> = claims.destroyed.values().filter(of_now).collect();
    let revision = waiting
        .iter()
        .map(|destroyed| revision_of(destroyed))
        .max()?;
    let volumes = waiting.iter().map(|destroyed| destroyed.value.volume);
    Some((revision, volumes.collect()))
}

fn until(destroyed: &DestroyedKey, patience: SignedDuration) -> Timestamp {
    let at = Timestamp::from_second(destroyed.at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.checked_add(patience).unwrap_or(Timestamp::MAX)
}

fn waits(destroyed: &DestroyedKey, seen: DestructionSeen<'_>) -> Fact {
    let silent = |(member, said): (&String, &MemberSaid)| {
        if *said == MemberSaid::Compacted {
            return None;
        }
        let members = seen.reading?.members.as_ref().ok()?;
        let why = members.get(member)?.as_ref().err()?;
        Some(format!("{member}: {why}"))
    };
    let unasked = seen
        .reading
        .and_then(|reading| reading.members.as_ref().err());
    let silent = destroyed.members.iter().filter_map(silent);
    Fact::Encryption(EncryptionFact::KeyBeingDestroyed {
        silent: silent.chain(unasked.cloned()).collect(),
        until: until(destroyed, seen.patience).to_string(),
    })
}

/// What the certificate says of it.
#[must_use]
pub fn evidence(destroyed: &DestroyedKey) -> KeyEvidence {
    let DestroyedKey {
        volume: _,
        masters,
        at,
        incarnation,
        revision,
        members,
        closed: _,
    } = destroyed;
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let who = |wanted: MemberSaid| {
        let members = members.iter().filter(|(_, said)| **said == wanted);
        members.map(|(member, _)| member.clone()).collect()
    };
    KeyEvidence {
        master_keys: masters.clone(),
        destroyed_at: Timestamp::from_second(*at)
            .map_or_else(|_| String::new(), |at| at.to_string()),
        incarnation: number(*incarnation),
        revision: number(revision.unwrap_or_default()),
        compacted: who(MemberSaid::Compacted),
        silent: who(MemberSaid::Silent),
        remains: REMAINS.to_owned(),
    }
}

/// What the destruction does not reach.
const REMAINS: &str = "Snapshots of the ledger from before, and the logs and freed pages of its members, may still hold the \
     wrapped key; it opens only with the master key that wrapped it, one of masterKeys. Who must exclude \
     that too destroys those master keys once they wrap no other key. · Bản snapshot cũ của sổ cái, nhật \
     ký và các trang đã giải phóng của các thành viên có thể vẫn còn khóa đã bọc; chỉ mở được bằng khóa \
     chủ đã bọc nó, một trong masterKeys. Muốn loại trừ cả khả năng này thì hủy các khóa chủ đó khi chúng \
     không còn bọc khóa nào khác.";

#[cfg(test)]
mod tests;
