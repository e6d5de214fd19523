//! Writing statuses: only when they differ, not for what passes in a moment, and not for every
//! count.
//!
//! What is settled is written at once. What is on its way is written only when it stays so for a
//! while, so that a machine that starts quickly costs one write. What we wrote is remembered until
//! the watch shows it, so that an older picture does not make us write it again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dc_crds::condition::types::{CAPACITY, READY, USUAL, WITHIN_LEASE};
use dc_operator_core::words::Standing;
use kube::Resource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::Context;
use super::api::{self, ApiError, ScopedApi};
use crate::events::Tone;
use crate::stores::{Key, Kind, version_of};

/// A machine on simulated or fast hosts is there in less.
const PATIENCE_MOVING: Duration = Duration::from_secs(2);
/// Hosts need this long to come back to an operator that has just begun to lead: what they carry is
/// not called unknown before.
const PATIENCE_UNSEEN: Duration = Duration::from_secs(20);

/// Long enough for the rest of a set of manifests that are applied together.
const PATIENCE_TROUBLED: Duration = Duration::from_millis(500);

/// A volume that was made for a machine is claimed by it in a moment: one write for both.
const PATIENCE_ATTACHED: Duration = Duration::from_millis(500);

/// Long enough for a machine to come with its volumes: one write for all of them.
const PATIENCE_COUNTS: Duration = Duration::from_millis(1500);

/// Whether a status counts things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Beside its conditions, which do not wait for the counts' pace.
    Some,
    /// Its conditions are counts too.
    Only,
    None,
}

/// A kind whose status is written here.
pub trait Reports: ScopedApi + Clone + DeserializeOwned + std::fmt::Debug {
    type Status: Clone + PartialEq + Serialize + DeserializeOwned;
    fn status(&self) -> Option<&Self::Status>;
    fn set_status(&mut self, status: Self::Status);
}

macro_rules! reports {
    ($($kind:ident => $status:ident),* $(,)?) => {$(
        impl Reports for dc_crds::$kind {
            type Status = dc_crds::$status;
            fn status(&self) -> Option<&Self::Status> {
                self.status.as_ref()
            }
            fn set_status(&mut self, status: Self::Status) {
                self.status = Some(status);
            }
        }
    )*};
}

reports! {
    Department => DepartmentStatus,
    Host => HostStatus,
    Zone => ZoneStatus,
    StoragePool => StoragePoolStatus,
    Image => ImageStatus,
    MachineClass => MachineClassStatus,
    InformationSystem => InformationSystemStatus,
    Subnet => SubnetStatus,
    Volume => VolumeStatus,
    VolumeSnapshot => VolumeSnapshotStatus,
    VirtualMachine => VirtualMachineStatus,
    ResourceRequest => ResourceRequestStatus,
    Approval => ApprovalStatus,
    RequestPolicy => RequestPolicyStatus,
    BackupRepository => BackupRepositoryStatus,
    BackupPolicy => BackupPolicyStatus,
    Backup => BackupStatus,
    Restore => RestoreStatus,
    MachineRestore => MachineRestoreStatus,
    RestoreProof => RestoreProofStatus,
}

/// What is remembered of statuses between looks.
#[derive(Default)]
pub struct Memory {
    state: Mutex<HashMap<Uuid, Remembered>>,
}

#[derive(Default)]
struct Remembered {
    /// What we wrote last, until the watch is that far.
    written: Option<Written>,
    /// Since when the status differs from what is written, in the same way.
    differs: Option<(Instant, Standing)>,
}

struct Written {
    key: Key,
    /// The resource version that the write made.
    version: u64,
    status: Value,
}

impl Remembered {
    fn is_empty(&self) -> bool {
        self.written.is_none() && self.differs.is_none()
    }
}

impl Memory {
    /// Forgets what the watch has shown by now, or will never show. What is settled is not looked
    /// at again, and would be remembered for good.
    ///
    /// `shown` is the version in which an object is known.
    pub fn sweep(&self, shown: impl Fn(&Key) -> Option<u64>) {
        self.lock().retain(|_, remembered| {
            let caught_up =
                |written: &Written| shown(&written.key).is_none_or(|v| v >= written.version);
            if remembered.written.as_ref().is_some_and(caught_up) {
                remembered.written = None;
            }
            !remembered.is_empty()
        });
    }

    pub fn forget<K: Resource>(&self, object: &K) {
        if let Some(uid) = uid_of(object) {
            self.lock().remove(&uid);
        }
    }

    /// The object with the status we wrote, where the watch has not shown that yet.
    pub fn latest<K: Reports>(&self, object: Arc<K>) -> Arc<K> {
        let Some(uid) = uid_of(&*object) else {
            return object;
        };
        let version = version_of(&*object);
        let written = {
            let state = self.lock();
            let remembered = state.get(&uid).and_then(|r| r.written.as_ref());
            match remembered {
                Some(written) if written.version > version => written.status.clone(),
                Some(_) | None => return object,
            }
        };
        match serde_json::from_value(written) {
            Ok(status) => {
                let mut object = K::clone(&object);
                object.set_status(status);
                Arc::new(object)
            }
            Err(_) => object,
        }
    }

    /// What is written, as far as we know: what we wrote ourselves, if the object is older.
    fn written(&self, uid: Uuid, version: u64, shown: Option<Value>) -> Option<Value> {
        let mut state = self.lock();
        let Some(remembered) = state.get_mut(&uid) else {
            return shown;
        };
        match &remembered.written {
            Some(written) if written.version > version => Some(written.status.clone()),
            Some(_) | None => {
                remembered.written = None;
                if remembered.is_empty() {
                    state.remove(&uid);
                }
                shown
            }
        }
    }

    /// For how long it has differed in this way: what was unknown a moment ago and is on its way
    /// now begins to wait anew.
    fn differs(&self, uid: Uuid, standing: Standing) -> Duration {
        let mut state = self.lock();
        let remembered = state.entry(uid).or_default();
        match remembered.differs {
            Some((since, before)) if before == standing => since.elapsed(),
            Some(_) | None => {
                remembered.differs = Some((Instant::now(), standing));
                Duration::ZERO
            }
        }
    }

    fn agrees(&self, uid: Uuid) {
        let mut state = self.lock();
        if let Some(remembered) = state.get_mut(&uid) {
            remembered.differs = None;
            if remembered.is_empty() {
                state.remove(&uid);
            }
        }
    }

    fn wrote(&self, uid: Uuid, written: Written) {
        let mut state = self.lock();
        let remembered = state.entry(uid).or_default();
        remembered.written = Some(written);
        remembered.differs = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Uuid, Remembered>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid_of<K: Resource>(object: &K) -> Option<Uuid> {
    object.meta().uid.as_deref()?.parse().ok()
}

/// Writes a status if it differs and its time has come; answers with how long to wait if not.
pub async fn write<K: Reports>(
    context: &Context,
    object: &Arc<K>,
    kind: Kind,
    new: K::Status,
    standing: Standing,
    counts: Counts,
) -> Result<Option<Duration>, ApiError> {
    let Some(uid) = uid_of(&**object) else {
        return Ok(None);
    };
    let memory = &context.reports;
    let shown = object.status().map(|status| serde_json::json!(status));
    let written = memory.written(uid, version_of(&**object), shown);
    let value = serde_json::json!(new);
    if written.as_ref() == Some(&value) {
        memory.agrees(uid);
        return Ok(None);
    }
    let same_conditions = written.as_ref().map(|w| &w["conditions"]) == Some(&value["conditions"]);
    let only_counts = match counts {
        Counts::Some => same_conditions,
        Counts::Only => written.is_some(),
        Counts::None => false,
    };
    let patience = match standing {
        // What these do next goes by what they have written down.
        _ if [Kind::Proof, Kind::MachineRestore].contains(&kind) => Duration::ZERO,
        _ if only_counts => PATIENCE_COUNTS,
        Standing::Settled | Standing::Resting => Duration::ZERO,
        Standing::Moving => PATIENCE_MOVING,
        Standing::Unseen => PATIENCE_UNSEEN,
        Standing::Troubled => PATIENCE_TROUBLED,
    };
    let patience = match is_about_to_be_attached(kind, &**object, written.as_ref(), &value) {
        true => patience.max(PATIENCE_ATTACHED),
        false => patience,
    };
    let waited = memory.differs(uid, standing);
    if waited < patience {
        return Ok(Some(patience - waited));
    }
    if !only_counts {
        context.pace.note_other();
    } else if let Err(pause) = context.pace.take(uid) {
        return Ok(Some(pause));
    }
    let old = written.as_ref();
    let version = api::patch_status(context, &**object, kind, old, &value).await?;
    if let Some(version) = version.and_then(|version| version.parse().ok()) {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let key = Key::new(kind, namespace, meta.name.as_deref().unwrap_or_default());
        let status = value.clone();
        memory.wrote(
            uid,
            Written {
                key,
                version,
                status,
            },
        );
        tell(context, object, kind, old, &value, standing);
        tell_lease(context, object, old, &value);
    }
    Ok(None)
}

/// Whether a new volume that a machine's template made is there and not attached yet.
fn is_about_to_be_attached<K: Resource>(
    kind: Kind,
    object: &K,
    written: Option<&Value>,
    new: &Value,
) -> bool {
    kind == Kind::Volume
        && written.is_none()
        && object
            .meta()
            .owner_references
            .as_ref()
            .is_some_and(|owners| !owners.is_empty())
        && new["attachedTo"].is_null()
}

/// An event when the reason of a condition has changed, of what people want to know: that a machine
/// runs, that something is wrong, that a pool fills up, that a backup is unlike those before it.
fn tell<K: Reports>(
    context: &Context,
    object: &Arc<K>,
    kind: Kind,
    old: Option<&Value>,
    new: &Value,
    standing: Standing,
) {
    let tone = match (standing, kind) {
        (Standing::Troubled | Standing::Unseen, _) => Some(Tone::Warning),
        (Standing::Settled | Standing::Resting, Kind::Vm) => Some(Tone::Normal),
        (Standing::Settled, Kind::Backup | Kind::Restore | Kind::MachineRestore | Kind::Proof) => {
            Some(Tone::Normal)
        }
        (Standing::Resting, Kind::Proof) => Some(Tone::Warning),
        (Standing::Settled | Standing::Resting | Standing::Moving, _) => None,
    };
    if let (Some(tone), Some(now)) = (tone, changed(READY, old, new)) {
        tell_one(context, object, tone, now);
    }
    for type_ in [CAPACITY, USUAL] {
        if let Some(now) = changed(type_, old, new)
            && now["status"] == "False"
        {
            tell_one(context, object, Tone::Warning, now);
        }
    }
}

fn tell_one<K: Reports>(context: &Context, object: &Arc<K>, tone: Tone, condition: &Value) {
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    let (reason, note) = (text("reason"), text("message"));
    tracing::info!(condition = text("type"), reason, "{note}");
    context.events.tell(&**object, tone, reason, note);
}

/// The condition as it is now, if its reason is another than it was.
fn changed<'a>(type_: &str, old: Option<&Value>, new: &'a Value) -> Option<&'a Value> {
    let now = condition(type_, new)?;
    let before = old.and_then(|old| condition(type_, old));
    let same = before.is_some_and(|before| before["reason"] == now["reason"]);
    (!same).then_some(now)
}

fn condition<'a>(type_: &str, status: &'a Value) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions.iter().find(|c| c["type"] == type_)
}

/// An event for each warning that a lease ends, and for its end.
fn tell_lease<K: Reports>(context: &Context, object: &Arc<K>, old: Option<&Value>, new: &Value) {
    let said = |lease: &Value| (lease["reason"].clone(), lease["message"].clone());
    let before = old.and_then(|old| condition(WITHIN_LEASE, old)).map(said);
    if let Some(now) = condition(WITHIN_LEASE, new)
        && now["reason"] != "LeaseRunning"
        && before != Some(said(now))
    {
        tell_one(context, object, Tone::Warning, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(version: u64, status: Value) -> Written {
        let key = Key::new(Kind::Vm, "so-nnmt", "web");
        Written {
            key,
            version,
            status,
        }
    }

    #[test]
    fn what_is_not_looked_at_again_is_forgotten_once_the_watch_shows_it_or_it_is_gone() {
        let (memory, uid) = (Memory::default(), Uuid::from_u128(1));
        for (shown, kept) in [(Some(11), true), (Some(12), false), (None, false)] {
            memory.wrote(uid, written(12, json!({"state": "Running"})));
            memory.sweep(|_| shown);
            assert_eq!(memory.lock().contains_key(&uid), kept, "{shown:?}");
        }
        memory.differs(uid, Standing::Moving);
        memory.sweep(|_| None);
        assert!(memory.lock().contains_key(&uid), "since when is kept");
    }

    #[test]
    fn what_we_wrote_counts_until_the_watch_has_caught_up() {
        let memory = Memory::default();
        let uid = Uuid::from_u128(1);
        let (old, new) = (json!({"state": "Pending"}), json!({"state": "Running"}));
        memory.wrote(uid, written(12, new.clone()));
        assert_eq!(memory.written(uid, 11, Some(old.clone())), Some(new));
        let later = json!({"state": "Stopped"});
        assert_eq!(memory.written(uid, 12, Some(later.clone())), Some(later));
        assert!(memory.lock().is_empty(), "nothing is remembered for longer");
    }

    #[test]
    fn a_condition_has_changed_when_its_reason_has() {
        let status = |reason: &str, message: &str| json!({"conditions": [{"type": "CapacityLeft", "reason": reason, "message": message}]});
        let (old, fuller) = (
            status("PoolFillingUp", "81%"),
            status("PoolFillingUp", "82%"),
        );
        assert_eq!(changed(CAPACITY, Some(&old), &fuller), None);
        assert!(changed(CAPACITY, Some(&status("HasRoom", "")), &old).is_some());
        assert!(changed(CAPACITY, None, &old).is_some());
        assert_eq!(changed(READY, None, &old), None);
    }

    #[test]
    fn the_time_of_a_difference_ends_when_there_is_none() {
        let memory = Memory::default();
        let uid = Uuid::from_u128(1);
        memory.differs(uid, Standing::Moving);
        assert!(memory.lock()[&uid].differs.is_some());
        memory.agrees(uid);
        assert!(memory.lock().is_empty());
    }
}
