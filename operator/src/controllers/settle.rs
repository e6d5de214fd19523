//! Carrying out what a look has decided, the same way for every kind.
//!
//! ```text
//! look ─▶ plan ─▶ certificate ─▶ off the boards ─▶ ledger ─┬─▶ look again
//!                                                          └─ nothing to claim ─▶ volumes ─▶ boards ─▶ finalizer ─▶ status
//! ```
//! A transaction is decided and committed in the leader's lane, so that what it was judged from
//! still holds; what was decided outside of it is decided again inside.

use std::sync::Arc;
use std::time::Duration;

use dc_operator_core::plan::{Hold, NewVolume, Plan};
use dc_operator_core::proof::sandbox::NewObject;
use dc_operator_core::words::{Fact, Standing};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use thiserror::Error;

use super::Context;
use super::api::{self, ApiError};
use super::look::Look;
use super::queue::{Ended, spread};
use super::status::{self, Counts, Reports};
use crate::ledger::{Commit, LedgerError};
use crate::metrics::ReconcileResult;
use crate::stores::{Key, Kind};

/// A conflict is looked at again at once; so many in a row are not met in practice.
const ROUNDS: usize = 8;
/// What a person has to change is looked at again now and then all the same, in case the change was
/// somewhere that nothing told us of (a Secret, an address that was given back).
const TROUBLED: Duration = Duration::from_secs(45);
/// The same for what should go on by itself.
const MOVING: Duration = Duration::from_secs(120);

#[derive(Debug, Error)]
pub enum SettleError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("this operator no longer leads")]
    NotLeader,
    #[error("the ledger changed {ROUNDS} times while this was decided")]
    Busy,
}

/// What one look decided.
pub struct Decision<S> {
    pub plan: Plan,
    /// `None`: nothing is written.
    pub status: Option<S>,
    /// To look at after a commit.
    pub wake: Vec<Key>,
    /// Whether parts of the status only count.
    pub counts: Counts,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    pub standing: Standing,
    pub ended: Ended,
}

impl Settled {
    /// Nothing of it is left to look at.
    #[must_use]
    pub fn gone() -> Self {
        Self {
            standing: Standing::Settled,
            ended: Ended::Well,
        }
    }

    #[must_use]
    pub fn result(self) -> ReconcileResult {
        match self.standing {
            Standing::Settled | Standing::Resting => ReconcileResult::Ready,
            Standing::Moving | Standing::Unseen => ReconcileResult::Waiting,
            Standing::Troubled => ReconcileResult::Refused,
        }
    }
}

/// Looks, decides and carries out until nothing is left to claim. `decide` is called once or more,
/// each time with a fact that was found meanwhile, if one was.
pub async fn settle<K, S>(
    context: &Context,
    key: &Key,
    object: &Arc<K>,
    kind: Kind,
    mut decide: impl FnMut(&mut Look<'_>, Option<&Fact>) -> Decision<S>,
) -> Result<Settled, SettleError>
where
    K: Resource<DynamicType = ()> + Reports<Status = S>,
    S: Clone + PartialEq + serde::Serialize,
{
    api::ensure_finalizer(context, &**object, kind).await?;
    let mut look = Look::new(context, key);
    let mut decision = claim(context, &mut look, &mut decide).await?;
    if let Err(fact) = make(context, &decision.plan.make).await? {
        decision = decide(&mut look, Some(&fact));
    }
    for backup in &decision.plan.begin {
        api::make_once(context, Kind::Backup, &backup.object()).await?;
    }
    for proof in &decision.plan.prove {
        api::make_once(context, Kind::Proof, &proof.object()).await?;
    }
    for old in &decision.plan.remove {
        api::remove(context, old).await?;
    }
    for new in &decision.plan.try_out {
        match new {
            NewObject::Restore(new) => {
                api::make_once(context, Kind::Restore, &new.object()).await?
            }
            NewObject::Machine(new) => api::make_once(context, Kind::Vm, &new.object()).await?,
            NewObject::Snapshot(new) => {
                api::make_once(context, Kind::Snapshot, &new.object()).await?
            }
        }
    }
    let Decision {
        plan,
        status,
        wake: _,
        counts,
    } = decision;
    let standing = plan.standing();
    let beside = plan.aside.iter().map(Fact::standing);
    let beside = beside.max_by_key(|standing| *standing == Standing::Troubled);
    let due = plan.again_at.map(until);
    look.end();
    for (host, item) in plan.carry {
        context.parts.board.set(&host, item);
    }
    if plan.hold == Hold::LetGo {
        api::let_go(context, &**object, kind).await?;
        context.reports.forget(&**object);
        return Ok(Settled::gone());
    }
    let pause = match status {
        Some(status) => status::write(context, object, kind, status, standing, counts).await?,
        None => None,
    };
    // What waits beside is looked at again as if the object waited.
    let looked = match standing {
        Standing::Settled | Standing::Resting => beside.unwrap_or(standing),
        Standing::Moving | Standing::Troubled | Standing::Unseen => standing,
    };
    let ended = match (pause, looked) {
        (Some(pause), _) => Ended::Again(pause),
        (None, Standing::Settled | Standing::Resting) => Ended::Well,
        (None, Standing::Troubled) => Ended::Again(spread(TROUBLED)),
        (None, Standing::Moving | Standing::Unseen) => Ended::Again(spread(MOVING)),
    };
    let ended = match (ended, due) {
        (Ended::Well, Some(due)) => Ended::Again(due),
        (Ended::Again(pause), Some(due)) => Ended::Again(pause.min(due)),
        (ended, None) | (ended @ Ended::Failed, Some(_)) => ended,
    };
    Ok(Settled { standing, ended })
}

/// How long it is to a moment; a little past it, so that it has come then.
pub fn until(at: Timestamp) -> Duration {
    const PAST: Duration = Duration::from_millis(5);
    let left = at.duration_since(Timestamp::now());
    Duration::try_from(left).unwrap_or_default() + PAST
}

/// Commits what is to be claimed or given back; answers with a decision that asks for no more.
async fn claim<S>(
    context: &Context,
    look: &mut Look<'_>,
    decide: &mut impl FnMut(&mut Look<'_>, Option<&Fact>) -> Decision<S>,
) -> Result<Decision<S>, SettleError> {
    for _ in 0..ROUNDS {
        let decision = decide(look, None);
        if decision.plan.txn.is_none() {
            take_off(context, &decision.plan);
            return Ok(decision);
        }
        if let Some(unsigned) = &decision.plan.certify {
            // Before the transaction that forgets what it is made from. It is decided once more
            // after this, and cannot come out otherwise: what was erased stays so.
            let certificate = context.parts.evidence.sign(unsigned);
            api::make_certificate(context, &certificate).await?;
        }
        let lane = context.parts.leader.lane().await;
        let claims = &context.hosts;
        context
            .parts
            .ledger
            .with_claims(|c| claims.take_promises(c));
        let decision = decide(look, None);
        take_off(context, &decision.plan);
        let Some(txn) = &decision.plan.txn else {
            return Ok(decision);
        };
        tracing::debug!(why = txn.why, "committing");
        let commit = context.parts.ledger.commit(txn).await;
        drop(lane);
        match commit? {
            Commit::Done { revision } => {
                tracing::debug!(why = txn.why, revision, "committed");
                for (host, _) in &decision.plan.uncarry {
                    context.queue.wake(Key::global(Kind::Host, host.as_str()));
                }
                for key in decision.wake {
                    context.queue.wake(key);
                }
            }
            // Looked at again.
            Commit::Conflict => {}
            Commit::NotLeader => return Err(SettleError::NotLeader),
        }
    }
    Err(SettleError::Busy)
}

fn take_off(context: &Context, plan: &Plan) {
    for (host, item) in &plan.uncarry {
        context.parts.board.unset(host, item);
    }
}

/// Makes volumes of templates. What the API server refuses for good is a fact to tell.
async fn make(context: &Context, volumes: &[NewVolume]) -> Result<Result<(), Fact>, SettleError> {
    for volume in volumes {
        match api::make_volume(context, &volume.object()).await {
            Ok(()) => {}
            Err(ApiError::Refused { why, .. }) => {
                return Ok(Err(Fact::TemplateBroken {
                    disk: volume.name.clone(),
                    error: why,
                }));
            }
            Err(error @ ApiError::Request { .. }) => return Err(error.into()),
        }
    }
    Ok(Ok(()))
}
