//! The operator's log, and the ids that its lines carry.
//!
//! A JSON line on standard error each; what it is about stands under `span`: `kind`, `department`,
//! `object` and, where there is one, `system` and `instance`, the id for life that the machine, its
//! host's log, its disks and its backups share. `request` is one for all lines of one look at one
//! object. Secrets are in no field: what holds one does not print it.

use tracing::{Span, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use uuid::Uuid;

use crate::stores::{Key, Kind, Stores};

/// Lines for programs; what is logged is set by RUST_LOG.
pub fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .json()
        .flatten_event(true)
        // The innermost span has all ids.
        .with_span_list(false)
        .finish()
}

/// The span of one look at one object.
#[must_use]
pub fn of_look(stores: &Stores, key: &Key) -> Span {
    let Ids { system, instance } = Ids::find(stores, key);
    let (department, host) = match key.kind {
        Kind::Department | Kind::Network | Kind::Showback => (Some(&*key.name), None),
        Kind::Host => (None, Some(&*key.name)),
        Kind::Zone
        | Kind::Pool
        | Kind::Image
        | Kind::Class
        | Kind::Policy
        | Kind::Repository
        | Kind::BackupPolicy => (None, None),
        Kind::System
        | Kind::Subnet
        | Kind::Volume
        | Kind::Snapshot
        | Kind::Backup
        | Kind::Restore
        | Kind::MachineRestore
        | Kind::Proof
        | Kind::Vm
        | Kind::Request
        | Kind::Approval => (Some(&*key.namespace), None),
    };
    tracing::info_span!(
        "look",
        kind = key.kind.name(),
        department,
        object = &*key.name,
        system,
        instance,
        host,
        request = %Uuid::new_v4().simple(),
    )
}

#[derive(Default)]
struct Ids {
    system: Option<String>,
    instance: Option<String>,
}

impl Ids {
    fn find(stores: &Stores, key: &Key) -> Self {
        let (namespace, name) = (&*key.namespace, &*key.name);
        let found = match key.kind {
            Kind::Vm => stores.vms.get(namespace, name).map(|vm| Self {
                system: Some(vm.spec.system.clone()),
                instance: vm.metadata.uid.clone(),
            }),
            Kind::Volume => stores.volumes.get(namespace, name).map(|volume| Self {
                system: Some(volume.spec.system.clone()),
                instance: volume.metadata.uid.clone(),
            }),
            Kind::Snapshot => stores.snapshots.get(namespace, name).map(|snapshot| Self {
                system: Some(snapshot.spec.system.clone()),
                instance: snapshot.metadata.uid.clone(),
            }),
            Kind::Backup => stores.backups.get(namespace, name).map(|backup| Self {
                system: None,
                instance: backup.metadata.uid.clone(),
            }),
            Kind::Restore => stores.restores.get(namespace, name).map(|restore| Self {
                system: Some(restore.spec.to.system.clone()),
                instance: restore.metadata.uid.clone(),
            }),
            Kind::MachineRestore => {
                let found = stores.machine_restores.get(namespace, name);
                found.map(|restore| Self {
                    system: restore.spec.system.clone(),
                    instance: restore.metadata.uid.clone(),
                })
            }
            Kind::Proof => stores.proofs.get(namespace, name).map(|proof| Self {
                system: None,
                instance: proof.metadata.uid.clone(),
            }),
            Kind::System => Some(Self {
                system: Some(name.to_owned()),
                instance: None,
            }),
            Kind::Department
            | Kind::Host
            | Kind::Zone
            | Kind::Pool
            | Kind::Image
            | Kind::Class
            | Kind::Subnet
            | Kind::Request
            | Kind::Approval
            | Kind::Policy
            | Kind::Repository
            | Kind::BackupPolicy
            | Kind::Network
            | Kind::Showback => None,
        };
        found.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;
        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_line_says_whose_object_of_which_system_it_is_about() {
        let stores = Stores::empty();
        let vm = serde_json::json!({
            "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"namespace": "so-nnmt", "name": "web",
                         "uid": "00000000-0000-0000-0000-000000000007"},
            "spec": {"system": "land", "class": "tiny", "disks": [], "interfaces": []},
        });
        stores.put_vm(serde_json::from_value(vm).unwrap());
        let lines = Lines::default();
        let subscriber = json(EnvFilter::new("info"), lines.clone());
        tracing::subscriber::with_default(subscriber, || {
            let key = Key::new(Kind::Vm, "so-nnmt", "web");
            of_look(&stores, &key).in_scope(|| tracing::info!(revision = 7, "committed"));
            let key = Key::global(Kind::Host, "compute-1");
            of_look(&stores, &key).in_scope(|| tracing::info!("seen"));
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let read: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [machine, host] = &read[..] else {
            panic!("{text}");
        };
        assert_eq!(machine["message"], "committed");
        assert_eq!(machine["revision"], 7);
        let of = &machine["span"];
        assert_eq!(of["kind"], "VirtualMachine");
        assert_eq!(of["department"], "so-nnmt");
        assert_eq!(of["object"], "web");
        assert_eq!(of["system"], "land");
        assert_eq!(of["instance"], "00000000-0000-0000-0000-000000000007");
        assert_eq!(of["request"].as_str().map(str::len), Some(32));
        assert_eq!(host["span"]["host"], "compute-1");
        assert!(host["span"].get("department").is_none());
        assert_ne!(host["span"]["request"], of["request"]);
    }
}
