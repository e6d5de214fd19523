//! Keeps the mirror: one whole read, then every change, and a look now and then whether the store
//! is still the one it was.

use std::sync::{PoisonError, Weak};
use std::time::Duration;

use dc_operator_core::claims::ClaimError;
use dc_types::claim::keys;
use etcd_client::{Compare, CompareOp, EventType, WatchResponse};
use thiserror::Error;

use super::mirror::Entry;
use super::store::{At, StoreError};
use super::{Distrust, Health, Inner};

/// How often the store is looked at when nothing changes: a rollback behind a broken watch is
/// found within this time.
const LOOK: Duration = Duration::from_secs(2);

/// Between two attempts to reach the store.
const RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Error)]
enum Interrupted {
    #[error("the store does not answer")]
    Store(#[from] StoreError),
    #[error("the watch ended: {0}")]
    Watch(String),
    #[error("the store is not believed")]
    Distrust(Distrust),
    #[error("a newer incarnation was made")]
    Rebuilt,
}

impl From<ClaimError> for Interrupted {
    fn from(error: ClaimError) -> Self {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", source.unwrap_or_default());
        Interrupted::Distrust(Distrust::Unreadable(text))
    }
}

/// Runs until nobody holds the ledger any more.
pub(super) async fn follow(weak: Weak<Inner>) {
    while let Some(inner) = weak.upgrade() {
        let interrupted = match inner.distrusted() {
            None => follow_once(&inner).await,
            Some(_) => watch_for_rebuild(&inner).await,
        };
        match interrupted {
            Interrupted::Distrust(why) => inner.distrust(why),
            Interrupted::Rebuilt => {
                inner.health.send_replace(Health::Rebuilt);
                return;
            }
            error @ (Interrupted::Store(_) | Interrupted::Watch(_)) => inner.unreachable(&error),
        }
        drop(inner);
        tokio::time::sleep(RETRY).await;
    }
}

/// Answers only when it can go on no longer.
async fn follow_once(inner: &Inner) -> Interrupted {
    match try_follow(inner).await {
        Ok(never) => match never {},
        Err(interrupted) => interrupted,
    }
}

async fn try_follow(inner: &Inner) -> Result<std::convert::Infallible, Interrupted> {
    open(inner).await?;
    let floor = inner.with_mirror(|mirror| mirror.high());
    let (entries, at) = inner.store.read_all().await?;
    inner.believe(at, floor)?;
    check_incarnation(inner, entries.iter().find(|e| e.key == keys::INCARNATION))?;
    let changed = inner.change_mirror(|mirror| mirror.resync(&entries, at.revision))?;
    drop(entries);
    let mut watch = inner.store.watch(at.revision + 1).await?;
    inner.tell(changed);
    inner.good();

    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = watch.message() => match message {
                Ok(Some(response)) => take_in(inner, &response)?,
                Ok(None) => return Err(Interrupted::Watch("closed by the store".into())),
                Err(error) => return Err(Interrupted::Store(error.into())),
            },
            _ = look.tick() => look_at_store(inner).await?,
        }
        if let Some(why) = inner.distrusted() {
            return Err(Interrupted::Distrust(why));
        }
    }
}

fn take_in(inner: &Inner, response: &WatchResponse) -> Result<(), Interrupted> {
    if response.canceled() {
        return Err(Interrupted::Watch(response.cancel_reason().to_owned()));
    }
    let mut changed = Vec::new();
    let mut last = None;
    for event in response.events() {
        let Some(kv) = event.kv() else { continue };
        let Some(mut entry) = inner.store.entry(kv) else {
            continue;
        };
        if event.event_type() == EventType::Delete {
            entry.value = None;
        }
        if entry.key == keys::INCARNATION {
            check_incarnation(inner, entry.value.is_some().then_some(&entry))?;
        }
        last = Some(entry.revision);
        if inner.change_mirror(|mirror| mirror.apply(&entry))? {
            changed.push(entry.key);
        }
    }
    if let Some(last) = last {
        inner.change_mirror(|mirror| mirror.advance(last));
    }
    inner.tell(changed);
    Ok(())
}

async fn look_at_store(inner: &Inner) -> Result<(), Interrupted> {
    let floor = inner.with_mirror(|mirror| mirror.high());
    let (incarnation, at) = inner.store.read_key(keys::INCARNATION).await?;
    inner.believe(at, floor)?;
    check_incarnation(inner, incarnation.as_ref())
}

/// Before the first whole read: makes the first incarnation of a ledger that never was, and takes
/// up a newer one that a rebuild made while no operator ran.
async fn open(inner: &Inner) -> Result<(), Interrupted> {
    if inner.with_mirror(|mirror| mirror.progress()) != 0 {
        return Ok(());
    }
    let store = &inner.store;
    let (found, _) = store.read_key(keys::INCARNATION).await?;
    let known = inner.known().incarnation;
    let incarnation = match read_incarnation(found.as_ref())? {
        Some(found) => found,
        None if known == 0 => make_first_incarnation(inner).await?,
        None => return Err(Interrupted::Distrust(Distrust::Wiped { known })),
    };
    if incarnation > known {
        // What was known of an older incarnation says nothing of this one.
        let mut known = inner.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = super::Known {
            incarnation,
            ..super::Known::default()
        };
        drop(known);
        inner.change_mirror(|mirror| mirror.claims.incarnation = incarnation);
    }
    tracing::info!(incarnation, "the ledger is open");
    Ok(())
}

async fn make_first_incarnation(inner: &Inner) -> Result<u64, Interrupted> {
    let store = &inner.store;
    let absent = Compare::version(store.key(keys::INCARNATION), CompareOp::Equal, 0);
    let read = || store.get(keys::INCARNATION);
    let make = vec![store.put(keys::INCARNATION, "1"), read()];
    let answer = store.txn(vec![absent], make, vec![read()]).await?;
    let found = answer.reads.first().and_then(Option::as_ref);
    match read_incarnation(found)? {
        Some(incarnation) => Ok(incarnation),
        None => Err(Interrupted::Store(StoreError::Answer("no incarnation"))),
    }
}

fn check_incarnation(inner: &Inner, found: Option<&Entry>) -> Result<(), Interrupted> {
    let known = inner.known().incarnation;
    match read_incarnation(found)? {
        None => Err(Interrupted::Distrust(Distrust::Wiped { known })),
        Some(found) if found < known => Err(Interrupted::Distrust(Distrust::OldIncarnation {
            known,
            found,
        })),
        Some(found) if found > known => Err(Interrupted::Rebuilt),
        Some(_) => Ok(()),
    }
}

fn read_incarnation(entry: Option<&Entry>) -> Result<Option<u64>, Interrupted> {
    let Some(value) = entry.and_then(|entry| entry.value.as_ref()) else {
        return Ok(None);
    };
    match value.parse() {
        Ok(incarnation) => Ok(Some(incarnation)),
        Err(_) => {
            let text = format!("the ledger's incarnation {value:?} is not a number");
            Err(Interrupted::Distrust(Distrust::Unreadable(text)))
        }
    }
}

/// A distrusted ledger is only looked at for the incarnation that ends the distrust.
async fn watch_for_rebuild(inner: &Inner) -> Interrupted {
    loop {
        if let Ok((found, _)) = inner.store.read_key(keys::INCARNATION).await
            && let Ok(Some(found)) = read_incarnation(found.as_ref())
            && found > inner.known().incarnation
        {
            return Interrupted::Rebuilt;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Inner {
    fn known(&self) -> super::Known {
        *self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an answer at `at` can come from the store that had reached `floor` before the
    /// question was asked.
    pub(super) fn judge(&self, at: At, floor: u64) -> Option<Distrust> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.cluster_id == 0 {
            known.cluster_id = at.cluster_id;
        }
        if known.cluster_id != at.cluster_id {
            return Some(Distrust::OtherCluster {
                known: known.cluster_id,
                found: at.cluster_id,
            });
        }
        let seen = floor.max(known.revision);
        (at.revision < seen).then_some(Distrust::RolledBack {
            seen,
            found: at.revision,
        })
    }

    fn believe(&self, at: At, floor: u64) -> Result<(), Interrupted> {
        match self.judge(at, floor) {
            Some(why) => Err(Interrupted::Distrust(why)),
            None => Ok(()),
        }
    }

    fn good(&self) {
        self.health.send_if_modified(|health| match health {
            Health::Starting | Health::Unreachable { .. } => {
                tracing::info!("the ledger is in memory and followed");
                *health = Health::Good;
                true
            }
            Health::Good | Health::Distrusted(_) | Health::Rebuilt => false,
        });
    }

    fn unreachable(&self, error: &Interrupted) {
        self.health.send_if_modified(|health| match health {
            Health::Good => {
                tracing::warn!(%error, "the ledger is out of reach; decisions wait");
                *health = Health::Unreachable {
                    why: error.to_string(),
                };
                true
            }
            Health::Starting => {
                tracing::warn!(%error, "the ledger is not there yet");
                false
            }
            Health::Unreachable { .. } | Health::Distrusted(_) | Health::Rebuilt => false,
        });
    }
}
