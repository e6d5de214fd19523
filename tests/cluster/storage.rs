//! Snapshots, restoring, limits, pools and evidence, by the real operator on a real API server: the
//! machines' hosts are the real agents over fakes, the storage host is played by the test.

use dc_agent_core::vm::seen::{Paused, Power};
use dc_crds::certificate::{ErasedBy, ErasureResult};
use dc_crds::condition::types;
use dc_crds::snapshot::ConsistencyReached;
use dc_crds::{Department, ErasureCertificate, StoragePool, Volume, VolumeSnapshot};
use dc_lab::wait::{Look, until};
use dc_operator::evidence;
use dc_operator::operator::Parts;
use dc_operator_core::conditions::find;
use dc_types::plan::{ItemBody, Qos};
use dc_types::{Bytes, InstanceId};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::machines::province::{DEADLINE, DEPARTMENT, Province};
use super::sessions::running::{Operator, eventually};

mod backups;
mod host;
mod moves;
mod plugs;

use host::StorageHost;

struct Centre {
    // Before the province: it has ended when the control plane is handed on.
    operator: Option<Operator>,
    province: Province,
    parts: Parts,
    storage: StorageHost,
}

impl Centre {
    async fn open() -> Self {
        let mut province = Province::start().await;
        let operator = province.place.real_operator().await;
        let parts = operator.leading().await;
        let token = province.place.token("storage-1").await;
        province.start_agents_but_storage().await;
        let guests = province.hosts.iter().map(|host| host.fakes.clone());
        let storage = StorageHost::join(&token, guests.collect()).await;
        Self {
            province,
            operator: Some(operator),
            parts,
            storage,
        }
    }

    fn apply(&self, kind: &str, name: &str, spec: serde_json::Value) {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
            "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec});
        self.province.place.apply(&object.to_string());
    }

    fn volume(&self, name: &str, more: serde_json::Value) {
        let mut spec = json!({"system": "land", "pool": host::POOL, "size": "2Gi"});
        let fields = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        self.apply("Volume", name, spec);
    }

    /// A machine with the volume that it is made with, and another one.
    fn machine(&self, name: &str, data: &str) {
        let spec = json!({"system": "land", "class": "tiny", "firmware": "bios",
            "disks": [
                {"name": "root", "template": {"pool": host::POOL, "size": "1Gi", "reclaim": "Erase"}},
                {"name": "data", "volume": data}],
            "interfaces": [{"subnet": "app"}]});
        self.apply("VirtualMachine", name, spec);
    }

    fn snapshots(&self) -> Api<VolumeSnapshot> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    /// Waits for the Ready condition to have this reason; answers with the whole object.
    async fn says<K>(&self, api: &Api<K>, name: &str, reason: &str) -> K
    where
        K: kube::Resource
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + serde::Serialize,
    {
        until(&format!("{name} says {reason}"), DEADLINE, async || {
            let found = api.get(name).await.unwrap();
            let value = serde_json::to_value(&found).unwrap();
            let conditions = value["status"]["conditions"].as_array().cloned();
            let ready = conditions
                .into_iter()
                .flatten()
                .find(|c| c["type"] == types::READY);
            match ready {
                Some(ready) if ready["reason"] == reason => Look::Holds(found),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
        .unwrap()
    }

    async fn change<K>(&self, api: &Api<K>, name: &str, spec: serde_json::Value)
    where
        K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let patch = Patch::Merge(json!({ "spec": spec }));
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    fn machine_id(&self, name: &str) -> InstanceId {
        self.parts.ledger.with_claims(|claims| {
            let mut vms = claims.vms.values();
            vms.find(|vm| vm.value.owner.name == name).unwrap().value.vm
        })
    }

    /// The compute host that carries a machine.
    fn hypervisor(&self, vm: InstanceId) -> &dc_host::hypervisor::FakeHypervisor {
        let mut hosts = self.province.hosts.iter();
        let host = hosts.find(|host| host.fakes.hypervisor.power(vm).is_some());
        &host.unwrap().fakes.hypervisor
    }

    async fn close(mut self) {
        self.province.stop_agents().await;
        self.operator.unwrap().stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machines_volumes_are_taken_at_one_instant_and_it_goes_on() {
    let centre = Centre::open().await;
    centre.volume("data", json!({}));
    centre.machine("web", "data");
    centre.province.wait_state("web", "Running").await;
    let vm = centre.machine_id("web");
    let snapshots = centre.snapshots();

    centre.apply(
        "VolumeSnapshot",
        "before",
        json!({"system": "land", "vm": "web"}),
    );
    let taken = centre.says(&snapshots, "before", "Taken").await;
    let status = taken.status.unwrap();
    assert_eq!(status.consistency, Some(ConsistencyReached::FileSystem));
    assert_eq!(status.of, "vm/web, 2 volumes");
    let asked = centre.storage.asked();
    assert_eq!(asked.len(), 2, "one for each volume");
    let held = host::Asked {
        power: Some(Power::Paused(Paused::Ordered)),
        frozen: true,
    };
    assert_eq!(asked, [held, held], "a guest could have written in between");
    let hypervisor = centre.hypervisor(vm);
    eventually("the guest goes on", || {
        hypervisor.power(vm) == Some(Power::Running) && !hypervisor.is_frozen(vm)
    })
    .await;
    centre.province.wait_state("web", "Running").await;

    // A guest without an agent is paused all the same, and nothing more is said of it.
    hypervisor.set_mute(vm, true);
    centre.apply(
        "VolumeSnapshot",
        "mute",
        json!({"system": "land", "vm": "web"}),
    );
    let taken = centre.says(&snapshots, "mute", "Taken").await;
    assert_eq!(
        taken.status.unwrap().consistency,
        Some(ConsistencyReached::Crash)
    );
    hypervisor.set_mute(vm, false);

    // A storage that refuses lets the guest go, each time, and in the end it is told.
    centre.storage.refuse_snapshots(true);
    centre.apply(
        "VolumeSnapshot",
        "full",
        json!({"system": "land", "vm": "web"}),
    );
    centre.says(&snapshots, "full", "NotOneInstant").await;
    eventually("the guest goes on", || {
        hypervisor.power(vm) == Some(Power::Running)
    })
    .await;
    centre.storage.refuse_snapshots(false);
    let delete = DeleteParams::default();
    snapshots.delete("full", &delete).await.unwrap();

    // The volume stays as long as there are snapshots of it, and says so.
    let volumes = centre.province.volumes();
    centre.province.vms().delete("web", &delete).await.unwrap();
    volumes.delete("data", &delete).await.unwrap();
    // First it waits for the machine.
    let of_snapshots = format!("snapshot {DEPARTMENT}/before");
    until(
        "the volume to wait for its snapshots",
        DEADLINE,
        async || {
            let volume = volumes.get("data").await.unwrap();
            let said = format!("{:?}", volume.status);
            match said.contains(&of_snapshots) && said.contains("StillUsed") {
                true => Look::Holds(()),
                false => Look::NotYet(said),
            }
        },
    )
    .await
    .unwrap();
    for name in ["before", "mute"] {
        snapshots.delete(name, &delete).await.unwrap();
    }
    eventually("nothing is claimed", || {
        centre.parts.ledger.with_claims(|claims| {
            claims.snapshots.is_empty()
                && claims.holds.is_empty()
                && claims.volumes.is_empty()
                && claims.releases.is_empty()
        })
    })
    .await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_beyond_the_quota_wait_their_turn_and_nothing_is_asked_of_the_storage_for_them() {
    let centre = Centre::open().await;
    let departments: Api<Department> = Api::all(centre.province.place.client());
    let quota = |limit: u32| json!({"quota": {"snapshots": limit}});
    centre.change(&departments, DEPARTMENT, quota(3)).await;
    centre.volume("data", json!({}));
    centre.machine("web", "data");
    centre.province.wait_state("web", "Running").await;
    let snapshots = centre.snapshots();
    let take = |name: &str, of: &str, target: &str| {
        centre.apply(
            "VolumeSnapshot",
            name,
            json!({"system": "land", of: target}),
        );
    };
    take("group", "vm", "web");
    centre.says(&snapshots, "group", "Taken").await;
    let asked = centre.storage.asked().len();
    // A second group has not enough room, and the single one is younger.
    take("wide", "vm", "web");
    let refused = centre.says(&snapshots, "wide", "QuotaExceeded").await;
    let conditions = refused.status.unwrap().conditions;
    let message = &find(&conditions, types::READY).unwrap().message;
    let says = "2 asked for, 2 used, limit 3, 1 free";
    assert!(
        message.contains(says) && message.contains("bản chụp"),
        "{message}"
    );
    // Ages are told apart by the second.
    let older = refused.metadata.creation_timestamp.unwrap().0;
    eventually("the next second", || {
        k8s_openapi::jiff::Timestamp::now().as_second() > older.as_second()
    })
    .await;
    take("single", "volume", "data");
    centre.says(&snapshots, "single", "QuotaExceeded").await;
    assert_eq!(centre.storage.asked().len(), asked);

    let line = async |used: &str, free: &str| {
        let told = format!("{used} used, {free} free");
        until(&told, DEADLINE, async || {
            let status = departments.get(DEPARTMENT).await.unwrap().status;
            let lines = status.unwrap_or_default().quota;
            let line = lines.into_iter().find(|line| line.resource == "snapshots");
            match line {
                Some(line) if line.used == used && line.free.as_deref() == Some(free) => {
                    Look::Holds(())
                }
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    };
    // What waits is reserved.
    line("2", "0").await;
    let operator = centre.operator.as_ref().unwrap();
    let (_, metrics) = operator.get("/metrics").await;
    let shown = "dc_operator_quota_amount{department=\"so-nnmt\",resource=\"snapshots\",\
                 amount=\"used\"} 2";
    assert!(metrics.contains(shown), "{metrics}");

    // Room that is given back goes to who waited longest, and the next limit to the other.
    let delete = DeleteParams::default();
    snapshots.delete("group", &delete).await.unwrap();
    centre.says(&snapshots, "wide", "Taken").await;
    centre.says(&snapshots, "single", "Taken").await;
    line("3", "0").await;
    centre.change(&departments, DEPARTMENT, quota(0)).await;
    line("3", "0").await;
    for name in ["wide", "single"] {
        snapshots.delete(name, &delete).await.unwrap();
    }
    line("0", "0").await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_made_from_a_snapshot_brought_back_and_limited() {
    let centre = Centre::open().await;
    let volumes = centre.province.volumes();
    centre.volume(
        "data",
        json!({"qos": {"iops": 300, "iopsBurst": 900, "burstSeconds": 5}}),
    );
    centre.says(&volumes, "data", "Ready").await;
    centre.apply(
        "VolumeSnapshot",
        "before",
        json!({"system": "land", "volume": "data"}),
    );
    let taken = centre.says(&centre.snapshots(), "before", "Taken").await;
    // Nobody has it: no more than that it is whole.
    assert_eq!(
        taken.status.unwrap().consistency,
        Some(ConsistencyReached::Crash)
    );

    centre.volume("copy", json!({"source": {"snapshot": {"name": "before"}}}));
    centre.says(&volumes, "copy", "Ready").await;
    let made_from = |name: &str| {
        let held = centre.storage.held();
        let mut items = held.into_iter().filter(|item| item.object.name == name);
        items.find_map(|item| match item.body {
            ItemBody::Volume(volume) => Some(volume),
            _ => None,
        })
    };
    let source = made_from("copy").unwrap().source;
    assert!(
        matches!(source, dc_types::plan::VolumeSource::Snapshot { .. }),
        "{source:?}"
    );

    // In place while nobody has it.
    centre
        .change(
            &volumes,
            "data",
            json!({"restore": {"snapshot": "before", "order": "1"}}),
        )
        .await;
    until("it was brought back", DEADLINE, async || {
        let status = volumes
            .get("data")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match status.restored.as_deref() == Some("1") {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{status:?}")),
        }
    })
    .await
    .unwrap();
    centre.machine("web", "data");
    centre.province.wait_state("web", "Running").await;
    let order = json!({"restore": {"snapshot": "before", "order": "2"}});
    centre.change(&volumes, "data", order).await;
    centre.says(&volumes, "data", "RestoreWaits").await;
    assert_eq!(made_from("data").unwrap().restore.unwrap().order, "1");
    centre
        .change(&volumes, "data", json!({"restore": null}))
        .await;

    // The limit is on the disk from the start, and another one comes while the guest runs.
    let vm = centre.machine_id("web");
    let hypervisor = centre.hypervisor(vm);
    let set = |iops, iops_burst, burst_s| Qos {
        iops,
        iops_burst,
        bandwidth: Bytes(0),
        bandwidth_burst: Bytes(0),
        burst_s,
    };
    assert_eq!(hypervisor.limits(vm, "vdb"), Some(set(300, 900, 5)));
    let before = hypervisor.power(vm);
    centre
        .change(
            &volumes,
            "data",
            json!({"qos": {"iops": 50, "iopsBurst": null, "burstSeconds": null}}),
        )
        .await;
    eventually("the limit is another", || {
        hypervisor.limits(vm, "vdb") == Some(set(50, 0, 0))
    })
    .await;
    assert_eq!(hypervisor.power(vm), before);
    until("it is told", DEADLINE, async || {
        let status = volumes
            .get("data")
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        match status.qos.as_deref() == Some("50 IOPS") {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{status:?}")),
        }
    })
    .await
    .unwrap();
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_volume_leaves_one_signed_certificate_also_when_the_operator_dies() {
    let mut centre = Centre::open().await;
    let volumes = centre.province.volumes();
    for name in ["a", "b", "c"] {
        centre.volume(name, json!({"reclaim": "Erase", "eraseMethod": "Random"}));
        centre.says(&volumes, name, "Ready").await;
    }
    let asked = volumes.get("a").await.unwrap();
    let by = asked.annotations().get(dc_crds::ERASE_ORDERED_BY).cloned();
    assert!(by.is_some(), "the API server writes who asked for it");
    // Nobody writes another there.
    let forged = json!({"metadata": {"annotations": {dc_crds::ERASE_ORDERED_BY: "somebody-else"}}});
    let patched = volumes
        .patch("a", &PatchParams::default(), &Patch::Merge(forged))
        .await;
    let annotations = patched.unwrap().annotations().clone();
    assert_eq!(annotations.get(dc_crds::ERASE_ORDERED_BY).cloned(), by);

    for name in ["a", "b", "c"] {
        volumes
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    // It is killed while all this is under way, and another one goes on at its address.
    eventually("an erasure is confirmed", || {
        !centre.storage.released().is_empty()
    })
    .await;
    let first = centre.operator.take().unwrap();
    let address = first.address();
    first.kill();
    let next = centre.province.place.real_operator_at(address).await;
    centre.parts = next.leading().await;
    centre.operator = Some(next);
    until("all are gone", DEADLINE, async || {
        let left = volumes.list(&Default::default()).await.unwrap().items;
        match left.is_empty() {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{left:?}")),
        }
    })
    .await
    .unwrap();

    let client = centre.province.place.client();
    let certificates: Api<ErasureCertificate> = Api::all(client.clone());
    let found = certificates.list(&Default::default()).await.unwrap().items;
    assert_eq!(found.len(), 3, "one each: {found:?}");
    let keys = evidence::published(&client, dc_lab::chart::NAMESPACE)
        .await
        .unwrap();
    for certificate in &found {
        assert_eq!(evidence::verify(certificate, &keys), Ok(()));
        let spec = &certificate.spec;
        assert_eq!(
            (spec.department.as_str(), spec.method),
            (DEPARTMENT, ErasedBy::Random)
        );
        assert_eq!(spec.ordered_by, by);
        assert_eq!(spec.result, ErasureResult::Verified);
        assert_eq!((spec.extents, spec.bytes), (3, 3 << 20));
        assert!(spec.deleted_at.is_some());
    }
    // What was changed afterwards is not believed, and the API server takes no change at all.
    let mut forged = found[0].clone();
    forged.spec.ordered_by = Some("somebody-else".into());
    assert!(evidence::verify(&forged, &keys).is_err());
    let patch = Patch::Merge(json!({"spec": {"orderedBy": "somebody-else"}}));
    let name = found[0].name_any();
    let changed = certificates
        .patch(&name, &PatchParams::default(), &patch)
        .await;
    assert!(changed.unwrap_err().to_string().contains("never changed"));
    assert!(
        centre
            .parts
            .ledger
            .with_claims(|claims| claims.erased.is_empty())
    );
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_says_what_it_lacks_and_what_nobody_claims_and_keeps_its_class() {
    let centre = Centre::open().await;
    let pools: Api<StoragePool> = Api::all(centre.province.place.client());
    let pool = centre.says(&pools, host::POOL, "Ready").await;
    let status = pool.status.unwrap();
    assert_eq!(
        (status.health.as_str(), status.fills.as_str()),
        ("Healthy", "unknown")
    );
    assert_eq!(status.orphan_count, 2);
    assert_eq!(status.orphans[0].name, "volumes/large", "the largest first");
    assert_eq!(status.lacks[0].verb, "GrowOnline");
    assert_eq!(status.samples.len(), 1);

    // What the driver cannot do is refused, in its own words.
    let volumes: Api<Volume> = centre.province.volumes();
    centre.volume("data", json!({}));
    centre.machine("web", "data");
    centre.province.wait_state("web", "Running").await;
    centre
        .change(&volumes, "data", json!({"size": "3Gi"}))
        .await;
    let refused = centre.says(&volumes, "data", "PoolLacks").await;
    let conditions = refused.status.unwrap().conditions;
    let message = &find(&conditions, types::READY).unwrap().message;
    assert!(
        message.contains("this test grows nothing under a guest"),
        "{message}"
    );
    assert!(message.contains("hãy dừng máy ảo"), "{message}");

    // The SOC's storage takes nobody else's volumes.
    centre.province.place.apply(
        "{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: StoragePool, metadata: {name: soc-1}, \
         spec: {ownerClass: soc, driver: {iscsi: {host: storage-1}}}}",
    );
    centre.volume("stray", json!({"pool": "soc-1"}));
    let refused = centre.says(&volumes, "stray", "ClassDiffers").await;
    assert!(
        refused.status.unwrap().instance_id.is_none(),
        "nothing is claimed"
    );
    centre.close().await;
}
