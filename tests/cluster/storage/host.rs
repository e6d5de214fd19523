//! A storage host that the test plays: it takes what it is told, answers at once, and remembers in
//! which state the guests were when a snapshot was asked of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use dc_agent_core::vm::seen::Power;
use dc_host::Fakes;
use dc_operator::join::token::Token;
use dc_proto::Received;
use dc_proto::session::{AgentSays, ReceivedSays};
use dc_types::plan::{BackupItem, Disposition, Item, ItemBody, ItemHash, ItemKey, Portal, Release};
use dc_types::report::{
    BackupCounts, BackupDone, Detail, Erasure, Held, Hello, HostFacts, ItemState, Lack,
    Observation, Orphan, OrphanKind, PoolFacts, PoolPlace, Progress, Released, Report, RestoreDone,
    Role, Sha256, Trouble, Verb, VolumeBackedUp,
};
use dc_types::{Bytes, HostName, InstanceId, PoolName, Term};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::sessions::agent::{Credentials, facts, join};

pub const POOL: &str = "san-1";
pub const TAKEN_AT: i64 = 1_780_000_000;

/// How the guests of the compute hosts were when a snapshot was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub power: Option<Power>,
    pub frozen: bool,
}

#[derive(Default)]
struct State {
    held: BTreeMap<ItemKey, (Item, ItemHash)>,
    asked: Vec<Asked>,
    refuses_snapshots: bool,
    /// Backups and restores stand still.
    stalled: bool,
    released: Vec<ItemKey>,
}

/// Ends with the test.
pub struct StorageHost {
    state: Arc<Mutex<State>>,
    again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for StorageHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StorageHost {
    /// Joins, and speaks with whoever leads at the operator's address from then on. `guests` are
    /// the compute hosts to look at.
    pub async fn join(token: &Token, guests: Vec<Fakes>) -> Self {
        let credentials = join(token, "storage-1").await.unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let again = Arc::new(Notify::new());
        let speak = speak(credentials, state.clone(), guests, again.clone());
        let task = tokio::spawn(speak);
        Self { state, again, task }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn refuse_snapshots(&self, refuses: bool) {
        self.state().refuses_snapshots = refuses;
    }

    /// Whether backups and restores stand still; when they go on they are done at once.
    pub fn stall(&self, stalled: bool) {
        self.state().stalled = stalled;
        self.again.notify_one();
    }

    /// In which state each guest was whenever a snapshot was asked for.
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    pub fn held(&self) -> Vec<Item> {
        let state = self.state();
        state.held.values().map(|(item, _)| item.clone()).collect()
    }

    pub fn released(&self) -> Vec<ItemKey> {
        self.state().released.clone()
    }
}

fn told() -> HostFacts {
    let lack = Lack {
        verb: Verb::GrowOnline,
        why: "this test grows nothing under a guest".into(),
    };
    let orphan = |name: &str, size| Orphan {
        kind: OrphanKind::Volume,
        name: name.into(),
        size: Bytes(size),
        since: Some(TAKEN_AT),
    };
    HostFacts {
        roles: vec![Role::Storage],
        portal: Some(Portal {
            address: "10.250.1.9".parse().unwrap(),
            port: 3260,
        }),
        pools: vec![pool("soc-1", Vec::new(), Vec::new()), {
            let orphans = vec![
                orphan("volumes/left", 5 << 20),
                orphan("volumes/large", 7 << 30),
            ];
            pool(POOL, vec![lack], orphans)
        }],
        ..facts(4)
    }
}

fn pool(name: &str, lacks: Vec<Lack>, orphans: Vec<Orphan>) -> PoolFacts {
    PoolFacts {
        pool: PoolName::new(name).unwrap(),
        capacity: Bytes(100 << 40),
        used: Bytes(1 << 40),
        reflink: true,
        fault: None,
        place: PoolPlace::Iscsi,
        lacks,
        orphans,
    }
}

/// One session after the other: an operator that ends is dialled again.
async fn speak(
    credentials: Credentials,
    state: Arc<Mutex<State>>,
    guests: Vec<Fakes>,
    again: Arc<Notify>,
) {
    loop {
        let held = {
            let state = state.lock().unwrap();
            let held = state.held.values().map(|(item, hash)| Held {
                key: item.key,
                epoch: item.epoch,
                hash: *hash,
            });
            held.collect()
        };
        let hello = Hello {
            host: HostName::new("storage-1").unwrap(),
            version: "test".into(),
            term: Term::default(),
            held,
            facts: told(),
        };
        if let Ok(mut line) = credentials.try_session(hello).await {
            loop {
                let message = tokio::select! {
                    message = line.listen() => message,
                    () = again.notified() => {
                        let report = Report::Observed(all(&state));
                        line.try_say(AgentSays::Report(report)).await;
                        continue;
                    }
                };
                let Ok(message) = message else { break };
                let ReceivedSays::Deltas(deltas) = message.says else {
                    // A new operator has heard nothing yet.
                    let report = Report::Observed(all(&state));
                    line.try_say(AgentSays::Report(report)).await;
                    continue;
                };
                line.try_say(AgentSays::Accepted(message.sequence)).await;
                for delta in deltas {
                    let report = answer(&state, &guests, delta.unwrap());
                    line.try_say(AgentSays::Report(report)).await;
                }
            }
        }
        // The operator may be between two lives; the port is free meanwhile.
        tokio::task::yield_now().await;
    }
}

fn answer(state: &Mutex<State>, guests: &[Fakes], delta: Received) -> Report {
    let mut state = state.lock().unwrap();
    match delta {
        Received::Upsert(item, hash) => {
            if let ItemBody::Snapshot(_) = &item.body {
                let known = state.held.contains_key(&item.key);
                if !known {
                    let asked = look(&state, guests, &item);
                    state.asked.extend(asked);
                }
            }
            let observation = observe(&item, hash, &state);
            state.held.insert(item.key, (*item, hash));
            Report::Observed(vec![observation])
        }
        Received::Release(release) => {
            state.held.remove(&release.key);
            state.released.push(release.key);
            Report::Released(released(&release))
        }
    }
}

/// How the guest is that a grant of the volume is for.
fn look(state: &State, guests: &[Fakes], snapshot: &Item) -> Option<Asked> {
    let ItemBody::Snapshot(body) = &snapshot.body else {
        return None;
    };
    let grant = state.held.values().find_map(|(item, _)| match &item.body {
        ItemBody::Grant(grant) if grant.volume == body.volume => Some(grant),
        _ => None,
    })?;
    let vm: InstanceId = grant.initiator.rsplit(':').next()?.parse().ok()?;
    let at = guests
        .iter()
        .find(|host| host.hypervisor.power(vm).is_some());
    Some(Asked {
        power: at.and_then(|host| host.hypervisor.power(vm)),
        frozen: at.is_some_and(|host| host.hypervisor.is_frozen(vm)),
    })
}

/// How everything stands that it holds.
fn all(state: &Mutex<State>) -> Vec<Observation> {
    let state = state.lock().unwrap();
    let held = state.held.values();
    held.map(|(item, hash)| observe(item, *hash, &state))
        .collect()
}

const PROGRESS: Progress = Progress {
    done: Bytes(1 << 30),
    of: Bytes(3 << 30),
};

fn backup(item: &BackupItem, stalled: bool) -> Detail {
    let volumes = item.volumes.iter().map(|volume| VolumeBackedUp {
        file: volume.file.clone(),
        size: Bytes(1 << 30),
        read: Bytes(1 << 20),
        full: volume.base.is_none().then(|| Trouble {
            reason: "First".into(),
            message: "there is no backup before".into(),
        }),
    });
    let done = BackupDone {
        // As a repository names it: by what is in it.
        backup: format!("{:064x}", item.run.0.as_u128()),
        size: Bytes(3 << 30),
        began_at: TAKEN_AT,
        ended_at: TAKEN_AT + 60,
        counts: Some(BackupCounts {
            read: Bytes(2 << 20),
            added: Bytes(1 << 20),
            volumes: volumes.collect(),
        }),
    };
    Detail::Backup {
        progress: stalled.then_some(PROGRESS),
        done: (!stalled).then(|| Box::new(done)),
    }
}

fn observe(item: &Item, hash: ItemHash, state: &State) -> Observation {
    let stalled = state.stalled && matches!(item.body, ItemBody::Backup(_) | ItemBody::Restore(_));
    let detail = match &item.body {
        ItemBody::Volume(volume) => Detail::Volume {
            size: volume.size,
            allocated: Bytes(0),
            restored: volume.restore.as_ref().map(|order| order.order.clone()),
        },
        ItemBody::Snapshot(_) => Detail::Snapshot {
            size: Bytes(1 << 30),
            taken_at: TAKEN_AT,
        },
        ItemBody::Backup(item) => backup(item, stalled),
        ItemBody::Restore(item) => Detail::Restore {
            progress: stalled.then_some(PROGRESS),
            done: (!stalled).then_some(RestoreDone {
                written: item.size,
                began_at: TAKEN_AT,
                ended_at: TAKEN_AT + 60,
                verified: item.verify.then_some(Sha256([7; 32])),
            }),
        },
        _ => Detail::None,
    };
    let refused = state.refuses_snapshots && matches!(item.body, ItemBody::Snapshot(_));
    Observation {
        key: item.key,
        epoch: item.epoch,
        hash,
        state: match refused {
            false if stalled => ItemState::Pending(Trouble {
                reason: "Copying".into(),
                message: "1 of 3 GiB".into(),
            }),
            false => ItemState::Ready,
            true => ItemState::Failed(Trouble {
                reason: "PoolFull".into(),
                message: "no room is left".into(),
            }),
        },
        detail,
    }
}

fn released(release: &Release) -> Released {
    let erases = matches!(
        release.disposition,
        Disposition::EraseDiscard | Disposition::EraseZero | Disposition::EraseRandom
    );
    Released {
        key: release.key,
        epoch: release.epoch,
        note: String::new(),
        erasure: erases.then_some(Erasure {
            method: release.disposition,
            extents: 3,
            bytes: Bytes(3 << 20),
            verified: Bytes(64 << 40),
            began_at: TAKEN_AT,
            ended_at: TAKEN_AT + 60,
        }),
    }
}
