//! A target daemon that remembers, with initiators that a test lets log in and write.
//!
//! It has the traits of tgtd that a fence must cope with: a target with sessions or with writes in
//! flight is not deleted, a half-finished login is not listed, accounts belong to all targets, and
//! a restart forgets everything.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_types::plan::Chap;
use tokio::sync::Notify;

use super::{Connection, Deleted, TargetSeen, Targets, TargetsError, Tid};
use crate::knobs::Knobs;

/// The target daemon of a fake machine; clones share it.
#[derive(Clone)]
pub struct FakeTargets {
    knobs: Knobs,
    state: Arc<Mutex<State>>,
    restarted: Arc<Notify>,
}

#[derive(Default)]
struct State {
    last_tid: u32,
    next_session: u64,
    targets: BTreeMap<Tid, Target>,
    accounts: BTreeMap<String, String>,
    /// Names in the order in which they were deleted.
    deleted: Vec<String>,
}

#[derive(Default)]
struct Target {
    name: String,
    lun: Option<PathBuf>,
    accounts: Vec<String>,
    acl: Vec<String>,
    /// Initiators that are logged in, by session.
    sessions: BTreeMap<u64, String>,
    /// Logins that passed the access list and are not finished.
    half: Vec<String>,
    /// Tries to delete it that fail because writes are in flight.
    in_flight: u32,
}

impl FakeTargets {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            state: Arc::default(),
            restarted: Arc::default(),
        }
    }

    /// An initiator logs in; `None` when it may not.
    pub fn log_in(&self, name: &str, initiator: &str, chap: &Chap) -> Option<Connection> {
        let mut state = self.state();
        state.next_session += 1;
        let session = state.next_session;
        let secret = state.accounts.get(&chap.user).cloned();
        let target = state.targets.values_mut().find(|t| t.name == name)?;
        let allowed = target.acl.iter().any(|name| name == initiator);
        let known = target.accounts.contains(&chap.user) && secret == Some(chap.secret.0.clone());
        (allowed && known && target.lun.is_some()).then(|| {
            target.sessions.insert(session, initiator.to_owned());
            Connection {
                session,
                connection: 0,
            }
        })
    }

    /// An initiator begins a login that passes the access list and stops there. It is finished,
    /// and listed, at the next try to delete the target.
    pub fn begin_log_in(&self, name: &str, initiator: &str) {
        for target in self.state().targets.values_mut() {
            if target.name == name && target.acl.iter().any(|name| name == initiator) {
                target.half.push(initiator.to_owned());
            }
        }
    }

    /// Whether what was logged in can still write.
    #[must_use]
    pub fn is_logged_in(&self, connection: Connection) -> bool {
        let state = self.state();
        let mut targets = state.targets.values();
        targets.any(|target| target.sessions.contains_key(&connection.session))
    }

    /// Writes are in flight: this many tries to delete the target fail.
    pub fn keep_active(&self, name: &str, tries: u32) {
        for target in self.state().targets.values_mut() {
            if target.name == name {
                target.in_flight = tries;
            }
        }
    }

    /// The daemon was killed and started again.
    pub fn restart(&self) {
        let mut state = self.state();
        state.targets.clear();
        state.accounts.clear();
        self.restarted.notify_one();
    }

    /// The targets that were deleted, oldest first.
    #[must_use]
    pub fn deleted(&self) -> Vec<String> {
        self.state().deleted.clone()
    }

    /// How many accounts there are.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.state().accounts.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call that changes a target.
    async fn change(
        &self,
        call: &'static str,
        tid: Tid,
        work: impl FnOnce(&mut Target),
    ) -> Result<(), TargetsError> {
        self.knobs.gate(call).await?;
        match self.state().targets.get_mut(&tid) {
            Some(target) => work(target),
            None => return Err(refused(call, "there is no such target")),
        }
        Ok(self.knobs.answer(call)?)
    }
}

fn refused(what: &str, reason: &'static str) -> TargetsError {
    TargetsError::Refused {
        what: what.to_owned(),
        reason,
    }
}

#[async_trait]
impl Targets for FakeTargets {
    async fn list_targets(&self) -> Result<Vec<TargetSeen>, TargetsError> {
        self.knobs.gate("tgt.list_targets").await?;
        let state = self.state();
        let seen = state.targets.iter().map(|(tid, target)| TargetSeen {
            tid: *tid,
            name: target.name.clone(),
            lun: target.lun.clone(),
            accounts: target.accounts.clone(),
            acl: target.acl.clone(),
            sessions: target.sessions.values().cloned().collect(),
        });
        Ok(seen.collect())
    }

    async fn reserve_tid(&self) -> Result<Tid, TargetsError> {
        self.knobs.gate("tgt.reserve_tid").await?;
        let mut state = self.state();
        state.last_tid += 1;
        Ok(Tid(state.last_tid))
    }

    async fn create_target(&self, tid: Tid, name: &str) -> Result<(), TargetsError> {
        self.knobs.gate("tgt.create_target").await?;
        {
            let mut state = self.state();
            let known = state.targets.values().any(|target| target.name == name);
            if known || state.targets.contains_key(&tid) {
                return Err(refused("tgt.create_target", "the target is there already"));
            }
            let target = Target {
                name: name.to_owned(),
                ..Target::default()
            };
            state.targets.insert(tid, target);
        }
        Ok(self.knobs.answer("tgt.create_target")?)
    }

    async fn create_lun(&self, tid: Tid, file: &Path, _serial: &str) -> Result<(), TargetsError> {
        let file = file.to_owned();
        self.change("tgt.create_lun", tid, |target| target.lun = Some(file))
            .await
    }

    async fn create_account(&self, chap: &Chap) -> Result<(), TargetsError> {
        self.knobs.gate("tgt.create_account").await?;
        let (user, secret) = (chap.user.clone(), chap.secret.0.clone());
        self.state().accounts.insert(user, secret);
        Ok(self.knobs.answer("tgt.create_account")?)
    }

    async fn bind_account(&self, tid: Tid, user: &str) -> Result<(), TargetsError> {
        let user = user.to_owned();
        self.change("tgt.bind_account", tid, |target| target.accounts.push(user))
            .await
    }

    async fn delete_account(&self, user: &str) -> Result<(), TargetsError> {
        self.knobs.gate("tgt.delete_account").await?;
        self.state().accounts.remove(user);
        Ok(self.knobs.answer("tgt.delete_account")?)
    }

    async fn allow_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError> {
        let initiator = initiator.to_owned();
        self.change("tgt.allow_initiator", tid, |target| {
            target.acl.push(initiator);
        })
        .await
    }

    async fn forbid_initiator(&self, tid: Tid, initiator: &str) -> Result<(), TargetsError> {
        self.change("tgt.forbid_initiator", tid, |target| {
            target.acl.retain(|name| name != initiator);
        })
        .await
    }

    async fn list_connections(&self, tid: Tid) -> Result<Vec<Connection>, TargetsError> {
        self.knobs.gate("tgt.list_connections").await?;
        let state = self.state();
        let sessions = state.targets.get(&tid).map(|target| &target.sessions);
        let of = |session: &u64| Connection {
            session: *session,
            connection: 0,
        };
        Ok(sessions.map_or(vec![], |sessions| sessions.keys().map(of).collect()))
    }

    async fn delete_connection(&self, tid: Tid, of: Connection) -> Result<(), TargetsError> {
        self.change("tgt.delete_connection", tid, |target| {
            target.sessions.remove(&of.session);
        })
        .await
    }

    async fn delete_target(&self, tid: Tid) -> Result<Deleted, TargetsError> {
        self.knobs.gate("tgt.delete_target").await?;
        {
            let mut state = self.state();
            let session = state.next_session + 1;
            let Some(target) = state.targets.get_mut(&tid) else {
                return Ok(Deleted::Gone);
            };
            let half = std::mem::take(&mut target.half);
            let began = u64::try_from(half.len()).unwrap_or(u64::MAX);
            target.sessions.extend((session..).zip(half));
            let active = !target.sessions.is_empty() || target.in_flight > 0;
            target.in_flight = target.in_flight.saturating_sub(1);
            if active {
                state.next_session += began;
                return Ok(Deleted::StillActive);
            }
            if let Some(target) = state.targets.remove(&tid) {
                state.deleted.push(target.name);
            }
        }
        self.knobs.answer("tgt.delete_target")?;
        Ok(Deleted::Gone)
    }

    async fn follow(&self, changed: &Notify) {
        loop {
            self.restarted.notified().await;
            changed.notify_one();
        }
    }
}
