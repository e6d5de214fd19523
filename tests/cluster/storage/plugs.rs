//! A volume joins the disks of a running machine and leaves them, by the real operator and the real agent.

use dc_agent_core::vm::xml::disk::serial_of;
use dc_types::InstanceId;
use serde_json::{Value, json};

use super::{Centre, eventually, host};

impl Centre {
    fn is_attached(&self, volume: InstanceId) -> bool {
        let ledger = &self.parts.ledger;
        ledger.with_claims(|claims| claims.attachment_of(volume).is_some())
    }

    pub(super) fn starts(&self) -> u64 {
        let hosts = self.province.hosts.iter();
        let starts = hosts.map(|host| host.fakes.knobs.count("libvirt.start"));
        starts.sum()
    }

    fn volume_id(&self, name: &str) -> InstanceId {
        self.parts.ledger.with_claims(|claims| {
            let mut volumes = claims.volumes.values();
            let of = volumes.find(|volume| volume.value.owner.name == name);
            of.unwrap().value.volume
        })
    }
}

fn disks(more: &[&str]) -> Value {
    let template = json!({"pool": host::POOL, "size": "1Gi", "reclaim": "Erase"});
    let mut disks = vec![
        json!({"name": "root", "template": template}),
        json!({"name": "data", "volume": "data"}),
    ];
    let named = more
        .iter()
        .map(|name| json!({"name": name, "volume": name}));
    disks.extend(named);
    json!({ "disks": disks })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_comes_to_a_running_machine_and_stays_its_own_until_the_guest_lets_go() {
    let centre = Centre::open().await;
    centre.volume("data", json!({}));
    centre.machine("web", "data");
    centre.province.wait_state("web", "Running").await;
    let (vm, vms) = (centre.machine_id("web"), centre.province.vms());
    let hypervisor = centre.hypervisor(vm);
    let started = centre.starts();

    centre.volume("more", json!({}));
    centre.change(&vms, "web", disks(&["more"])).await;
    eventually("the guest has it", || hypervisor.devices(vm).len() == 4).await;
    let more = centre.volume_id("more");
    assert!(hypervisor.devices(vm).contains_key(&serial_of(more)));
    centre.says(&vms, "web", "Running").await;

    hypervisor.set_clinging(vm, true);
    centre.change(&vms, "web", disks(&[])).await;
    let held = centre.says(&vms, "web", "DiskHeld").await;
    let conditions = held.status.unwrap().conditions;
    let told = conditions.iter().any(|condition| {
        let both = ["does not let go of a disk", "chưa nhả đĩa"];
        both.iter().all(|part| condition.message.contains(part))
    });
    assert!(told, "{conditions:?}");
    assert!(centre.is_attached(more), "it could be another's");

    hypervisor.set_clinging(vm, false);
    centre.says(&vms, "web", "Running").await;
    eventually("it is given back", || !centre.is_attached(more)).await;
    assert!(!hypervisor.devices(vm).contains_key(&serial_of(more)));

    // Under a newer grant it is the same machine's again, and nobody was stopped for it.
    centre.change(&vms, "web", disks(&["more"])).await;
    eventually("the guest has it again", || {
        hypervisor.devices(vm).contains_key(&serial_of(more))
    })
    .await;
    centre.says(&vms, "web", "Running").await;
    assert_eq!(centre.starts(), started);
    centre.close().await;
}
