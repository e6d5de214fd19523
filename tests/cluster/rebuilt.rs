//! Machines that are built anew from what was backed up of them, by the real operator and the real
//! agents, on simulated hosts whose repositories are what the archiver writes.

use dc_crds::condition::types;
use dc_crds::{Department, MachineClass, MachineRestore, Restore, Volume};
use dc_host::Rule;
use dc_lab::wait::{Look, until};
use dc_operator_core::conditions::find;
use dc_types::claim::CardClaim;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::machines::province::{DEADLINE, DEPARTMENT};
use super::proven::{Centre, written};
use super::sessions::running::eventually;

const ROOT: usize = 64 << 20;

impl Centre {
    fn orders(&self) -> Api<MachineRestore> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    fn rebuild(&self, name: &str, spec: serde_json::Value) {
        self.apply("MachineRestore", name, spec);
    }

    async fn order(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&MachineRestore) -> bool,
    ) -> MachineRestore {
        let api = self.orders();
        until(&format!("{name}: {what}"), DEADLINE, async || {
            let found = api.get(name).await.unwrap();
            match holds(&found) {
                true => Look::Holds(found),
                false => Look::NotYet(format!("{:#?}", found.status)),
            }
        })
        .await
        .unwrap()
    }

    async fn in_state(&self, name: &str, state: &str) -> MachineRestore {
        let is_so = |found: &MachineRestore| {
            let status = found.status.as_ref();
            status.is_some_and(|status| status.state == state)
        };
        self.order(name, state, is_so).await
    }

    /// Until it says why it does not go on; what it says.
    async fn refused(&self, name: &str, reason: &str) -> String {
        let says = |found: &MachineRestore| {
            let status = found.status.clone().unwrap_or_default();
            let ready = find(&status.conditions, types::READY).cloned();
            ready.filter(|ready| ready.reason == reason)
        };
        let found = self.order(name, reason, |found| says(found).is_some());
        says(&found.await).unwrap().message
    }

    /// The bytes of a volume as they lie in the pool.
    async fn bytes(&self, volume: &str) -> Vec<u8> {
        let object = self.province.volumes().get(volume).await.unwrap();
        let id = object.uid().unwrap().parse().unwrap();
        let place = self.parts.ledger.with_claims(|claims| claims.place_of(id));
        let pool = self.storage().pool(&"san-1".parse().unwrap());
        pool.bytes_of(place).unwrap()
    }

    /// What a machine holds of the network.
    fn cards(&self, machine: &str) -> Vec<CardClaim> {
        self.parts.ledger.with_claims(|claims| {
            let mut vms = claims.vms.values();
            let found = vms.find(|vm| vm.value.owner.name == machine);
            found.map(|vm| vm.value.cards.clone()).unwrap_or_default()
        })
    }

    async fn delete_machine(&self, name: &str, volumes: &[&str]) {
        let (api, all) = (self.province.vms(), self.province.volumes());
        api.delete(name, &DeleteParams::default()).await.unwrap();
        for volume in volumes {
            all.delete(volume, &DeleteParams::default()).await.unwrap();
        }
        until("the machine to be gone", DEADLINE, async || {
            let machine = api.get_opt(name).await.unwrap();
            let left = all.list(&ListParams::default()).await.unwrap();
            let left: Vec<String> = left.iter().map(Volume::name_any).collect();
            match machine.is_none() && left.is_empty() {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{:?}, {left:?}", machine.and_then(|m| m.status))),
            }
        })
        .await
        .unwrap();
    }

    fn manifests(&self) -> usize {
        let count = |claims: &dc_operator_core::claims::Claims| claims.manifests.len();
        self.parts.ledger.with_claims(count)
    }

    async fn nothing_claimed(&self) {
        eventually("nothing of an order is claimed", || {
            self.parts.ledger.with_claims(|claims| {
                claims.manifests.is_empty()
                    && claims.restores.is_empty()
                    && claims.releases.is_empty()
            })
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_stands_beside_its_machine_byte_for_byte_through_an_operator_killed_in_each_phase() {
    let mut centre = Centre::with_backup().await;
    let before = centre.cards("web");

    // While the manifest is read.
    centre.storage().knobs.set("repository.read", Rule::hang());
    centre.rebuild("again", json!({"backup": "one", "name": "web-2"}));
    centre.in_state("again", "Reading").await;
    assert_eq!(centre.manifests(), 1);
    centre.replace_operator().await;
    centre.in_state("again", "Reading").await;

    // While the volumes are written.
    centre.storage().knobs.set("pool.write", Rule::hang());
    centre.storage().knobs.clear("repository.read");
    centre.in_state("again", "Writing").await;
    eventually("a volume is written", || {
        let restores = |claims: &dc_operator_core::claims::Claims| claims.restores.len();
        centre.parts.ledger.with_claims(restores) > 0
    })
    .await;
    centre.replace_operator().await;
    let writing = centre.in_state("again", "Writing").await.status.unwrap();
    let volumes = writing.volumes.iter().map(|volume| volume.volume.as_str());
    assert_eq!(volumes.collect::<Vec<_>>(), ["web-2-root", "web-2-data"]);
    let vms = centre.province.vms();
    assert!(vms.get_opt("web-2").await.unwrap().is_none());
    // A machine that asks for half of it waits.
    let thief = json!({"system": "land", "class": "tiny", "firmware": "bios",
        "disks": [{"name": "root", "volume": "web-2-data"}], "interfaces": [{"subnet": "app"}]});
    centre.apply("VirtualMachine", "thief", thief);
    centre.province.wait_state("thief", "Pending").await;
    vms.delete("thief", &DeleteParams::default()).await.unwrap();
    until("the other machine to be gone", DEADLINE, async || match vms
        .get_opt("thief")
        .await
        .unwrap()
    {
        None => Look::Holds(()),
        Some(found) => Look::NotYet(format!("{:?}", found.status)),
    })
    .await
    .unwrap();
    centre.storage().knobs.clear("pool.write");

    // When the machine is made, and that may not be recorded.
    until("the machine to be there", DEADLINE, async || {
        match vms.get_opt("web-2").await.unwrap() {
            Some(_) => Look::Holds(()),
            None => Look::NotYet(format!("{:?}", centre.orders().get("again").await)),
        }
    })
    .await
    .unwrap();
    centre.replace_operator().await;
    let done = centre.in_state("again", "Done").await;
    let built = vms.get("web-2").await.unwrap();
    let status = done.status.unwrap();
    assert_eq!(status.instance_id, built.uid());
    assert_eq!(status.progress.as_deref(), Some("2 of 2"));
    assert!(centre.bytes("web-2-data").await == written());
    assert!(centre.bytes("web-2-root").await == vec![0; ROOT]);
    centre.nothing_claimed().await;

    // It is stopped until it is started, and is another machine.
    centre.province.wait_state("web-2", "Stopped").await;
    let start = Patch::Merge(json!({"spec": {"powerState": "Running"}}));
    vms.patch("web-2", &PatchParams::default(), &start)
        .await
        .unwrap();
    centre.province.wait_state("web-2", "Running").await;
    let copy = centre.cards("web-2");
    assert_ne!(copy[0].mac, before[0].mac);
    assert_ne!(copy[0].v4, before[0].v4);
    assert_eq!(centre.cards("web"), before);
    centre.province.wait_state("web", "Running").await;

    // The order and its Restores go; what was built stays.
    let orders = centre.orders();
    orders
        .delete("again", &DeleteParams::default())
        .await
        .unwrap();
    let restores: Api<Restore> = Api::namespaced(centre.province.place.client(), DEPARTMENT);
    until("its restores to be gone", DEADLINE, async || match restores
        .list(&ListParams::default())
        .await
        .unwrap()
        .items
    {
        left if left.is_empty() => Look::Holds(()),
        left => Look::NotYet(format!(
            "{:?}",
            left.iter().map(Restore::name_any).collect::<Vec<_>>()
        )),
    })
    .await
    .unwrap();
    centre.province.wait_state("web-2", "Running").await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_itself_comes_back_once_it_is_gone_and_without_any_record_of_it() {
    let centre = Centre::with_backup().await;
    let before = centre.cards("web");
    let uid = centre.province.vms().get("web").await.unwrap().uid();
    let backup = centre.backup("one", |_| true).await.status.unwrap();
    centre.rebuild("early", json!({"backup": "one", "identity": "Same"}));
    let said = centre.refused("early", "MachineRemains").await;
    assert!(said.contains("VirtualMachine web"), "{said}");

    // It would go on by itself once the machine is gone.
    let orders = centre.orders();
    orders
        .delete("early", &DeleteParams::default())
        .await
        .unwrap();
    until(
        "the first order to be gone",
        DEADLINE,
        async || match orders.get_opt("early").await.unwrap() {
            None => Look::Holds(()),
            Some(found) => Look::NotYet(format!("{:?}", found.status)),
        },
    )
    .await
    .unwrap();
    centre.delete_machine("web", &["data"]).await;
    let records: Api<dc_crds::Backup> = Api::namespaced(centre.province.place.client(), DEPARTMENT);
    records
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
    until("its record to be gone", DEADLINE, async || {
        match records.get_opt("one").await.unwrap() {
            None => Look::Holds(()),
            Some(found) => Look::NotYet(format!("{:?}", found.status)),
        }
    })
    .await
    .unwrap();

    let snapshot = json!({"repository": "main", "id": backup.snapshot_id.unwrap()});
    let spec = json!({"snapshot": snapshot, "pool": "san-1", "identity": "Same",
        "powerState": "Running", "verify": true});
    centre.rebuild("again", spec);
    centre.in_state("again", "Done").await;
    centre.province.wait_state("web", "Running").await;
    assert_eq!(centre.cards("web"), before, "its MAC and its addresses");
    let built = centre.province.vms().get("web").await.unwrap();
    assert_ne!(built.uid(), uid);
    // A guest that runs has written nothing here: it is simulated.
    assert!(centre.bytes("data").await == written());
    assert!(centre.bytes("web-root").await == vec![0; ROOT]);
    centre.nothing_claimed().await;
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_gone_too_much_or_anothers_is_refused_and_nothing_of_it_is_made() {
    let centre = Centre::with_backup().await;
    let client = centre.province.place.client();
    centre.rebuild("over", json!({"backup": "one", "name": "web"}));
    let said = centre.refused("over", "NameTaken").await;
    assert!(said.contains("VirtualMachine web"), "{said}");
    let named =
        json!({"backup": "one", "name": "web-2", "volumes": [{"was": "data", "name": "data"}]});
    centre.rebuild("onto", named);
    let said = centre.refused("onto", "NameTaken").await;
    assert!(said.contains("Volume data"), "{said}");
    centre.rebuild("none", json!({"backup": "two", "name": "web-2"}));
    centre.refused("none", "BackupMissing").await;
    let elsewhere = json!({"backup": "one", "name": "web-2", "class": "huge",
        "subnets": [{"was": "app", "subnet": "lan"}]});
    centre.rebuild("elsewhere", elsewhere);
    let said = centre.refused("elsewhere", "NoLongerThere").await;
    assert!(
        said.contains("MachineClass huge") && said.contains("Subnet lan"),
        "{said}"
    );
    let changed = json!({"backup": "one", "name": "web-2", "volumes": [{"was": "logs"}]});
    centre.rebuild("changed", changed);
    let said = centre.refused("changed", "NotInBackup").await;
    assert!(said.contains("web-root, data"), "{said}");

    // Larger than the quota, by its second volume.
    let departments: Api<Department> = Api::all(client.clone());
    let quota = |size: &str| {
        let storage = json!([{"class": "standard", "size": size}]);
        Patch::Merge(json!({"spec": {"quota": {"storage": storage}}}))
    };
    let change = PatchParams::default();
    departments
        .patch(DEPARTMENT, &change, &quota("145Mi"))
        .await
        .unwrap();
    centre.rebuild("large", json!({"backup": "one", "name": "web-3"}));
    let said = centre.refused("large", "QuotaExceeded").await;
    assert!(said.contains(DEPARTMENT), "{said}");
    let restores: Api<Restore> = Api::namespaced(client.clone(), DEPARTMENT);
    let made = restores.list(&ListParams::default()).await.unwrap().items;
    assert!(made.is_empty(), "{made:?}");
    let volumes = centre.province.volumes();
    let made = volumes.list(&ListParams::default()).await.unwrap();
    assert_eq!(made.items.len(), 2);
    departments
        .patch(DEPARTMENT, &change, &quota("1Gi"))
        .await
        .unwrap();
    centre.in_state("large", "Done").await;

    // A class that comes lets it go on.
    let classes: Api<MachineClass> = Api::all(client.clone());
    let tiny = classes.get("tiny").await.unwrap();
    let mut huge = MachineClass::new("huge", tiny.spec);
    huge.spec.vcpus = 1;
    classes
        .create(&kube::api::PostParams::default(), &huge)
        .await
        .unwrap();
    let said = centre.refused("elsewhere", "NoLongerThere");
    assert!(said.await.contains("Subnet lan"));
    until("it misses the subnet alone", DEADLINE, async || {
        let said = centre.refused("elsewhere", "NoLongerThere").await;
        match said.contains("huge") {
            false => Look::Holds(()),
            true => Look::NotYet(said),
        }
    })
    .await
    .unwrap();

    // What is wrong by itself the API server refuses.
    let kubectl = centre.province.place.kubectl();
    for (spec, why) in [
        (json!({"backup": "one"}), "a copy needs one"),
        (
            json!({"backup": "one", "identity": "Same", "name": "web"}),
            "the name that it had",
        ),
        (
            json!({"name": "web-2"}),
            "exactly one of backup and snapshot",
        ),
        (
            json!({"snapshot": {"repository": "main", "id": "a".repeat(64)}, "name": "web-2"}),
            "spec.pool: needed",
        ),
    ] {
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "MachineRestore",
            "metadata": {"name": "wrong", "namespace": DEPARTMENT}, "spec": spec});
        let refused = kubectl.apply_text(&object.to_string(), "test").unwrap_err();
        assert!(format!("{refused:#}").contains(why), "{refused:#}");
    }
    centre.close().await;
}
