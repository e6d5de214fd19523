//! One transaction, carried out once, with a certain outcome.
//!
//! Every commit compares the leader's key: created by our election, and at the mod revision last
//! known (the fence). When an answer is lost, the request may have been carried out, or may still
//! lie in a queue. So the fence is raised first: whatever was sent before can no longer succeed.
//! Only then what stands in the store is read, and that is final.

use std::sync::Arc;
use std::time::Duration;

use dc_operator_core::claims::ClaimError;
use dc_operator_core::txn::{Guard, Txn, Write};
use dc_types::claim::keys;
use etcd_client::{Compare, CompareOp, TxnOp};

use super::mirror::Entry;
use super::store::{Answer, StoreError};
use super::{Commit, Distrust, Inner, Lead, LedgerError};

/// Between two attempts to settle; the lease bounds how long that goes on.
const SETTLE_PAUSE: Duration = Duration::from_millis(200);

enum Settled {
    Applied {
        revision: u64,
    },
    /// It did not happen and no longer can.
    Void,
    NotLeader,
}

pub(super) async fn commit(inner: Arc<Inner>, txn: Txn) -> Result<Commit, LedgerError> {
    loop {
        if let Some(why) = inner.distrusted() {
            return Err(LedgerError::Distrusted(why));
        }
        let Some(lead) = inner.lead.borrow().clone() else {
            return Ok(Commit::NotLeader);
        };
        let floor = inner.with_mirror(|mirror| mirror.high());
        match send(&inner, &lead, &txn).await {
            Ok(answer) => {
                // What was written now has a revision of its own.
                let written = answer.succeeded && puts(&txn);
                check(&inner, &answer, floor + u64::from(written))?;
                if answer.succeeded {
                    return done(&inner, &txn, answer.at.revision);
                }
                match leader_key(&answer, &lead) {
                    LeaderKey::Ours { fence } if fence == lead.fence => {
                        return Ok(Commit::Conflict);
                    }
                    LeaderKey::Ours { fence } => raise_fence(&inner, &lead, fence),
                    LeaderKey::Gone => return Ok(not_leader(&inner, &lead)),
                }
            }
            Err(error) if error.is_refusal() => return Err(refused(&txn, error)),
            Err(error) => {
                tracing::warn!(why = txn.why, %error, "a commit has no known outcome; settling it");
                match settle(&inner, &lead, &txn, floor).await? {
                    Settled::Applied { revision } => return done(&inner, &txn, revision),
                    Settled::Void => {}
                    Settled::NotLeader => return Ok(not_leader(&inner, &lead)),
                }
            }
        }
    }
}

async fn send(inner: &Inner, lead: &Lead, txn: &Txn) -> Result<Answer, StoreError> {
    let store = &inner.store;
    let mut when = vec![
        ours(inner, lead),
        Compare::mod_revision(
            store.key(keys::LEADER),
            CompareOp::Equal,
            lead.fence.cast_signed(),
        ),
    ];
    when.extend(txn.guards.iter().map(|guard| match guard {
        Guard::Absent(key) => Compare::version(store.key(key), CompareOp::Equal, 0),
        Guard::Unchanged { key, revision } => {
            Compare::mod_revision(store.key(key), CompareOp::Equal, revision.cast_signed())
        }
    }));
    let then = txn.writes.iter().map(|write| match write {
        Write::Put { key, value } => store.put(key, value),
        Write::Delete { key } => store.delete(key),
    });
    let otherwise = vec![store.get(keys::LEADER)];
    store.txn(when, then.collect(), otherwise).await
}

fn ours(inner: &Inner, lead: &Lead) -> Compare {
    Compare::create_revision(
        inner.store.key(keys::LEADER),
        CompareOp::Equal,
        lead.term.revision.cast_signed(),
    )
}

enum LeaderKey {
    Ours { fence: u64 },
    Gone,
}

/// What the answer's one read says of the leader's key.
fn leader_key(answer: &Answer, lead: &Lead) -> LeaderKey {
    match answer.reads.first() {
        Some(Some(entry)) if entry.created == lead.term.revision => LeaderKey::Ours {
            fence: entry.revision,
        },
        _ => LeaderKey::Gone,
    }
}

fn check(inner: &Inner, answer: &Answer, floor: u64) -> Result<(), LedgerError> {
    match inner.judge(answer.at, floor) {
        None => Ok(()),
        Some(why) => {
            inner.distrust(why.clone());
            Err(LedgerError::Distrusted(why))
        }
    }
}

fn puts(txn: &Txn) -> bool {
    let put = |write: &Write| matches!(write, Write::Put { .. });
    txn.writes.iter().any(put)
}

fn refused(txn: &Txn, error: StoreError) -> LedgerError {
    LedgerError::Refused {
        why: txn.why.clone(),
        source: Box::new(error),
    }
}

fn not_leader(inner: &Inner, lead: &Lead) -> Commit {
    inner.lead.send_if_modified(|now| {
        let same = now.as_ref().is_some_and(|now| now.term == lead.term);
        if same {
            *now = None;
        }
        same
    });
    Commit::NotLeader
}

fn raise_fence(inner: &Inner, lead: &Lead, fence: u64) {
    inner.lead.send_if_modified(|now| match now {
        Some(now) if now.term == lead.term && now.fence < fence => {
            now.fence = fence;
            true
        }
        _ => false,
    });
}

/// Takes what was written into the mirror, ahead of the watch.
fn done(inner: &Inner, txn: &Txn, revision: u64) -> Result<Commit, LedgerError> {
    let mut keys = Vec::with_capacity(txn.writes.len());
    let taken: Result<(), ClaimError> = inner.change_mirror(|mirror| {
        for write in &txn.writes {
            let (key, value) = match write {
                Write::Put { key, value } => (key, Some(value.clone())),
                Write::Delete { key } => (key, None),
            };
            let entry = Entry {
                key: key.clone(),
                value,
                revision,
                created: 0,
            };
            if mirror.apply(&entry)? {
                keys.push(entry.key);
            }
        }
        mirror.note_revision(revision);
        Ok(())
    });
    if let Err(error) = taken {
        inner.distrust(Distrust::Unreadable(error.to_string()));
        return Err(LedgerError::Claim(error));
    }
    tracing::info!(why = txn.why, revision, "committed");
    inner.tell(keys);
    Ok(Commit::Done { revision })
}

async fn settle(inner: &Inner, lead: &Lead, txn: &Txn, floor: u64) -> Result<Settled, LedgerError> {
    loop {
        // The term ends when the lease does, so this does not go on for ever.
        let still = inner.lead.borrow().as_ref().map(|now| now.term) == Some(lead.term);
        if !still {
            return Ok(Settled::NotLeader);
        }
        match try_settle(inner, lead, txn, floor).await {
            Ok(settled) => return settled,
            Err(error) => {
                tracing::warn!(why = txn.why, %error, "not settled yet");
                tokio::time::sleep(SETTLE_PAUSE).await;
            }
        }
    }
}

async fn try_settle(
    inner: &Inner,
    lead: &Lead,
    txn: &Txn,
    floor: u64,
) -> Result<Result<Settled, LedgerError>, StoreError> {
    let store = &inner.store;
    let barrier = store
        .txn(
            vec![ours(inner, lead)],
            vec![store.touch(keys::LEADER), store.get(keys::LEADER)],
            vec![],
        )
        .await?;
    if let Err(error) = check(inner, &barrier, floor) {
        return Ok(Err(error));
    }
    let LeaderKey::Ours { fence } = leader_key(&barrier, lead) else {
        return Ok(Ok(Settled::NotLeader));
    };
    let reads: Vec<TxnOp> = txn
        .writes
        .iter()
        .map(|write| store.get(key_of(write)))
        .collect();
    let stands = store.txn(vec![ours(inner, lead)], reads, vec![]).await?;
    if !stands.succeeded {
        return Ok(Ok(Settled::NotLeader));
    }
    raise_fence(inner, lead, fence);
    Ok(Ok(judge_writes(txn, &stands.reads, floor)))
}

fn key_of(write: &Write) -> &str {
    match write {
        Write::Put { key, .. } | Write::Delete { key } => key,
    }
}

/// Whether what stands is what the transaction writes. Nobody else writes while we lead, and no two
/// commits of ours write the same key without a guard, so a put of ours is known by its value at a
/// revision past the floor. A transaction that only deletes is the same done twice.
fn judge_writes(txn: &Txn, reads: &[Option<Entry>], floor: u64) -> Settled {
    let mut revision = floor;
    for (write, read) in txn.writes.iter().zip(reads) {
        match (write, read) {
            (Write::Put { value, .. }, Some(entry))
                if entry.revision > floor && entry.value.as_ref() == Some(value) =>
            {
                revision = revision.max(entry.revision);
            }
            (Write::Delete { .. }, None) => {}
            _ => return Settled::Void,
        }
    }
    Settled::Applied { revision }
}
