//! What a change of an object means for whom.
//!
//! A change of status alone is not told, except to those who sum it up: what hosts say and what the
//! ledger holds is heard from them, not from what we wrote.

use dc_crds::condition::types::{READY, USUAL};
use dc_crds::{
    Approval, Backup, BackupPolicy, BackupRepository, Condition, ConditionStatus, DEPARTMENT_LABEL,
    Department, GRANT, Host, Image, InformationSystem, MachineClass, MachineRestore, RequestPolicy,
    ResourceRequest, Restore, RestoreProof, StoragePool, Subnet, VirtualMachine, Volume,
    VolumeSnapshot, Zone,
};
use dc_operator_core::backup::status::FAILED;
use dc_operator_core::backup_policy::usual::LOOKED_AT;
use dc_operator_core::conditions::find;
use dc_operator_core::proof::{has_ended, proof_of};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Resource;

use super::{Change, Key, Kind};

/// A kind that knows whom its changes concern.
pub trait Tells: Sized {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change>;
}

/// Whether it came, went, was made anew, or asks for something else.
fn asks_otherwise<K: Resource>(old: Option<&K>, new: Option<&K>) -> bool {
    let (Some(old), Some(new)) = (old, new) else {
        return true;
    };
    let (old, new) = (old.meta(), new.meta());
    old.uid != new.uid
        || old.generation != new.generation
        || old.deletion_timestamp != new.deletion_timestamp
        || old.finalizers != new.finalizers
}

fn came_or_went<K>(old: Option<&K>, new: Option<&K>) -> bool {
    old.is_none() || new.is_none()
}

fn key_of<K: Resource>(kind: Kind, old: Option<&K>, new: Option<&K>) -> Option<Key> {
    let meta = new.or(old)?.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    Some(Key::new(kind, namespace, meta.name.as_deref()?))
}

fn object<K: Resource>(kind: Kind, old: Option<&K>, new: Option<&K>) -> Vec<Change> {
    match asks_otherwise(old, new) {
        true => key_of(kind, old, new)
            .map(Change::Object)
            .into_iter()
            .collect(),
        false => Vec::new(),
    }
}

macro_rules! tells_of_itself {
    ($($kind:ty => $name:expr),* $(,)?) => {$(
        impl Tells for $kind {
            fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
                object($name, old, new)
            }
        }
    )*};
}

tells_of_itself! {
    Department => Kind::Department,
    Host => Kind::Host,
    Zone => Kind::Zone,
    StoragePool => Kind::Pool,
    MachineClass => Kind::Class,
    ResourceRequest => Kind::Request,
    RequestPolicy => Kind::Policy,
    BackupRepository => Kind::Repository,
    BackupPolicy => Kind::BackupPolicy,
    MachineRestore => Kind::MachineRestore,
}

impl Tells for Approval {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Approval, old, new);
        if asks_otherwise(old, new)
            && let Some(approval) = new.or(old)
        {
            let namespace = approval.metadata.namespace.as_deref().unwrap_or_default();
            let request = Key::new(Kind::Request, namespace, &approval.spec.request);
            changes.push(Change::Look(request));
        }
        changes
    }
}

/// The request that an object was granted by waits for it to be as it should.
fn request_of<K: Resource>(
    old: Option<&K>,
    new: Option<&K>,
    conditions: impl Fn(&K) -> Option<&[Condition]>,
) -> Option<Change> {
    let ready = |object: Option<&K>| object.and_then(&conditions).is_some_and(is_ready);
    let meta = new?.meta();
    let grant = meta.annotations.as_ref()?.get(GRANT)?;
    let (request, _) = grant.split_once('.')?;
    let key = Key::new(Kind::Request, meta.namespace.as_deref()?, request);
    (ready(old) != ready(new)).then_some(Change::Look(key))
}

fn look(kind: Kind, name: &str) -> Change {
    Change::Look(Key::global(kind, name))
}

/// The system that something belonged to may go, if this was the last of it.
fn system_of<K: Resource>(
    old: Option<&K>,
    new: Option<&K>,
    system: impl Fn(&K) -> Option<&str>,
) -> Option<Change> {
    let (was, is) = (old.and_then(&system), new.and_then(&system));
    let namespace = old?.meta().namespace.as_deref()?;
    (was != is).then_some(Change::Look(Key::new(Kind::System, namespace, was?)))
}

/// The department that a namespaced object belongs to sums up how many there are and what they want.
fn department_of<K: Resource>(old: Option<&K>, new: Option<&K>) -> Option<Change> {
    let namespace = new.or(old)?.meta().namespace.as_deref()?;
    asks_otherwise(old, new).then(|| Change::Recount(Key::global(Kind::Department, namespace)))
}

impl Tells for Image {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Image, old, new);
        if old.is_some() && new.is_none() {
            let pools = old.iter().flat_map(|image| &image.spec.pools);
            changes.extend(pools.map(|pool| look(Kind::Pool, pool)));
        }
        changes
    }
}

impl Tells for InformationSystem {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::System, old, new);
        changes.extend(department_of(old, new));
        changes
    }
}

impl Tells for Subnet {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Subnet, old, new);
        changes.extend(request_of(old, new, |subnet| {
            Some(&subnet.status.as_ref()?.conditions)
        }));
        changes.extend(department_of(old, new));
        changes.extend(system_of(old, new, |subnet| subnet.spec.system.as_deref()));
        if asks_otherwise(old, new)
            && let Some(subnet) = new.or(old)
        {
            let namespace = subnet.metadata.namespace.as_deref().unwrap_or_default();
            changes.push(look(Kind::Network, namespace));
            if came_or_went(old, new) {
                changes.push(look(Kind::Zone, &subnet.spec.zone));
            }
        }
        changes
    }
}

impl Tells for Volume {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Volume, old, new);
        changes.extend(request_of(old, new, |volume| {
            Some(&volume.status.as_ref()?.conditions)
        }));
        changes.extend(department_of(old, new));
        changes.extend(system_of(old, new, |volume| Some(&*volume.spec.system)));
        changes
    }
}

impl Tells for VolumeSnapshot {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Snapshot, old, new);
        changes.extend(department_of(old, new));
        // What is made from it needs to know which volumes it is of, and that they are taken.
        let state = |snapshot: Option<&Self>| {
            let status = snapshot.and_then(|snapshot| snapshot.status.as_ref());
            status.map(|status| (status.state.clone(), status.volumes.clone()))
        };
        if changes.is_empty() && state(old) != state(new) {
            changes.extend(key_of(Kind::Snapshot, old, new).map(Change::Object));
        }
        changes
    }
}

impl Tells for Backup {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Backup, old, new);
        // How it ended: restores wait for it, and who sums backups up.
        let ended = |backup: Option<&Self>| {
            let status = backup.and_then(|backup| backup.status.as_ref());
            status.map(|status| {
                let proven = (status.proven_at.clone(), status.failed_proof.clone());
                (status.snapshot_id.clone(), status.state == FAILED, proven)
            })
        };
        // Somebody has looked at it: then it says something else.
        let seen = |backup: Option<&Self>| {
            let annotations = backup.and_then(|backup| backup.metadata.annotations.as_ref());
            annotations.and_then(|all| all.get(LOOKED_AT).cloned())
        };
        if changes.is_empty() && (ended(old) != ended(new) || seen(old) != seen(new)) {
            changes.extend(key_of(Kind::Backup, old, new).map(Change::Object));
        }
        // What its policy's people are told of it, which concerns nobody else.
        let told = |backup: Option<&Self>| {
            let status = backup.and_then(|backup| backup.status.as_ref());
            let reason = |type_| {
                let found = status.and_then(|status| find(&status.conditions, type_));
                found.map(|condition| condition.reason.clone())
            };
            (reason(READY), reason(USUAL))
        };
        if changes.is_empty()
            && told(old) != told(new)
            && let Some(name) = new.and_then(|backup| backup.spec.policy.as_ref())
        {
            return vec![Change::Recount(Key::global(Kind::BackupPolicy, name))];
        }
        if !changes.is_empty()
            && let Some(backup) = new.or(old)
        {
            let spec = &backup.spec;
            let repository = Key::global(Kind::Repository, &spec.repository);
            changes.push(Change::Recount(repository));
            let policy = spec.policy.as_ref();
            changes
                .extend(policy.map(|name| Change::Recount(Key::global(Kind::BackupPolicy, name))));
        }
        changes
    }
}

impl Tells for Restore {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Restore, old, new);
        // How it ended, and what it says: what it is for waits for that.
        let told = |restore: Option<&Self>| {
            let status = restore.and_then(|restore| restore.status.as_ref());
            status.map(|status| (status.state.clone(), status.progress.clone()))
        };
        let Some(restore) = new.or(old) else {
            return changes;
        };
        if changes.is_empty() && told(old) == told(new) {
            return changes;
        }
        if let Some((namespace, name)) = proof_of(&restore.metadata) {
            changes.push(Change::Look(Key::new(Kind::Proof, &namespace, &name)));
        }
        let namespace = restore.metadata.namespace.as_deref().unwrap_or_default();
        let owners = restore.metadata.owner_references.iter().flatten();
        let orders = owners.filter(|owner| owner.kind == Kind::MachineRestore.name());
        changes.extend(
            orders
                .map(|owner| Change::Look(Key::new(Kind::MachineRestore, namespace, &owner.name))),
        );
        changes
    }
}

impl Tells for RestoreProof {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Proof, old, new);
        let Some(proof) = new.or(old) else {
            return changes;
        };
        let ended = |proof: Option<&Self>| proof.is_some_and(has_ended);
        if changes.is_empty() && ended(old) == ended(new) {
            return changes;
        }
        let namespace = proof.metadata.namespace.as_deref().unwrap_or_default();
        changes.push(Change::Look(Key::new(
            Kind::Backup,
            namespace,
            &proof.spec.backup,
        )));
        // Those that wait for their turn look at it.
        changes.extend(key_of(Kind::Proof, old, new).map(Change::Object));
        changes
    }
}

fn is_ready(conditions: &[Condition]) -> bool {
    let ready = conditions.iter().find(|c| c.type_ == READY);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}

impl Tells for VirtualMachine {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        let mut changes = object(Kind::Vm, old, new);
        changes.extend(request_of(old, new, |vm| {
            Some(&vm.status.as_ref()?.conditions)
        }));
        changes.extend(department_of(old, new));
        let ready = |vm: Option<&Self>| {
            let status = vm.and_then(|vm| vm.status.as_ref());
            status.is_some_and(|status| is_ready(&status.conditions))
        };
        let Some(vm) = new.or(old) else {
            return changes;
        };
        let namespace = vm.metadata.namespace.as_deref().unwrap_or_default();
        let asks = asks_otherwise(old, new);
        if asks || ready(old) != ready(new) {
            let system = Key::new(Kind::System, namespace, &vm.spec.system);
            changes.push(Change::Look(system));
        }
        let published = |vm: Option<&Self>| {
            vm.map(|vm| {
                let cards = vm.spec.interfaces.iter();
                cards.map(|card| card.publish.clone()).collect::<Vec<_>>()
            })
        };
        // A machine that came or went changes the network by its claim.
        if asks && published(old) != published(new) {
            changes.push(look(Kind::Network, namespace));
        }
        changes
    }
}

/// Namespaces, roles and bindings concern the department that they are labelled for, or named after.
fn of_department<K: Resource>(
    old: Option<&K>,
    new: Option<&K>,
    name: impl Fn(&K) -> Option<String>,
) -> Vec<Change> {
    let label = |object: &K| {
        let labels = object.meta().labels.as_ref()?;
        labels.get(DEPARTMENT_LABEL).cloned()
    };
    let names = old.into_iter().chain(new);
    let mut names: Vec<String> = names
        .flat_map(|object| [label(object), name(object)])
        .flatten()
        .collect();
    names.sort();
    names.dedup();
    names
        .iter()
        .map(|name| look(Kind::Department, name))
        .collect()
}

impl Tells for Namespace {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        of_department(old, new, |namespace| namespace.metadata.name.clone())
    }
}

impl Tells for Role {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        of_department(old, new, |role| role.metadata.namespace.clone())
    }
}

impl Tells for RoleBinding {
    fn tells(old: Option<&Self>, new: Option<&Self>) -> Vec<Change> {
        of_department(old, new, |binding| binding.metadata.namespace.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::{MachineClassSpec, SubnetSpec};

    fn subnet(generation: i64, zone: &str) -> Subnet {
        let spec = SubnetSpec {
            system: None,
            zone: zone.into(),
            ipv4: None,
            ipv6: None,
            dns: vec![],
        };
        let mut subnet = Subnet::new("web", spec);
        subnet.metadata.namespace = Some("so-nnmt".into());
        subnet.metadata.generation = Some(generation);
        subnet
    }

    #[test]
    fn a_change_of_status_alone_is_not_told() {
        let spec = MachineClassSpec {
            vcpus: 1,
            memory: "1Gi".into(),
            cpu_model: "qemu64".into(),
        };
        let old = MachineClass::new("small", spec);
        let mut new = old.clone();
        new.metadata.resource_version = Some("9".into());
        new.status = Some(dc_crds::MachineClassStatus::default());
        assert_eq!(MachineClass::tells(Some(&old), Some(&new)), []);
        assert_eq!(
            MachineClass::tells(None, Some(&new)),
            [Change::Object(Key::global(Kind::Class, "small"))]
        );
    }

    #[test]
    fn the_system_hears_of_what_belonged_to_it_and_is_gone() {
        let mut there = subnet(1, "dmz");
        there.spec.system = Some("land".into());
        let land = Change::Look(Key::new(Kind::System, "so-nnmt", "land"));
        assert!(Subnet::tells(Some(&there), None).contains(&land));
        assert!(!Subnet::tells(None, Some(&there)).contains(&land));
        assert!(!Subnet::tells(Some(&there), Some(&there)).contains(&land));
    }

    #[test]
    fn a_subnet_that_comes_concerns_its_department_its_network_and_its_zone() {
        let changes = Subnet::tells(None, Some(&subnet(1, "dmz")));
        let department = Key::global(Kind::Department, "so-nnmt");
        assert!(changes.contains(&Change::Recount(department)));
        for key in [
            Key::global(Kind::Network, "so-nnmt"),
            Key::global(Kind::Zone, "dmz"),
        ] {
            assert!(changes.contains(&Change::Look(key.clone())), "{key}");
        }
        let changes = Subnet::tells(Some(&subnet(1, "dmz")), Some(&subnet(2, "dmz")));
        assert!(!changes.contains(&look(Kind::Zone, "dmz")));
    }

    fn backup(reason: &str) -> Backup {
        let spec = dc_crds::BackupSpec {
            vm: "web".into(),
            repository: "main".into(),
            policy: Some("nightly".into()),
            scheduled_at: None,
        };
        let mut backup = Backup::new("one", spec);
        backup.metadata.namespace = Some("so-nnmt".into());
        backup.status = Some(dc_crds::BackupStatus {
            conditions: vec![Condition {
                type_: USUAL.into(),
                status: ConditionStatus::False,
                reason: reason.into(),
                message: String::new(),
                observed_generation: 1,
                last_transition_time: String::new(),
            }],
            ..dc_crds::BackupStatus::default()
        });
        backup
    }

    #[test]
    fn what_is_said_of_a_backup_concerns_its_policy_and_who_looks_at_it_itself() {
        let (before, after) = (backup("Usual"), backup("LooksEncrypted"));
        let policy = Change::Recount(Key::global(Kind::BackupPolicy, "nightly"));
        assert_eq!(
            Backup::tells(Some(&before), Some(&after)),
            vec![policy.clone()]
        );
        assert_eq!(Backup::tells(Some(&after), Some(&after)), []);
        let mut seen = after.clone();
        let says = [(LOOKED_AT.to_owned(), "an upgrade".to_owned())];
        seen.metadata.annotations = Some(says.into());
        let changes = Backup::tells(Some(&after), Some(&seen));
        let itself = Change::Object(Key::new(Kind::Backup, "so-nnmt", "one"));
        assert!(
            changes.contains(&itself) && changes.contains(&policy),
            "{changes:?}"
        );
    }
}
