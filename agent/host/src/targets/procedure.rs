//! How a target comes and how it goes. The order of the steps is what makes both safe.

use std::path::Path;
use std::time::{Duration, Instant};

use dc_types::plan::Chap;

use super::{Deleted, TargetSeen, Targets, TargetsError, Tid};

/// How long a fence goes on before it says that it is slow; it is then tried again. Idle it takes
/// 9 to 17 ms, and under a frozen file system as long as that is frozen [measured].
pub const FENCE_LIMIT: Duration = Duration::from_secs(10);

/// The daemon is asked again after this long, doubled up to 64 times.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LAST_PAUSE: Duration = Duration::from_millis(128);

/// What a fence did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fenced {
    pub took: Duration,
    /// Connections that were cut.
    pub cut: u32,
    /// What was shut and deleted, in that order.
    pub deleted: Vec<String>,
}

/// A target to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewTarget<'a> {
    pub name: &'a str,
    /// Behind LUN 1.
    pub file: &'a Path,
    /// What the guest sees of the disk.
    pub serial: &'a str,
    /// The one that may log in, by this account.
    pub initiator: &'a str,
    pub chap: &'a Chap,
}

/// Makes a target of a number never used before. Nobody may log in until its last step; a target
/// that was cut off before that is deleted, and another one made in its place.
pub async fn expose(targets: &dyn Targets, new: NewTarget<'_>) -> Result<Tid, TargetsError> {
    let NewTarget {
        name,
        file,
        serial,
        initiator,
        chap,
    } = new;
    let tid = targets.reserve_tid().await?;
    targets.create_target(tid, name).await?;
    targets.create_lun(tid, file, serial).await?;
    targets.create_account(chap).await?;
    targets.bind_account(tid, &chap.user).await?;
    targets.allow_initiator(tid, initiator).await?;
    tracing::info!(%tid, name, initiator, "target made");
    Ok(tid)
}

/// Deletes a target for good. Succeeds only when the daemon has deleted it, which is the proof
/// that nothing written through it can land any more; repeated until then, or until `limit`.
pub async fn fence(
    targets: &dyn Targets,
    tid: Tid,
    name: &str,
    limit: Duration,
) -> Result<Fenced, TargetsError> {
    let began = Instant::now();
    let mut fenced = Fenced {
        took: Duration::ZERO,
        cut: 0,
        deleted: Vec::new(),
    };
    let Some(target) = find(targets, tid, name).await? else {
        return Ok(fenced);
    };
    for initiator in &target.acl {
        targets.forbid_initiator(tid, initiator).await?;
        fenced.deleted.push(format!("entry of {initiator}"));
    }
    let mut pause = FIRST_PAUSE;
    loop {
        // Connections come into sight late: a login that was let in before is listed only when it
        // is finished. So they are listed again each time.
        for connection in targets.list_connections(tid).await? {
            targets.delete_connection(tid, connection).await?;
            fenced.cut += 1;
            fenced.deleted.push(format!(
                "connection {} of session {}",
                connection.connection, connection.session
            ));
        }
        if targets.delete_target(tid).await? == Deleted::Gone {
            break;
        }
        if began.elapsed() >= limit {
            return Err(TargetsError::FenceSlow {
                name: name.to_owned(),
                waited_ms: began.elapsed().as_millis(),
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
    fenced.deleted.push(format!("target {tid}, {name}"));
    for user in &target.accounts {
        targets.delete_account(user).await?;
        fenced.deleted.push(format!("account {user}"));
    }
    fenced.took = began.elapsed();
    tracing::info!(%tid, name, cut = fenced.cut, took_ms = fenced.took.as_millis(), "fenced");
    Ok(fenced)
}

/// The target of that number, if it is still the one of that name.
async fn find(
    targets: &dyn Targets,
    tid: Tid,
    name: &str,
) -> Result<Option<TargetSeen>, TargetsError> {
    let all = targets.list_targets().await?;
    match all.into_iter().find(|target| target.tid == tid) {
        Some(target) if target.name != name => Err(TargetsError::AnotherTarget {
            tid,
            name: name.to_owned(),
            is: target.name,
        }),
        found => Ok(found),
    }
}
