//! What one object can show is refused by the API server itself, with a message that says what is
//! wrong and where; and what is right is accepted, all of the province's manifests included.

use std::path::Path;

use dc_lab::kubectl::Kubectl;
use dc_lab::lab::work_tree;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};

use crate::lent::{Lent, lend};
use crate::sessions::running::connect;

const MANAGER: &str = "rules";

/// An API server with the chart and one department's namespace.
async fn with_chart() -> (Lent, Kubectl) {
    let plane = lend().await;
    let kubectl = plane.kubectl().unwrap();
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: so-nnmt, labels: \
                     {dc.sonla.gov.vn/department: so-nnmt}}}";
    kubectl.apply_text(namespace, MANAGER).unwrap();
    (plane, kubectl)
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    let namespaced = matches!(
        kind,
        "InformationSystem"
            | "VirtualMachine"
            | "Volume"
            | "VolumeSnapshot"
            | "Subnet"
            | "Backup"
            | "Restore"
            | "MachineRestore"
            | "RestoreProof"
    );
    let namespace = if namespaced {
        ", namespace: so-nnmt"
    } else {
        ""
    };
    format!(
        "{{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: {kind}, \
         metadata: {{name: {name}{namespace}}}, spec: {spec}}}"
    )
}

/// As `kubectl apply --server-side` sends it.
async fn apply(client: &Client, object: &str) -> Result<(), kube::Error> {
    let object: DynamicObject = serde_norway::from_str(object).unwrap();
    let types = object.types.as_ref().unwrap();
    let kind = ApiResource::from_gvk(&GroupVersionKind::try_from(types).unwrap());
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let how = PatchParams {
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::apply(MANAGER)
    };
    let (name, patch) = (object.name_any(), Patch::Apply(&object));
    api.patch(&name, &how.force(), &patch).await.map(drop)
}

/// A new object that must be refused: kind, name, spec, and what the answer must say.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {iops: 0}}",
        "qos.iops",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {iops: 99999999}}",
        "qos.iops",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {iops: 300, iopsBurst: 200}}",
        "not less than qos.iops",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {iopsBurst: 200}}",
        "which it needs",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {bandwidth: fast}}",
        "qos.bandwidth",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {bandwidth: '1'}}",
        "from 64Ki to 1Ti",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {bandwidth: 20Mi, bandwidthBurst: 10Mi}}",
        "not less than qos.bandwidth",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, qos: {iops: 300, burstSeconds: 5}}",
        "needs iopsBurst or bandwidthBurst",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, source: {image: i, snapshot: {name: x}}}",
        "at most one of image, volume, snapshot and restore",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, source: {snapshot: {name: 'a/../b'}}}",
        "source.snapshot.name",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, restore: {snapshot: x}}",
        "restore.order",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, restore: {snapshot: x, order: ''}}",
        "restore.order",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, reclaim: Erase, eraseMethod: Burn}",
        "eraseMethod",
    ),
    (
        "VolumeSnapshot",
        "v",
        "{system: s}",
        "exactly one of volume and vm",
    ),
    (
        "VolumeSnapshot",
        "v",
        "{system: s, vm: m, volume: v}",
        "exactly one of volume and vm",
    ),
    ("VolumeSnapshot", "v", "{system: s, vm: 'M;rm'}", "spec.vm"),
    ("VolumeSnapshot", "v", "{vm: m}", "spec.system"),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k}",
        "exactly one of folder and rest",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, folder: {path: /b}, rest: {url: 'https://b', loginSecret: s}}",
        "exactly one of folder and rest",
    ),
    (
        "BackupRepository",
        "v",
        "{folder: {path: /b}}",
        "recoveryKey",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, folder: {path: b}}",
        "folder.path",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, folder: {path: /b/../etc}}",
        "without . and ..",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, rest: {url: 'http://b', loginSecret: s}}",
        "rest.url",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, rest: {url: 'https://u:p@b', loginSecret: s}}",
        "rest.url",
    ),
    (
        "BackupRepository",
        "v",
        "{recoveryKey: k, folder: {path: /b}, bandwidth: '1'}",
        "bandwidth: from 64Ki",
    ),
    ("Backup", "v", "{vm: m}", "spec.repository"),
    ("RestoreProof", "p", "{}", "spec.backup"),
    ("MachineRestore", "m", "{backup: b}", "a copy needs one"),
    (
        "MachineRestore",
        "m",
        "{backup: b, identity: Same, name: web}",
        "the name that it had",
    ),
    (
        "MachineRestore",
        "m",
        "{name: web}",
        "exactly one of backup and snapshot",
    ),
    (
        "RestoreProof",
        "p",
        "{backup: b, probes: {guestAgent: false}}",
        "name at least one of console, guestAgent and command",
    ),
    (
        "RestoreProof",
        "p",
        "{backup: b, bootSeconds: 1}",
        "bootSeconds",
    ),
    ("Backup", "v", "{vm: 'a/../b', repository: r}", "spec.vm"),
    (
        "Backup",
        "v",
        "{vm: m, repository: r, policy: p}",
        "written together",
    ),
    (
        "Backup",
        "v",
        "{vm: m, repository: r, policy: p, scheduledAt: yesterday}",
        "spec.scheduledAt",
    ),
    (
        "Restore",
        "v",
        "{volume: v, to: {name: n, system: s, pool: p}}",
        "exactly one of backup and snapshot",
    ),
    (
        "Restore",
        "v",
        "{volume: v, snapshot: {repository: r, id: abc}, to: {name: n, system: s, pool: p}}",
        "spec.snapshot.id",
    ),
    (
        "Restore",
        "v",
        "{volume: v, snapshot: {repository: r, id: \
         0000000000000000000000000000000000000000000000000000000000000000}, \
         to: {name: n, system: s, pool: p}}",
        "spec.to.size",
    ),
    (
        "Restore",
        "v",
        "{volume: v, backup: b, to: {name: n, system: s, pool: p, size: 99999Ti}}",
        "to.size: from 1Mi to 64Ti",
    ),
    (
        "BackupPolicy",
        "v",
        "{repository: r, schedule: {cron: '0 1 * * *'}, keep: {}}",
        "keep at least one",
    ),
    (
        "BackupPolicy",
        "v",
        "{repository: r, schedule: {cron: '$(reboot)'}, keep: {daily: 1}}",
        "schedule.cron",
    ),
    (
        "BackupPolicy",
        "v",
        "{repository: r, schedule: {cron: '0 1 * * *', timeZone: '../etc/passwd'}, keep: {daily: 1}}",
        "schedule.timeZone",
    ),
    (
        "BackupPolicy",
        "v",
        "{repository: r, schedule: {cron: '0 1 * * *', jitterMinutes: 1441}, keep: {daily: 1}}",
        "schedule.jitterMinutes",
    ),
    (
        "BackupPolicy",
        "v",
        "{repository: r, selector: {securityLevels: [6]}, schedule: {cron: '0 1 * * *'}, \
         keep: {daily: 1}}",
        "selector.securityLevels",
    ),
    (
        "StoragePool",
        "v",
        "{driver: {iscsi: {host: h}}, ownerClass: mine}",
        "ownerClass",
    ),
    (
        "Department",
        "v",
        "{displayName: {vi: a, en: b}, kind: office, ownerClass: police}",
        "ownerClass",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, sise: 2Gi}",
        "field not declared in schema",
    ),
    ("Volume", "v", "{system: s, pool: p, size: [1]}", "size"),
    ("Volume", "v", "{system: s, pool: p, size: '0'}", "size"),
    ("Volume", "v", "{system: s, pool: p, size: '-1Gi'}", "size"),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 999999Ti}",
        "size: from 1Mi to 64Ti",
    ),
    (
        "Volume",
        "v",
        "{system: s, pool: p, size: 1Gi, source: {image: i, volume: w}}",
        "source: at most one of image, volume, snapshot and restore",
    ),
    (
        "Volume",
        "v",
        "{system: '<s>', pool: p, size: 1Gi}",
        "system",
    ),
    (
        "Volume",
        "a.b",
        "{system: s, pool: p, size: 1Gi}",
        "metadata.name: a DNS label",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [{name: d}], interfaces: [{subnet: net}]}",
        "exactly one of volume and template",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [], interfaces: [{subnet: net}]}",
        "disks",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net, ipv4: 10.0.0.300}]}",
        "ipv4: an IPv4 address",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net, mac: '01:00:5e:00:00:01'}]}",
        "mac",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net}], cloudInit: {}}",
        "cloudInit: exactly one of userData and secret",
    ),
    (
        "VirtualMachine",
        "m",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net}], stopDeadlineSeconds: 0}",
        "stopDeadlineSeconds",
    ),
    (
        "Image",
        "i",
        "{source: {file: i.raw}, sha256: abc, format: raw, pools: [p]}",
        "sha256",
    ),
    (
        "Image",
        "i",
        "{source: {file: ../etc/shadow}, sha256: abc, format: raw, pools: [p]}",
        "file",
    ),
    (
        "Image",
        "i",
        "{source: {}, sha256: '0000000000000000000000000000000000000000000000000000000000000000', format: raw, pools: [p]}",
        "source: exactly one of file and http",
    ),
    (
        "Zone",
        "z",
        "{type: dmz, poolV4: {cidr: 10.0.0.1/12}}",
        "no bits set after the prefix",
    ),
    (
        "Zone",
        "z",
        "{type: database, ingress: [{from: dmz, services: [{name: x, protocol: tcp, port: 1}]}]}",
        "a database zone is entered from the internal zone only",
    ),
    (
        "Zone",
        "z",
        "{type: internal, ingress: [{from: outside, services: [{name: x, protocol: tcp, port: 1}]}]}",
        "only a dmz is entered from outside",
    ),
    (
        "Zone",
        "z",
        "{type: dmz, ingress: [{from: outside, services: [{name: x, protocol: icmp, port: 1}]}]}",
        "tcp and udp need one, icmp has none",
    ),
    (
        "Subnet",
        "net",
        "{zone: z, ipv4: 10.0.0.0/8}",
        "from /16 to /28",
    ),
    (
        "Subnet",
        "net",
        "{zone: z, ipv6: 'fd00::/48'}",
        "an IPv6 network of /64",
    ),
    ("Host", "h", "{roles: []}", "roles"),
    (
        "Host",
        "h",
        "{roles: [compute, compute]}",
        "each role is named once",
    ),
    (
        "Department",
        "kube-x",
        "{displayName: {vi: x, en: x}, kind: office}",
        "belongs to the cluster",
    ),
    (
        "InformationSystem",
        "s",
        "{displayName: {vi: x, en: x}, securityLevel: 6}",
        "securityLevel",
    ),
    ("StoragePool", "p", "{driver: {}}", "name exactly one"),
    (
        "StoragePool",
        "p",
        "{driver: {iscsi: {host: a}, rbd: {host: b}, directory: {host: c}}}",
        "name exactly one",
    ),
    ("StoragePool", "p", "{driver: {directory: {}}}", "host"),
];

/// A change that must be refused: kind, spec before, spec after, and what the answer must say.
const FIXED: &[(&str, &str, &str, &str)] = &[
    (
        "Volume",
        "{system: s, pool: p, size: 20Gi}",
        "{system: s, pool: p, size: 10Gi}",
        "size: a volume may grow, never shrink",
    ),
    (
        "VirtualMachine",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net}]}",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: other}]}",
        "cards, their order and their subnets are fixed",
    ),
    (
        "VirtualMachine",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net, ipv4: 10.0.0.9}]}",
        "{system: s, class: c, disks: [{name: d, volume: v}], interfaces: [{subnet: net, ipv4: 10.0.0.8}]}",
        "a card keeps its address for life",
    ),
    (
        "MachineClass",
        "{vcpus: 1, memory: 1Gi}",
        "{vcpus: 2, memory: 1Gi}",
        "never changes",
    ),
    (
        "Subnet",
        "{zone: z}",
        "{zone: z, ipv4: 10.0.0.0/24}",
        "a subnet keeps its prefix",
    ),
    (
        "Zone",
        "{type: dmz}",
        "{type: internal}",
        "a zone keeps its type",
    ),
    (
        "StoragePool",
        "{driver: {iscsi: {host: a}}}",
        "{driver: {iscsi: {host: b}}}",
        "a pool stays where its data is",
    ),
    (
        "StoragePool",
        "{driver: {directory: {host: a}}}",
        "{driver: {iscsi: {host: a}}}",
        "a pool stays where its data is",
    ),
    (
        "StoragePool",
        "{driver: {iscsi: {host: a}}}",
        "{driver: {iscsi: {host: a}}, ownerClass: soc}",
        "a pool keeps its class",
    ),
    (
        "Department",
        "{displayName: {vi: a, en: b}, kind: office}",
        "{displayName: {vi: a, en: b}, kind: office, ownerClass: soc}",
        "a department keeps its class",
    ),
    (
        "Backup",
        "{vm: m, repository: r}",
        "{vm: other, repository: r}",
        "a backup is of one moment",
    ),
    (
        "Restore",
        "{volume: v, backup: b, to: {name: n, system: s, pool: p}}",
        "{volume: v, backup: b, to: {name: other, system: s, pool: p}}",
        "a restore is done once",
    ),
    (
        "MachineRestore",
        "{backup: b, name: n}",
        "{backup: b, name: o}",
        "a restore is done once",
    ),
    (
        "RestoreProof",
        "{backup: b}",
        "{backup: c}",
        "a proof is made once",
    ),
    (
        "BackupRepository",
        "{recoveryKey: k, folder: {path: /b}}",
        "{recoveryKey: l, folder: {path: /b}}",
        "a repository keeps its key",
    ),
    (
        "VolumeSnapshot",
        "{system: s, vm: m}",
        "{system: s, vm: other}",
        "a snapshot is of one moment",
    ),
    (
        "Volume",
        "{system: s, pool: p, size: 1Gi}",
        "{system: s, pool: p, size: 1Gi, source: {snapshot: {name: x}}}",
        "cannot change once the volume is made",
    ),
];

#[tokio::test]
async fn a_bad_object_is_refused_with_what_is_wrong_and_a_good_one_is_kept() {
    let (plane, _) = with_chart().await;
    let client = connect(plane.kubeconfig()).await;
    let mut wrong = Vec::new();
    for (kind, name, spec, says) in REFUSED {
        match apply(&client, &object(kind, name, spec)).await {
            Ok(()) => wrong.push(format!("{kind} {spec} was accepted")),
            Err(error) if format!("{error}").contains(says) => {}
            Err(error) => wrong.push(format!("{kind} {spec}: no {says:?} in {error}")),
        }
    }
    for (number, (kind, before, after, says)) in FIXED.iter().enumerate() {
        let name = format!("fixed-{number}");
        apply(&client, &object(kind, &name, before)).await.unwrap();
        match apply(&client, &object(kind, &name, after)).await {
            Ok(()) => wrong.push(format!("{kind}: {before} became {after}")),
            Err(error) if format!("{error}").contains(says) => {}
            Err(error) => wrong.push(format!("{kind} {after}: no {says:?} in {error}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_finalizer_is_there_from_birth_and_stays_and_texts_may_hold_anything() {
    let (_plane, kubectl) = with_chart().await;
    let quotes = r#"{displayName: {vi: "<b>\"Sở\" & 'Ban'</b>", en: "a\\b;--"}, kind: office}"#;
    kubectl
        .apply_text(&object("Department", "quotes", quotes), MANAGER)
        .unwrap();
    let department = kubectl.json(&["get", "department", "quotes"]).unwrap();
    assert_eq!(
        department["spec"]["displayName"]["vi"],
        "<b>\"Sở\" & 'Ban'</b>"
    );
    assert_eq!(department["metadata"]["finalizers"][0], dc_crds::FINALIZER);

    // A tenant administrator may change a volume, but not make it forget what it holds.
    kubectl
        .apply_text(
            &object("Volume", "v", "{system: s, pool: p, size: 1Gi}"),
            MANAGER,
        )
        .unwrap();
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, \
        metadata: {name: t, namespace: so-nnmt}, \
        rules: [{apiGroups: [dc.sonla.gov.vn], resources: [volumes], verbs: [get, patch]}]}\n---\n\
        {apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, \
        metadata: {name: t, namespace: so-nnmt}, \
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: t}, \
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: officer}]}";
    kubectl.apply_text(binding, MANAGER).unwrap();
    let patch = |patch: &str| {
        kubectl.run(&[
            "patch",
            "volume",
            "v",
            "--namespace=so-nnmt",
            "--as=officer",
            "--type=merge",
            &format!("--patch={patch}"),
        ])
    };
    patch(r#"{"spec":{"size":"2Gi"}}"#).unwrap();
    let error = patch(r#"{"metadata":{"finalizers":null}}"#).unwrap_err();
    assert!(
        format!("{error:#}").contains("taken off by the operator"),
        "{error:#}"
    );

    // Outside a department's namespace there is nothing of a department's.
    let stray = object("Volume", "stray", "{system: s, pool: p, size: 1Gi}")
        .replace("namespace: so-nnmt", "namespace: default");
    let error = kubectl.apply_text(&stray, MANAGER).unwrap_err();
    assert!(
        format!("{error:#}").contains("not a department's namespace"),
        "{error:#}"
    );
}

#[tokio::test]
async fn the_province_is_accepted_and_every_field_is_explained() {
    let (_plane, kubectl) = with_chart().await;
    let province = work_tree().join("infra/sonla/province");
    kubectl.apply(&[province.as_path()], MANAGER).unwrap();
    assert_eq!(kubectl.list("departments").unwrap().len(), 35 + 75);
    // Each department's namespace is the operator's work; here one stands for all.
    for folder in [
        "systems/so-nnmt.yaml",
        "first-wave/w30.yaml",
        "first-wave/w31.yaml",
    ] {
        let path = work_tree().join("infra/sonla").join(folder);
        kubectl.apply(&[Path::new(&path)], MANAGER).unwrap();
    }
    for kind in [
        "departments",
        "hosts",
        "zones",
        "storagepools",
        "images",
        "machineclasses",
        "informationsystems",
        "subnets",
        "volumes",
        "virtualmachines",
    ] {
        let text = kubectl
            .run(&["explain", "--recursive", &format!("{kind}.spec")])
            .unwrap();
        assert!(text.contains("FIELDS"), "{kind}: {text}");
    }
}
