//! BackupRepository: whether departments can get into it, and what lies there.

use dc_operator_core::backup::repository::{Seen, plan, status};
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub mod logins;

pub use logins::Logins;

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(repository) = context.stores.repositories.get("", &key.name) else {
        context.logins.forget(&key.name);
        return Ok(Settled::gone());
    };
    let repository = context.reports.latest(repository);
    let now = now();
    let logins = context.logins.read(context, &repository).await?;
    settle(context, key, &repository, Kind::Repository, |_, _| {
        let (backups, last) = sum(context, &key.name);
        context.parts.ledger.with_claims(|claims| {
            let seen = Seen {
                repository: &repository,
                keys: &context.parts.recovery_keys,
                logins: logins.as_seen(),
                claims,
                backups,
                last_backup: last.as_deref(),
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&repository.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: Vec::new(),
                counts: Counts::Some,
            }
        })
    })
    .await
}

/// How many backups are done there, and when the last of them ended: gone through when one of them
/// has ended, at most once a second.
fn sum(context: &Context, repository: &str) -> (u64, Option<String>) {
    let backups = context.stores.backups.everywhere();
    let done = backups.iter().filter_map(|backup| {
        let status = backup.status.as_ref()?;
        let there = backup.spec.repository == repository && status.snapshot_id.is_some();
        there.then(|| status.ended_at.clone())
    });
    done.fold((0, None), |(count, last), ended| {
        (count + 1, last.max(ended))
    })
}
