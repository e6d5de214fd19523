//! A volume that is written over, and the machine that has it.

use dc_agent_core::vm::seen::Power;
use dc_crds::condition::types;
use dc_crds::{Restore, Volume, VolumeSnapshot};
use dc_host::Rule;
use dc_lab::wait::{Look, until};
use dc_operator_core::conditions::find;
use dc_types::InstanceId;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::machines::province::{DEADLINE, DEPARTMENT};
use super::proven::{Centre, written};
use super::sessions::running::eventually;

impl Centre {
    fn restores(&self) -> Api<Restore> {
        Api::namespaced(self.province.place.client(), DEPARTMENT)
    }

    /// What the backup has of `data`, over the root disk.
    fn write_over(&self, name: &str, stop_machine: bool) {
        let spec = json!({"backup": "one", "volume": "data",
            "to": {"name": "web-root", "system": "land", "pool": "san-1"},
            "inPlace": {"stopMachine": stop_machine}});
        self.apply("Restore", name, spec);
    }

    async fn restore_says(&self, name: &str, reason: &str) -> Restore {
        let api = self.restores();
        until(&format!("{name} to say {reason}"), DEADLINE, async || {
            let found = api.get(name).await.unwrap();
            let status = found.status.clone().unwrap_or_default();
            let ready = find(&status.conditions, types::READY);
            match ready.is_some_and(|ready| ready.reason == reason) {
                true => Look::Holds(found),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    async fn volume_says(&self, name: &str, reason: &str) -> Volume {
        let api = self.province.volumes();
        until(&format!("{name} to say {reason}"), DEADLINE, async || {
            let found = api.get(name).await.unwrap();
            let status = found.status.clone().unwrap_or_default();
            let ready = find(&status.conditions, types::READY);
            match ready.is_some_and(|ready| ready.reason == reason) {
                true => Look::Holds(found),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    async fn web_says(&self, reason: &str) {
        let api = self.province.vms();
        until(&format!("web to say {reason}"), DEADLINE, async || {
            let status = api.get("web").await.unwrap().status.unwrap_or_default();
            let ready = find(&status.conditions, types::READY);
            match ready.is_some_and(|ready| ready.reason == reason) {
                true => Look::Holds(()),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap();
    }

    async fn ask(&self, state: &str) {
        let asked = Patch::Merge(json!({"spec": {"powerState": state}}));
        let api = self.province.vms();
        api.patch("web", &PatchParams::default(), &asked)
            .await
            .unwrap();
    }

    async fn web(&self) -> InstanceId {
        let web = self.province.vms().get("web").await.unwrap();
        web.uid().unwrap().parse().unwrap()
    }

    /// On no host its guest runs, or may.
    fn is_off(&self, vm: InstanceId) -> bool {
        let hosts = self.province.hosts.iter();
        let mut powers = hosts.filter_map(|host| host.fakes.hypervisor.power(vm));
        powers.all(|power| matches!(power, Power::Off(_)))
    }

    fn root(&self, place: InstanceId) -> Vec<u8> {
        let pool = self.storage().pool(&"san-1".parse().unwrap());
        pool.bytes_of(place).unwrap()
    }
}

/// What the root disk is after it was written over.
fn expected(size: usize) -> Vec<u8> {
    let mut bytes = written();
    bytes.resize(size, 0);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_written_over_through_an_operator_killed_in_each_phase_and_no_guest_sees_half()
{
    let mut centre = Centre::with_backup().await;
    let root = centre.province.volumes().get("web-root").await.unwrap();
    let root: InstanceId = root.uid().unwrap().parse().unwrap();
    let web = centre.web().await;
    let pool = centre.storage().pool(&"san-1".parse().unwrap());
    // What the guest has made of it since, also where the backup has nothing.
    pool.put_bytes(root, 20 << 20, b"since then");
    let since = centre.root(root);

    centre.write_over("over", false);
    centre.restore_says("over", "MachineRuns").await;
    centre.province.wait_state("web", "Running").await;
    centre
        .restores()
        .delete("over", &DeleteParams::default())
        .await
        .unwrap();

    // While what is there is taken, and while it is written.
    centre
        .storage()
        .knobs
        .set("pool.create_snapshot", Rule::hang());
    centre.write_over("back", true);
    centre.restore_says("back", "SnapshotFirst").await;
    assert!(centre.is_off(web));
    centre.replace_operator().await;
    centre.storage().knobs.set("pool.write", Rule::hang());
    centre.storage().knobs.clear("pool.create_snapshot");
    centre.restore_says("back", "Writing").await;
    centre.replace_operator().await;
    centre.volume_says("web-root", "AwaitsRestore").await;
    // Whatever is asked of it, it is not started.
    centre.ask("Stopped").await;
    centre.ask("Running").await;
    centre.web_says("VolumesPending").await;
    assert!(centre.is_off(web));
    let claimed = |claims: &dc_operator_core::claims::Claims| claims.attachment_of(root).is_some();
    assert!(!centre.parts.ledger.with_claims(claimed));

    // Given up in the middle: nobody gets it before it is taken back.
    centre
        .restores()
        .delete("back", &DeleteParams::default())
        .await
        .unwrap();
    centre.storage().knobs.clear("pool.write");
    centre.volume_says("web-root", "HalfRestored").await;
    assert!(centre.is_off(web));
    let snapshots: Api<VolumeSnapshot> =
        Api::namespaced(centre.province.place.client(), DEPARTMENT);
    let all = snapshots
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    let [before] = &all.items[..] else {
        panic!("{:?}", all.items);
    };
    let asked = json!({"spec": {"restore": {"snapshot": before.name_any(), "order": "back"}}});
    let volumes = centre.province.volumes();
    let asked = Patch::Merge(asked);
    volumes
        .patch("web-root", &PatchParams::default(), &asked)
        .await
        .unwrap();
    centre.province.wait_state("web", "Running").await;
    assert!(centre.root(root) == since, "as it was, byte for byte");

    // Once more, to the end: its guest is started again by itself.
    centre.write_over("last", true);
    let done = centre
        .restore_says("last", "Restored")
        .await
        .status
        .unwrap();
    assert_eq!(done.state, "Done");
    assert!(done.before.is_some());
    centre.province.wait_state("web", "Running").await;
    assert!(centre.root(root) == expected(since.len()));
    eventually("nothing of it is claimed", || {
        centre
            .parts
            .ledger
            .with_claims(|claims| claims.restores.is_empty())
    })
    .await;
    centre.close().await;
}
