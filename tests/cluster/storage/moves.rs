//! A volume goes to another pool under its running machine, by the real operator and the real agent:
//! from the storage host that the test plays into a folder of the machine's host.

use dc_agent_core::vm::seen::Power;
use dc_crds::condition::types;
use dc_crds::volume::{MovingStatus, VolumeStatus};
use dc_crds::{Condition, ErasureCertificate, Volume};
use dc_lab::wait::{Look, until};
use dc_operator::evidence;
use dc_operator_core::conditions::find;
use dc_types::InstanceId;
use dc_types::claim::MovePhase;
use dc_types::plan::ItemKind;
use kube::Api;
use serde_json::json;

use super::{Centre, DEADLINE, eventually, host};

const DATA: &str = "data";

impl Centre {
    /// A machine that runs, its volume, and a directory pool of each compute host; the pool of the
    /// machine's host, and that of the other.
    async fn with_folders(&self) -> (InstanceId, &'static str, &'static str) {
        for (pool, on) in [("local-1", "compute-1"), ("local-2", "compute-2")] {
            self.province.place.apply(&format!(
                "{{apiVersion: dc.sonla.gov.vn/v1alpha1, kind: StoragePool, metadata: {{name: {pool}}}, \
                 spec: {{driver: {{directory: {{host: {on}}}}}}}}}"
            ));
        }
        self.volume(DATA, json!({}));
        self.machine("web", DATA);
        self.province.wait_state("web", "Running").await;
        let vm = self.machine_id("web");
        let on = self
            .parts
            .ledger
            .with_claims(|claims| claims.vms[&vm].value.host.clone());
        match on.as_str() {
            "compute-1" => (vm, "local-1", "local-2"),
            _ => (vm, "local-2", "local-1"),
        }
    }

    fn phase(&self) -> Option<MovePhase> {
        let ledger = &self.parts.ledger;
        ledger.with_claims(|claims| Some(claims.moves.values().next()?.value.phase))
    }

    async fn ask(&self, pool: &str) {
        let volumes = self.province.volumes();
        self.change(&volumes, DATA, json!({ "pool": pool })).await;
    }

    async fn volume_is(&self, what: &str, holds: impl Fn(&VolumeStatus) -> bool) -> VolumeStatus {
        let volumes: Api<Volume> = self.province.volumes();
        until(what, DEADLINE, async || {
            let status = volumes.get(DATA).await.unwrap().status.unwrap_or_default();
            match holds(&status) {
                true => Look::Holds(status),
                false => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap()
    }

    /// Waits for the reason of the condition Moving.
    async fn moving_says(&self, reason: &str) -> Condition {
        let of = |status: &VolumeStatus| find(&status.conditions, types::MOVING).cloned();
        let holds = |status: &VolumeStatus| of(status).is_some_and(|of| of.reason == reason);
        let status = self
            .volume_is(&format!("Moving to say {reason}"), holds)
            .await;
        of(&status).unwrap()
    }

    async fn certificates(&self) -> Vec<ErasureCertificate> {
        let api: Api<ErasureCertificate> = Api::all(self.province.place.client());
        let found = api.list(&Default::default()).await.unwrap().items;
        let client = self.province.place.client();
        let keys = evidence::published(&client, dc_lab::chart::NAMESPACE)
            .await
            .unwrap();
        for certificate in &found {
            assert_eq!(evidence::verify(certificate, &keys), Ok(()));
        }
        found
    }

    /// It has one place, and nothing of another is claimed or to be released.
    async fn rests_in(&self, pool: &str) -> VolumeStatus {
        let status = self
            .volume_is(&format!("the volume to rest in {pool}"), |status| {
                status.pool.as_deref() == Some(pool)
                    && status.moving.is_none()
                    && find(&status.conditions, types::MOVING).is_none()
            })
            .await;
        self.parts.ledger.with_claims(|claims| {
            assert!(claims.moves.is_empty() && claims.erased.is_empty());
            let grants = claims.releases.keys();
            let mut grants = grants.filter(|(_, key)| key.kind == ItemKind::Grant);
            assert_eq!(grants.next(), None);
        });
        status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_moves_under_its_guest_while_the_operator_is_killed_in_each_phase() {
    let mut centre = Centre::open().await;
    let (vm, pool, _) = centre.with_folders().await;
    let hypervisor = centre.hypervisor(vm).clone();
    let source = || hypervisor.source(vm, "vdb").unwrap();
    let (before, started) = (source(), centre.starts());

    centre.ask(pool).await;
    // Reserved, or a little later.
    eventually("a second place is claimed", || centre.phase().is_some()).await;
    centre.replace_operator().await;
    eventually("it is copied", || {
        centre.phase() == Some(MovePhase::Copying)
    })
    .await;
    centre.replace_operator().await;
    assert_eq!(centre.phase(), Some(MovePhase::Copying));
    let said = centre.moving_says("Copying").await;
    assert!(
        said.message.contains("0 %") && said.message.contains("đang sao chép"),
        "{}",
        said.message
    );
    let status = centre
        .volume_is("how far it is", |status| status.moving.is_some())
        .await;
    let expected = MovingStatus {
        other: pool.into(),
        phase: "Copying".into(),
        percent: Some(0),
        tries: Some(1),
    };
    assert_eq!(status.moving, Some(expected));
    assert_eq!(status.pool.as_deref(), Some(host::POOL));
    // The machine is as asked all the while.
    centre.province.wait_state("web", "Running").await;
    assert_eq!(source(), before);

    hypervisor.finish_copy(vm, "vdb");
    eventually("the host is told to go over", || {
        centre.phase() != Some(MovePhase::Copying)
    })
    .await;
    centre.replace_operator().await;
    eventually("it has gone over", || {
        !matches!(
            centre.phase(),
            Some(MovePhase::Copying | MovePhase::Switching)
        )
    })
    .await;
    centre.replace_operator().await;
    let status = centre.rests_in(pool).await;
    let on = status.host.unwrap();
    let after = source();
    assert_ne!(after, before);
    let place = centre.parts.ledger.with_claims(|claims| {
        let mut volumes = claims.volumes.values();
        let data = volumes.find(|volume| volume.value.owner.name == DATA);
        data.unwrap().value.place()
    });
    assert!(after.contains(&place.to_string()), "{after}");
    assert_eq!(hypervisor.power(vm), Some(Power::Running));
    assert_eq!(centre.starts(), started, "it was started anew");
    assert_eq!(
        on,
        if pool == "local-1" {
            "compute-1"
        } else {
            "compute-2"
        }
    );

    // What was left behind is gone from the storage host, with evidence.
    let held = centre.storage.held();
    let left = held.iter().filter(|item| item.object.name == DATA).count();
    assert_eq!(left, 0);
    let certificates = centre.certificates().await;
    let [certificate] = &certificates[..] else {
        panic!("{certificates:?}");
    };
    assert_eq!(certificate.spec.pool, host::POOL);
    assert_eq!(certificate.spec.volume, DATA);
    assert_eq!(certificate.spec.deleted_at, None, "the volume is there");
    centre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_is_refused_with_its_reason_waits_for_its_guest_and_is_taken_back() {
    let centre = Centre::open().await;
    let (vm, pool, other) = centre.with_folders().await;
    let hypervisor = centre.hypervisor(vm).clone();
    let before = hypervisor.source(vm, "vdb");

    centre.ask(other).await;
    let said = centre.moving_says("PoolUnreachable").await;
    assert!(said.message.contains(other), "{}", said.message);
    // It is none the worse for it.
    let volumes = centre.province.volumes();
    centre.says(&volumes, DATA, "Attached").await;
    centre.ask("nowhere").await;
    centre.moving_says("PoolMissing").await;
    let snapshot = json!({"system": "land", "volume": DATA});
    centre.apply("VolumeSnapshot", "early", snapshot.clone());
    centre.says(&centre.snapshots(), "early", "Taken").await;
    centre.ask(pool).await;
    let said = centre.moving_says("HasSnapshots").await;
    assert!(said.message.contains("early"), "{}", said.message);
    assert_eq!(centre.phase(), None);

    // A machine that is off keeps it waiting, and nothing is taken meanwhile.
    let vms = centre.province.vms();
    centre
        .change(&vms, "web", json!({"powerState": "Stopped"}))
        .await;
    centre.province.wait_state("web", "Stopped").await;
    let delete = kube::api::DeleteParams::default();
    centre.snapshots().delete("early", &delete).await.unwrap();
    centre.moving_says("MachineOff").await;
    assert_eq!(centre.phase(), None);
    centre
        .change(&vms, "web", json!({"powerState": "Running"}))
        .await;
    centre.moving_says("Copying").await;
    // Growth and snapshots wait for it.
    centre.change(&volumes, DATA, json!({"size": "3Gi"})).await;
    centre.says(&volumes, DATA, "VolumeMoves").await;
    centre.apply("VolumeSnapshot", "late", snapshot);
    centre
        .says(&centre.snapshots(), "late", "VolumeMoves")
        .await;

    centre.ask(host::POOL).await;
    centre.rests_in(host::POOL).await;
    centre.says(&centre.snapshots(), "late", "Taken").await;
    assert_eq!(hypervisor.power(vm), Some(Power::Running));
    let after = hypervisor.source(vm, "vdb");
    assert_eq!(after, before, "it is where it was");
    let certificates = centre.certificates().await;
    assert_eq!(certificates.len(), 1, "of the copy");
    assert_eq!(certificates[0].spec.pool, pool);
    centre.close().await;
}
