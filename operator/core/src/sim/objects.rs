//! Objects of a small data centre, and what its hosts say.

use dc_crds::host::{HostRole, HostSpec};
use dc_crds::machine_class::MachineClassSpec;
use dc_crds::pool::{Driver, IscsiDriver, OwnerClass, StoragePoolSpec};
use dc_crds::subnet::SubnetSpec;
use dc_crds::vm::{Disk, Interface, VirtualMachineSpec};
use dc_crds::volume::{EraseMethod, Reclaim, SourceSpec, VolumeSpec, VolumeTemplate};
use dc_crds::zone::{IngressRule, PoolV4, PoolV6, ProtocolName, ServiceSpec, ZoneKind, ZoneSpec};
use dc_crds::{Host, MachineClass, StoragePool, Subnet, Zone};
use dc_types::plan::{BackupItem, DiskItem, Firmware, Formatted, Item, ItemBody, Portal, Power};
use dc_types::report::{
    Accelerator, BackupCounts, BackupDone, Detail, DiskUse, Guest, HostFacts, ItemState,
    Observation, PoolFacts, PoolPlace, RestoreDone, Sha256, Trouble, VolumeBackedUp,
};
use dc_types::{Bytes, MiB, PoolName};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use super::{CLASS, POOL, STORAGE};

/// A quarter of what has changed is new to the repository.
fn counted(backup: &BackupItem) -> BackupCounts {
    const READ: Bytes = Bytes(4 << 20);
    let volumes = backup.volumes.iter().map(|volume| VolumeBackedUp {
        file: volume.file.clone(),
        size: Bytes(1 << 30),
        read: READ,
        full: volume.base.is_none().then(|| Trouble {
            reason: "NoBase".into(),
            message: "there is no backup before".into(),
        }),
    });
    BackupCounts {
        read: READ,
        added: Bytes(READ.0 / 4),
        volumes: volumes.collect(),
    }
}

/// What a host says of an item it has done.
pub fn observe(item: &Item) -> Observation {
    let detail = match &item.body {
        ItemBody::Volume(volume) => Detail::Volume {
            size: volume.size,
            allocated: Bytes(0),
            restored: volume.restore.as_ref().map(|restore| restore.order.clone()),
        },
        ItemBody::Vm(vm) => Detail::Vm {
            guest: match vm.power {
                Power::On => Guest::Running,
                Power::Off => Guest::Stopped,
            },
            last_stop: None,
            machine_type: Some(vm.machine_type.clone()),
            started_at: Some(1_700_000_000),
            restart: vm.restart.clone(),
            held: None,
            moves: Vec::new(),
            used: vm
                .disks
                .iter()
                .map(|disk| DiskUse {
                    volume: disk.volume,
                    iops: 120,
                    bandwidth: Bytes(4 << 20),
                })
                .collect(),
            formatted: vm
                .disks
                .iter()
                .filter(|disk| {
                    let luks = disk.luks.as_ref();
                    luks.is_some_and(|l| l.key.is_some() && l.formatted == Formatted::Never)
                })
                .map(|disk| disk.volume)
                .collect(),
            probed: None,
        },
        ItemBody::Snapshot(_) => Detail::Snapshot {
            size: Bytes(0),
            taken_at: 1_700_000_000,
        },
        ItemBody::Backup(backup) => Detail::Backup {
            progress: None,
            done: Some(Box::new(BackupDone {
                backup: format!("{:064x}", backup.run.0.as_u128()),
                size: Bytes(1 << 30),
                began_at: 1_700_000_000,
                ended_at: 1_700_000_060,
                counts: Some(counted(backup)),
            })),
        },
        ItemBody::Restore(restore) => Detail::Restore {
            progress: None,
            done: Some(RestoreDone {
                written: restore.size,
                began_at: 1_700_000_000,
                ended_at: 1_700_000_060,
                verified: restore.verify.then_some(Sha256([7; 32])),
            }),
        },
        ItemBody::Manifest(_) => Detail::Manifest { read: None },
        ItemBody::Image(_) | ItemBody::Grant(_) | ItemBody::Network(_) | ItemBody::Endpoint(_) => {
            Detail::None
        }
    };
    Observation {
        key: item.key,
        epoch: item.epoch,
        hash: item.hash(),
        state: match &item.body {
            ItemBody::Vm(vm) if vm.disks.iter().any(lacks_key) => ItemState::Failed(Trouble {
                reason: "KeyAwaited".into(),
                message: "the key of a disk is not here".into(),
            }),
            ItemBody::Vm(vm) if !vm.disks.iter().all(opens) => ItemState::Pending(Trouble {
                reason: "Formatting".into(),
                message: "a disk cannot be opened yet".into(),
            }),
            _ => ItemState::Ready,
        },
        detail,
    }
}

fn lacks_key(disk: &DiskItem) -> bool {
    disk.luks.as_ref().is_some_and(|luks| luks.key.is_none())
}

fn opens(disk: &DiskItem) -> bool {
    let luks = disk.luks.as_ref();
    luks.is_none_or(|luks| luks.key.is_some() && luks.formatted == Formatted::Done)
}

/// What a host says of an item it could not do.
pub fn fail(item: &Item, reason: &str) -> Observation {
    Observation {
        state: ItemState::Failed(Trouble {
            reason: reason.into(),
            message: "it did not work".into(),
        }),
        ..observe(item)
    }
}

pub fn delete(meta: &mut ObjectMeta) {
    meta.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
}

pub fn zone(name: &str, v4: &str, v6: &str) -> Zone {
    Zone::new(
        name,
        ZoneSpec {
            type_: ZoneKind::Dmz,
            pool_v4: Some(PoolV4 {
                cidr: v4.parse().unwrap(),
                prefix_length: 28,
            }),
            pool_v6: Some(PoolV6 {
                cidr: v6.parse().unwrap(),
            }),
            ingress: vec![IngressRule {
                from: ZoneKind::Outside,
                services: SERVICES.into_iter().zip(80..).map(service).collect(),
            }],
        },
    )
}

/// What its zone lets in from outside.
pub const SERVICES: [&str; 3] = ["http", "https", "smtp"];

fn service((name, port): (&str, u16)) -> ServiceSpec {
    ServiceSpec {
        name: name.into(),
        protocol: ProtocolName::Tcp,
        port: Some(port),
        end_port: None,
    }
}

pub fn volume_spec(size: &str) -> VolumeSpec {
    VolumeSpec {
        system: "portal".into(),
        pool: POOL.into(),
        size: size.into(),
        source: SourceSpec::default(),
        access: dc_crds::volume::Access::Exclusive,
        reclaim: Reclaim::Retain,
        erase_method: EraseMethod::Discard,
        qos: None,
        restore: None,
        encrypted: false,
    }
}

pub fn disk(name: &str, volume: Option<&str>) -> Disk {
    Disk {
        name: name.into(),
        volume: volume.map(Into::into),
        template: match volume {
            Some(_) => None,
            None => Some(VolumeTemplate {
                pool: POOL.into(),
                size: "1Gi".into(),
                source: SourceSpec::default(),
                reclaim: Reclaim::Erase,
                erase_method: EraseMethod::Discard,
                qos: None,
                encrypted: false,
            }),
        },
    }
}

pub fn card(subnet: &str) -> Interface {
    Interface {
        subnet: subnet.into(),
        ipv4: None,
        ipv6: None,
        mac: None,
        publish: vec![],
    }
}

pub fn vm_spec() -> VirtualMachineSpec {
    VirtualMachineSpec {
        system: "portal".into(),
        class: "small".into(),
        power_state: dc_crds::vm::PowerState::Running,
        restart: None,
        firmware: dc_crds::vm::FirmwareKind::Bios,
        disks: vec![disk("root", None)],
        interfaces: vec![card("web")],
        cloud_init: None,
        stop_deadline_seconds: 60,
        on_guest_stop: dc_crds::vm::OnGuestStop::Restart,
        spread_group: None,
        physical_exception: None,
        lease: None,
    }
}

/// A host of 4 GiB; a storage host has the pool with 100 GiB.
pub fn host(name: &str, role: HostRole) -> (Host, HostFacts) {
    let object = Host::new(
        name,
        HostSpec {
            roles: vec![role],
            maintenance: false,
            zones: vec![],
            vcpu_ratio: 4,
            reserved_memory: "1Mi".into(),
        },
    );
    let storage = role == HostRole::Storage;
    let facts = HostFacts {
        boot_id: "b".into(),
        roles: vec![crate::host::role(role)],
        vcpus: 4,
        memory: MiB(4097),
        memory_available: MiB(4000),
        machine_types: vec!["pc-q35-7.2".into()],
        firmwares: vec![Firmware::Bios],
        accelerator: Accelerator::Tcg,
        cpu_models: vec!["qemu64".into()],
        overlay: "10.250.0.1".parse().unwrap(),
        portal: storage.then(|| Portal {
            address: "10.250.1.9".parse().unwrap(),
            port: 3260,
        }),
        pools: if storage { vec![pool_facts()] } else { vec![] },
    };
    (object, facts)
}

pub fn pool_facts() -> PoolFacts {
    PoolFacts {
        pool: PoolName::new(POOL).unwrap(),
        capacity: Bytes(100 << 30),
        used: Bytes(0),
        reflink: true,
        fault: None,
        place: PoolPlace::Iscsi,
        lacks: Vec::new(),
        orphans: Vec::new(),
    }
}

/// The one class there is.
pub fn class() -> MachineClass {
    let spec = MachineClassSpec {
        vcpus: 2,
        memory: "1Gi".into(),
        cpu_model: "qemu64".into(),
    };
    MachineClass::new("small", spec)
}

/// The pool that is there from the start: it promises what it has.
pub fn pool() -> StoragePool {
    let driver = Driver {
        iscsi: Some(IscsiDriver {
            host: STORAGE.into(),
        }),
        rbd: None,
        directory: None,
    };
    let spec = StoragePoolSpec {
        driver,
        class: CLASS.into(),
        promise_percent: 100,
        warn_percent: 80,
        owner_class: OwnerClass::Shared,
    };
    StoragePool::new(POOL, spec)
}

pub fn subnet(name: &str) -> Subnet {
    let spec = SubnetSpec {
        system: None,
        zone: "dmz".into(),
        ipv4: None,
        ipv6: None,
        dns: vec![],
    };
    Subnet::new(name, spec)
}
