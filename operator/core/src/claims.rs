//! The ledger as it was last seen, with the indexes that decisions need.
//!
//! Filled key by key with [`Claims::apply`], in any order; the indexes always agree with the maps.
//! Nothing is counted anywhere else: what a host or a pool has promised is what the claims say.
//! A key or value that cannot be read is an error, never skipped: a claim that is not understood
//! is still somebody's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dc_types::claim::{
    AttachClaim, BackupClaim, DepartmentClaim, DestroyedKey, ErasedVolume, HeldBy, HoldClaim,
    ManifestClaim, MoveClaim, PendingRelease, RestoreClaim, SnapshotClaim, SubnetClaim, VmClaim,
    VolumeClaim, VolumeKey, keys,
};
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::{
    Bytes, DepartmentName, Epoch, HostName, InstanceId, MiB, ObjectUid, PoolName, SnapshotId,
    SubnetUid,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

mod charges;
mod index;
mod read;

use charges::Turn;
pub use charges::{Charge, Charges};
use read::{Entry, bad_key, claimed, id, read_value, release_of_key, replace};

#[derive(Debug, Error)]
pub enum ClaimError {
    #[error("the ledger's key {key:?} does not read as a claim's key")]
    Key { key: String },
    #[error("the ledger's key {key:?} holds a value that does not read")]
    Value {
        key: String,
        #[source]
        source: serde_json::Error,
    },
}

/// A claim as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed<T> {
    pub value: T,
    /// Mod revision of its key: what a guard names.
    pub revision: u64,
    /// The claim's age. The revision under this incarnation, unless the claim was rebuilt: then
    /// the epoch that hosts and storage knew it by is kept until the claim is written again.
    pub epoch: Epoch,
}

/// A claim that a rebuild wrote, with the epoch it was found under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rebuilt<T> {
    #[serde(flatten)]
    pub value: T,
    #[serde(rename = "keptEpoch")]
    pub kept_epoch: Epoch,
}

/// The one certificate that a host's agent is believed by: value of `host/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostIdentity {
    /// SHA-256 of the certificate's DER form, lower-case hexadecimal.
    pub fingerprint: String,
    /// The one before, until the new one was first used: a renewal whose answer was lost.
    pub previous: Option<String>,
    /// Seconds since 1970.
    pub not_after: i64,
    /// The `rejoin` text of the Host that its last join served.
    #[serde(default)]
    pub rejoin: Option<String>,
}

pub const HOST: &str = "host/";

#[must_use]
pub fn host_key(host: &HostName) -> String {
    format!("{HOST}{host}")
}

/// What the machines of one host were promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostPromise {
    pub vms: u64,
    pub vcpus: u64,
    pub memory: MiB,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub incarnation: u64,
    pub vms: BTreeMap<InstanceId, Claimed<VmClaim>>,
    pub volumes: BTreeMap<InstanceId, Claimed<VolumeClaim>>,
    /// The second places of volumes, by the volume.
    pub moves: BTreeMap<InstanceId, Claimed<MoveClaim>>,
    /// By the place of the volume's bytes: see [`Claims::attachment_of`].
    pub attachments: BTreeMap<InstanceId, Claimed<AttachClaim>>,
    /// Wrapped keys, by their volume. That of a volume whose bytes were retained outlives its claim.
    pub keys: BTreeMap<InstanceId, Claimed<VolumeKey>>,
    /// Keys that were destroyed, by their volume, until the certificate stands.
    pub destroyed: BTreeMap<InstanceId, Claimed<DestroyedKey>>,
    pub snapshots: BTreeMap<SnapshotId, Claimed<SnapshotClaim>>,
    /// By the machine whose guest is held.
    pub holds: BTreeMap<InstanceId, Claimed<HoldClaim>>,
    /// By the uid of the Backup.
    pub backups: BTreeMap<ObjectUid, Claimed<BackupClaim>>,
    /// By the uid of the Restore.
    pub restores: BTreeMap<ObjectUid, Claimed<RestoreClaim>>,
    /// By the uid of the MachineRestore.
    pub manifests: BTreeMap<ObjectUid, Claimed<ManifestClaim>>,
    /// By the place that the bytes were in.
    pub erased: BTreeMap<InstanceId, Claimed<ErasedVolume>>,
    pub subnets: BTreeMap<SubnetUid, Claimed<SubnetClaim>>,
    pub departments: BTreeMap<DepartmentName, Claimed<DepartmentClaim>>,
    pub releases: BTreeMap<(HostName, ItemKey), Claimed<PendingRelease>>,
    pub hosts: BTreeMap<HostName, Claimed<HostIdentity>>,
    /// Addresses, MACs, VNIs and prefixes by their key.
    pub held: HashMap<String, (HeldBy, u64)>,
    /// Keys that only serve as guards, such as `pool/<name>`: their revision.
    pub guards: HashMap<String, u64>,
    host_vms: BTreeMap<HostName, BTreeSet<InstanceId>>,
    host_promises: BTreeMap<HostName, HostPromise>,
    namespace_vms: BTreeMap<String, BTreeSet<InstanceId>>,
    host_volumes: BTreeMap<HostName, BTreeSet<InstanceId>>,
    /// The volumes that do not lie under their own id, by their place.
    moved_volumes: BTreeMap<InstanceId, InstanceId>,
    /// The volumes that have a second place, by that.
    second_places: BTreeMap<InstanceId, InstanceId>,
    volume_snapshots: BTreeMap<InstanceId, BTreeSet<SnapshotId>>,
    owner_snapshots: BTreeMap<ObjectUid, BTreeSet<SnapshotId>>,
    machine_backups: BTreeMap<InstanceId, BTreeSet<ObjectUid>>,
    volume_restores: BTreeMap<InstanceId, BTreeSet<ObjectUid>>,
    pool_promises: BTreeMap<PoolName, Bytes>,
    charges: Charges,
}

impl Claims {
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            ..Self::default()
        }
    }

    /// The epoch of a claim written at `revision` under this incarnation.
    #[must_use]
    pub fn epoch_of(&self, revision: u64) -> Epoch {
        Epoch {
            incarnation: self.incarnation,
            revision,
        }
    }

    /// Machines that a host may run.
    pub fn vms_on(&self, host: &HostName) -> impl Iterator<Item = &Claimed<VmClaim>> {
        let ids = self.host_vms.get(host).into_iter().flatten();
        ids.filter_map(|id| self.vms.get(id))
    }

    /// Machines whose owner lives in a namespace: those of one department.
    pub fn vms_in(&self, namespace: &str) -> impl Iterator<Item = &Claimed<VmClaim>> {
        let ids = self.namespace_vms.get(namespace).into_iter().flatten();
        ids.filter_map(|id| self.vms.get(id))
    }

    /// Volumes that a storage host holds.
    pub fn volumes_on(&self, host: &HostName) -> impl Iterator<Item = &Claimed<VolumeClaim>> {
        let ids = self.host_volumes.get(host).into_iter().flatten();
        ids.filter_map(|id| self.volumes.get(id))
    }

    /// The id under which a storage host has, or is to have, a volume's bytes.
    #[must_use]
    pub fn place_of(&self, volume: InstanceId) -> InstanceId {
        let claim = self.volumes.get(&volume);
        claim.map_or(volume, |claim| claim.value.place())
    }

    /// The volume whose bytes are in a place.
    #[must_use]
    pub fn volume_at(&self, place: InstanceId) -> Option<&Claimed<VolumeClaim>> {
        let volume = self.moved_volumes.get(&place).unwrap_or(&place);
        let claim = self.volumes.get(volume)?;
        (claim.value.place() == place).then_some(claim)
    }

    /// The volume that has its second place here.
    #[must_use]
    pub fn second_at(&self, place: InstanceId) -> Option<&Claimed<MoveClaim>> {
        self.moves.get(self.second_places.get(&place)?)
    }

    /// Who may open a volume.
    #[must_use]
    pub fn attachment_of(&self, volume: InstanceId) -> Option<&Claimed<AttachClaim>> {
        self.attachments.get(&self.place_of(volume))
    }

    /// Snapshots of a volume, whoever they belong to.
    pub fn snapshots_of(
        &self,
        volume: InstanceId,
    ) -> impl Iterator<Item = &Claimed<SnapshotClaim>> {
        let ids = self.volume_snapshots.get(&volume).into_iter().flatten();
        ids.filter_map(|id| self.snapshots.get(id))
    }

    /// Backups of a machine that run, or whose snapshots the next one is told from.
    pub fn backups_of(&self, vm: InstanceId) -> impl Iterator<Item = &Claimed<BackupClaim>> {
        let ids = self.machine_backups.get(&vm).into_iter().flatten();
        ids.filter_map(|id| self.backups.get(id))
    }

    /// Who writes a volume, or has written it and not been let go yet.
    pub fn restores_of(&self, volume: InstanceId) -> impl Iterator<Item = &Claimed<RestoreClaim>> {
        let ids = self.volume_restores.get(&volume).into_iter().flatten();
        ids.filter_map(|id| self.restores.get(id))
    }

    /// The snapshots that one VolumeSnapshot or Backup has.
    pub fn snapshots_by(&self, owner: ObjectUid) -> impl Iterator<Item = &Claimed<SnapshotClaim>> {
        let ids = self.owner_snapshots.get(&owner).into_iter().flatten();
        ids.filter_map(|id| self.snapshots.get(id))
    }

    /// Whether a claim gives a host what it holds under an item's key. Images are nobody's.
    #[must_use]
    pub fn has_item(&self, host: &HostName, key: &ItemKey) -> bool {
        let id = InstanceId(key.id);
        match key.kind {
            ItemKind::Vm => self.vms.get(&id).is_some_and(|vm| vm.value.host == *host),
            ItemKind::Volume | ItemKind::Grant => {
                let volume = self.volume_at(id);
                let second = self.second_at(id);
                (volume.is_some_and(|volume| volume.value.host == *host)
                    || second.is_some_and(|second| second.value.host == *host))
                    && (key.kind == ItemKind::Volume || self.attachments.contains_key(&id))
            }
            ItemKind::Snapshot => {
                let snapshot = self.snapshots.get(&SnapshotId(key.id));
                snapshot.is_some_and(|snapshot| snapshot.value.host == *host)
            }
            ItemKind::Backup => {
                let backup = self.backups.get(&ObjectUid(key.id));
                backup.is_some_and(|backup| backup.value.host == *host)
            }
            ItemKind::Restore => {
                let restore = self.restores.get(&ObjectUid(key.id));
                restore.is_some_and(|restore| restore.value.host == *host)
            }
            ItemKind::Manifest => {
                let manifest = self.manifests.get(&ObjectUid(key.id));
                manifest.is_some_and(|manifest| manifest.value.host == *host)
            }
            ItemKind::Image | ItemKind::Network | ItemKind::Endpoint => true,
        }
    }

    /// Releases that a host has not confirmed.
    pub fn releases_of(&self, host: &HostName) -> impl Iterator<Item = &Claimed<PendingRelease>> {
        let first = ItemKey::new(ItemKind::Image, Uuid::nil());
        let of_host = move |((owner, _), _): &(&(HostName, ItemKey), _)| owner == host;
        self.releases
            .range((host.clone(), first)..)
            .take_while(of_host)
            .map(|(_, claimed)| claimed)
    }

    #[must_use]
    pub fn promised_on(&self, host: &HostName) -> HostPromise {
        self.host_promises.get(host).copied().unwrap_or_default()
    }

    /// Bytes promised to the owners of a pool's volumes and snapshots: a snapshot keeps what its
    /// volume has written over since, up to all of it.
    #[must_use]
    pub fn promised_in(&self, pool: &PoolName) -> Bytes {
        self.pool_promises.get(pool).copied().unwrap_or_default()
    }

    /// What the claims of departments hold.
    #[must_use]
    pub fn charges(&self) -> &Charges {
        &self.charges
    }

    /// Takes in one key as the ledger has it: its value, or that it is gone.
    ///
    /// The caller sees to the order of changes of one key.
    pub fn apply(
        &mut self,
        key: &str,
        value: Option<&str>,
        revision: u64,
    ) -> Result<(), ClaimError> {
        let incarnation = self.incarnation;
        let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
        let written = self.epoch_of(revision);
        let entry = Entry {
            key,
            rest,
            value,
            written,
        };
        match kind {
            "vm" => {
                let id = id(key, rest)?;
                let new = claimed(key, value, incarnation, revision)?;
                let old = replace(&mut self.vms, id, new.clone());
                if let Some(old) = old {
                    self.unindex_vm(id, &old.value);
                }
                if let Some(new) = new {
                    self.index_vm(id, &new.value);
                }
            }
            "volume" => {
                let id = id(key, rest)?;
                let new = claimed(key, value, incarnation, revision)?;
                let old = replace(&mut self.volumes, id, new.clone());
                if let Some(old) = old {
                    self.unindex_volume(id, &old.value);
                }
                if let Some(new) = new {
                    self.index_volume(id, &new.value);
                }
            }
            "move" => {
                let id = id(key, rest)?;
                let new = claimed(key, value, incarnation, revision)?;
                let old = replace(&mut self.moves, id, new.clone());
                if let Some(old) = old {
                    self.unindex_move(&old.value);
                }
                if let Some(new) = new {
                    self.index_move(id, &new.value);
                }
            }
            "attach" => entry.into(&mut self.attachments)?,
            "key" => entry.into(&mut self.keys)?,
            "destroyed" => entry.into(&mut self.destroyed)?,
            "snapshot" => {
                let id = rest.parse().map_err(|_| bad_key(key))?;
                let new = claimed(key, value, incarnation, revision)?;
                let old = replace(&mut self.snapshots, id, new.clone());
                if let Some(old) = old {
                    self.unindex_snapshot(id, &old.value);
                }
                if let Some(new) = new {
                    self.index_snapshot(id, &new.value);
                }
            }
            "hold" => entry.into(&mut self.holds)?,
            "backup" => {
                let id: ObjectUid = rest.parse().map_err(|_| bad_key(key))?;
                let new: Option<Claimed<BackupClaim>> = claimed(key, value, incarnation, revision)?;
                let vm = new.as_ref().map(|new| new.value.vm);
                if let Some(old) = replace(&mut self.backups, id, new) {
                    index::remove_from(&mut self.machine_backups, &old.value.vm, id);
                }
                if let Some(vm) = vm {
                    self.machine_backups.entry(vm).or_default().insert(id);
                }
            }
            "restore" => {
                let id: ObjectUid = rest.parse().map_err(|_| bad_key(key))?;
                let new: Option<Claimed<RestoreClaim>> =
                    claimed(key, value, incarnation, revision)?;
                let volume = new.as_ref().map(|new| new.value.volume);
                if let Some(old) = replace(&mut self.restores, id, new) {
                    index::remove_from(&mut self.volume_restores, &old.value.volume, id);
                }
                if let Some(volume) = volume {
                    self.volume_restores.entry(volume).or_default().insert(id);
                }
            }
            "erased" => entry.into(&mut self.erased)?,
            "manifest" => {
                let owner: ObjectUid = rest.parse().map_err(|_| bad_key(key))?;
                let new = claimed(key, value, incarnation, revision)?;
                replace(&mut self.manifests, owner, new);
            }
            "subnet" => {
                let subnet = rest.parse().map_err(|_| bad_key(key))?;
                let new = claimed(key, value, incarnation, revision)?;
                if let Some(new) = &new {
                    self.charges.subnet(&new.value, Turn::Came);
                }
                if let Some(old) = replace(&mut self.subnets, subnet, new) {
                    self.charges.subnet(&old.value, Turn::Went);
                }
            }
            "department" => {
                let department = DepartmentName::new(rest).map_err(|_| bad_key(key))?;
                let new = claimed(key, value, incarnation, revision)?;
                replace(&mut self.departments, department, new);
            }
            "release" => {
                let at = release_of_key(key, rest)?;
                let new = claimed(key, value, incarnation, revision)?;
                replace(&mut self.releases, at, new);
            }
            "host" => {
                let host = HostName::new(rest).map_err(|_| bad_key(key))?;
                let new = claimed(key, value, incarnation, revision)?;
                replace(&mut self.hosts, host, new);
            }
            "address" | "mac" | "vni" | "prefix" => {
                match value {
                    Some(value) => {
                        let holder = read_value(key, value)?;
                        self.held.insert(key.to_owned(), (holder, revision));
                    }
                    None => {
                        self.held.remove(key);
                    }
                };
            }
            "pool" => match value {
                Some(_) => drop(self.guards.insert(key.to_owned(), revision)),
                None => drop(self.guards.remove(key)),
            },
            // The ledger itself looks after these two.
            _ if key == keys::INCARNATION || key == keys::LEADER || kind == keys::LEADER => {}
            _ => return Err(bad_key(key)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
