//! Locks, as restic's design document has them. Whoever adds or reads takes a shared one, whoever
//! deletes an exclusive one, beside which there is no other.
//!
//! ```text
//! look for others ── write ours ── wait ── look again ──> held ── renewed every 5 minutes ── removed
//!    │ one in the way                         │ one in the way: ours is removed
//!    └──────────── refused ───────────────────┘
//! ```
//!
//! A lock of a dead client is stale: it was not renewed for 30 minutes, or it is of a process of
//! this host that is gone. It is removed first, as `restic unlock` does, and told to the caller.
//! `rustic_core` knows nothing of locks.

use std::fmt;
use std::process;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use nix::errno::Errno;
use nix::sys::signal;
use nix::unistd::{self, Pid, User};
use rustic_core::Id;
use serde::{Deserialize, Serialize};

use crate::cipher::Cipher;
use crate::error::BackupError;
use crate::store::{Kind, Store, StoreError};

/// restic's `StaleLockTimeout`.
const STALE: SignedDuration = SignedDuration::from_mins(30);

/// restic's `refreshInterval`.
const RENEW: Duration = Duration::from_mins(5);

/// Well before others take our lock for a dead client's.
const LOST: SignedDuration = SignedDuration::from_mins(25);

/// restic's `waitBeforeLockCheck`: for stores whose listings lag.
const SETTLE: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// Who holds a lock. This is the lock file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub time: Timestamp,
    pub exclusive: bool,
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    pub pid: i32,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.exclusive { " exclusively" } else { "" };
        let Self {
            time,
            username,
            hostname,
            pid,
            ..
        } = self;
        write!(
            f,
            "process {pid} of {username} on {hostname}{how}, since {time}"
        )
    }
}

impl Holder {
    fn now(mode: Mode) -> Self {
        let (uid, gid) = (unistd::geteuid(), unistd::getegid());
        let user = User::from_uid(uid).ok().flatten();
        Self {
            time: Timestamp::now(),
            exclusive: mode == Mode::Exclusive,
            hostname: hostname(),
            username: user.map_or_else(|| uid.to_string(), |user| user.name),
            pid: i32::try_from(process::id()).unwrap_or_default(),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        }
    }

    /// Whether its client is dead, as far as can be told from here.
    fn is_stale(&self, now: Timestamp) -> bool {
        if now.duration_since(self.time) > STALE {
            return true;
        }
        let is_ours = !self.hostname.is_empty() && self.hostname == hostname();
        is_ours && self.pid > 0 && signal::kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH)
    }

    fn is_in_the_way_of(&self, mode: Mode) -> bool {
        self.exclusive || mode == Mode::Exclusive
    }
}

fn hostname() -> String {
    // Empty when it cannot be told: then no lock is taken for one of this host.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim().to_owned()
}

/// A lock that is held. Dropped, it is removed.
#[derive(Debug)]
pub struct Lock {
    shared: Arc<Shared>,
    renewer: Option<JoinHandle<()>>,
    /// Of dead clients, removed to get this one.
    pub removed: Vec<Holder>,
}

struct Shared {
    store: Arc<dyn Store>,
    cipher: Cipher,
    mode: Mode,
    state: Mutex<State>,
    ended: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {}", self.mode, self.store.location())
    }
}

struct State {
    /// Under which name it is now.
    id: Id,
    renewed: Timestamp,
    is_lost: bool,
    is_ended: bool,
}

impl Lock {
    /// Takes a lock.
    ///
    /// # Errors
    /// [`BackupError::Locked`] when another's is in the way, [`BackupError::Corrupt`] when one
    /// cannot be read, so that nobody knows what it forbids.
    pub(crate) fn take(
        store: Arc<dyn Store>,
        cipher: &Cipher,
        mode: Mode,
    ) -> Result<Self, BackupError> {
        let removed = remove_stale(&*store, cipher)?;
        refuse(&*store, cipher, mode, None)?;
        let me = Holder::now(mode);
        let id = write(&*store, cipher, &me)?;
        // Nothing comes: the protocol wants the time itself.
        let _ = crossbeam_channel::never::<()>().recv_timeout(SETTLE);
        if let Err(refused) = refuse(&*store, cipher, mode, Some(id)) {
            store.remove(Kind::Lock, id)?;
            return Err(refused);
        }
        let state = State {
            id,
            renewed: me.time,
            is_lost: false,
            is_ended: false,
        };
        let shared = Arc::new(Shared {
            store,
            cipher: cipher.clone(),
            mode,
            state: Mutex::new(state),
            ended: Condvar::new(),
        });
        let renewed = Arc::clone(&shared);
        let renewer = thread::Builder::new()
            .name("backup-lock".to_owned())
            .spawn(move || renewed.keep_renewed());
        match renewer {
            Ok(renewer) => Ok(Self {
                shared,
                renewer: Some(renewer),
                removed,
            }),
            Err(error) => {
                shared.store.remove(Kind::Lock, id)?;
                Err(BackupError::Library {
                    what: "no thread could be started to renew the lock",
                    said: error.to_string(),
                })
            }
        }
    }

    /// # Errors
    /// [`BackupError::LockLost`] when others may no longer respect it.
    pub fn check(&self) -> Result<(), BackupError> {
        let state = self.shared.state();
        let age = Timestamp::now().duration_since(state.renewed);
        match state.is_lost || age > LOST {
            true => Err(BackupError::LockLost),
            false => Ok(()),
        }
    }

    /// # Errors
    /// When it may still be there; it becomes stale then.
    pub fn release(mut self) -> Result<(), BackupError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let Some(renewer) = self.renewer.take() else {
            return Ok(());
        };
        self.shared.state().is_ended = true;
        self.shared.ended.notify_all();
        if renewer.join().is_err() {
            tracing::error!("the thread that renews a backup's lock has panicked");
        }
        let id = self.shared.state().id;
        Ok(self.shared.store.remove(Kind::Lock, id)?)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::warn!(%error, "a lock of a repository could not be removed; it becomes stale");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_renewed(&self) {
        loop {
            let waiting = |state: &mut State| !state.is_ended;
            let waited = self.ended.wait_timeout_while(self.state(), RENEW, waiting);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_ended {
                return;
            }
            let old = state.id;
            drop(state);
            match self.renew(old) {
                Ok(Some((id, time))) => {
                    let mut state = self.state();
                    (state.id, state.renewed) = (id, time);
                }
                Ok(None) => self.state().is_lost = true,
                Err(error) => tracing::warn!(%error, "a lock of a repository is not renewed yet"),
            }
        }
    }

    /// The new one is there before the old one goes. `None` when the old one is gone already: then
    /// somebody has taken us for dead, and may have pruned.
    fn renew(&self, old: Id) -> Result<Option<(Id, Timestamp)>, BackupError> {
        let listed = self.store.list(Kind::Lock)?;
        if !listed.iter().any(|(id, _)| *id == old) {
            return Ok(None);
        }
        let me = Holder::now(self.mode);
        let id = write(&*self.store, &self.cipher, &me)?;
        self.store.remove(Kind::Lock, old)?;
        Ok(Some((id, me.time)))
    }
}

fn write(store: &dyn Store, cipher: &Cipher, holder: &Holder) -> Result<Id, BackupError> {
    let json = serde_json::to_vec(holder).map_err(|error| BackupError::Corrupt {
        what: "a lock".to_owned(),
        fault: error.to_string(),
    })?;
    let (id, bytes) = cipher.seal_file(&json)?;
    if let Err(error) = store.write(Kind::Lock, id, &bytes) {
        // It may be there all the same, and nobody else knows its name.
        let _ = store.remove(Kind::Lock, id);
        return Err(error.into());
    }
    Ok(id)
}

/// All locks but those that are removed meanwhile, and those that a write left empty.
fn read(store: &dyn Store, cipher: &Cipher) -> Result<Vec<(Id, Holder)>, BackupError> {
    let mut locks = Vec::new();
    for (id, size) in store.list(Kind::Lock)? {
        if size == 0 {
            continue;
        }
        let bytes = match store.read(Kind::Lock, id, None) {
            Err(StoreError::NotThere { .. }) => continue,
            other => other?,
        };
        let opened = cipher.open_file(&bytes);
        let holder = opened.and_then(|json| serde_json::from_slice(&json).ok());
        let holder = holder.ok_or_else(|| BackupError::Corrupt {
            what: format!("lock {} of {}", id.to_hex().as_str(), store.location()),
            fault: "it cannot be read; see whose it is, and remove it by hand".to_owned(),
        })?;
        locks.push((id, holder));
    }
    Ok(locks)
}

fn remove_stale(store: &dyn Store, cipher: &Cipher) -> Result<Vec<Holder>, BackupError> {
    let now = Timestamp::now();
    let mut removed = Vec::new();
    for (id, holder) in read(store, cipher)? {
        if holder.is_stale(now) {
            store.remove(Kind::Lock, id)?;
            removed.push(holder);
        }
    }
    Ok(removed)
}

fn refuse(
    store: &dyn Store,
    cipher: &Cipher,
    mode: Mode,
    ours: Option<Id>,
) -> Result<(), BackupError> {
    let others = read(store, cipher)?.into_iter();
    let mut others = others.filter(|(id, _)| Some(*id) != ours);
    match others.find(|(_, holder)| holder.is_in_the_way_of(mode)) {
        Some((_, by)) => Err(BackupError::Locked { by }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
