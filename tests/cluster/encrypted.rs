//! Encrypted volumes by the real operator and the real agents over fakes: one key for life, made once
//! whoever dies, given to one host alone, and shown to nobody.

use std::sync::Arc;

use dc_agent_core::ledger;
use dc_crds::condition::types;
use dc_lab::wait::{Look, until};
use dc_operator::operator::Parts;
use dc_operator_core::conditions::find;
use dc_types::claim::VolumeKey;
use dc_types::plan::{Formatted, LUKS_HEADER, Secret};
use dc_types::{HostName, InstanceId};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

mod destroyed;
mod rewrapped;

use super::machines::lead;
use super::machines::province::{DEADLINE, DEPARTMENT, Province};
use super::sessions::running::{Operator, eventually};

/// A machine with a disk that is encrypted beside its first.
pub fn machine(name: &str) -> Value {
    json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": DEPARTMENT},
        "spec": {"system": "land", "class": "tiny", "firmware": "bios", "disks": [
            {"name": "root", "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}},
            {"name": "data", "template":
                {"pool": "san-1", "size": "2Gi", "reclaim": "Erase", "encrypted": true}}],
        "interfaces": [{"subnet": "app"}]}})
}

/// The one key in the ledger.
fn key(parts: &Parts) -> Option<VolumeKey> {
    parts.ledger.with_claims(|claims| {
        assert!(claims.keys.len() <= 1, "{:?}", claims.keys);
        claims.keys.values().next().map(|key| key.value.clone())
    })
}

/// How often the volume was formatted on each host, and by which key it opens there.
fn formatted(province: &Province, volume: InstanceId) -> Vec<(u32, Option<Secret>)> {
    let formatters = province.hosts.iter().map(|host| &host.fakes.formatter);
    formatters
        .map(|of| (of.written(volume), of.key_of(volume)))
        .filter(|(written, _)| *written > 0)
        .collect()
}

async fn again(province: &Province, killed: Operator) -> (Operator, Parts) {
    let address = killed.address();
    killed.kill();
    let operator = province.place.real_operator_at(address).await;
    let parts = operator.leading().await;
    (operator, parts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_once_whoever_dies_and_nothing_shows_it() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    province.place.apply(&machine("web").to_string());

    // Killed as soon as there is a key, and again when the volume was formatted.
    eventually("there is a key", || key(&parts).is_some()).await;
    let first = key(&parts).unwrap();
    let (operator, parts) = again(&province, operator).await;
    assert_eq!(key(&parts).unwrap().wrapped, first.wrapped);
    let volume = first.volume;
    eventually("it is formatted", || {
        !formatted(&province, volume).is_empty()
    })
    .await;
    let (operator, parts) = again(&province, operator).await;
    province.wait_state("web", "Running").await;
    let now = key(&parts).unwrap();
    assert_eq!(
        (&now.wrapped, now.formatted),
        (&first.wrapped, Formatted::Done)
    );
    let opened = parts.master_keys.open(&now, "data").unwrap();
    assert_eq!(formatted(&province, volume), [(1, Some(opened.clone()))]);
    let claim = parts
        .ledger
        .with_claims(|claims| claims.volumes[&volume].value.clone());
    assert_eq!(claim.size.0, (2 << 30) + LUKS_HEADER.0);
    province.wait_volume("web-data", "Attached", "2Gi").await;

    // Neither objects, nor events, nor what hosts keep on disk, nor what is there of an item.
    let client = province.place.client();
    let events: Api<Event> = Api::all(client.clone());
    let shown = [
        format!(
            "{:?}",
            events.list(&Default::default()).await.unwrap().items
        ),
        format!(
            "{:?}",
            province
                .vms()
                .list(&Default::default())
                .await
                .unwrap()
                .items
        ),
        format!(
            "{:?}",
            province
                .volumes()
                .list(&Default::default())
                .await
                .unwrap()
                .items
        ),
        format!("{:?}", parts.ledger.with_claims(Clone::clone)),
        format!(
            "{:?}",
            parts
                .observed
                .item(&claim.host, &dc_operator_core::volume::key(volume))
        ),
    ];
    for text in &shown {
        assert!(!text.contains(&opened.0), "{text}");
    }
    let vm = province.vms().get("web").await.unwrap();
    let on = HostName::new(vm.status.unwrap().host.unwrap()).unwrap();
    let mut files = vec![province.folder().to_owned()];
    let mut ledgers = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            !text.contains(&opened.0),
            "the key is in {}",
            path.display()
        );
        if path.ends_with("ledger.json") && ledger::parse(&on, &bytes).is_ok() {
            assert!(text.contains("\"luks\""), "{text}");
            ledgers += 1;
        }
    }
    assert_eq!(ledgers, 1);

    // A machine whose host was rebooted while no operator answers waits for one.
    operator.stop().await;
    province.stop_agents().await;
    province.run_agents(&[]);
    let id = parts
        .ledger
        .with_claims(|claims| claims.attachments[&volume].value.vm);
    let host = province.host(on.as_str()).fakes.clone();
    eventually("the agent has looked", || {
        host.knobs
            .counts()
            .get("luks.formats")
            .is_some_and(|n| *n > 1)
    })
    .await;
    assert_eq!(host.hypervisor.power(id), None, "it runs without its key");
    let operator = province.place.real_operator().await;
    let parts = Arc::new(operator.leading().await);
    province.stop_agents().await;
    province.run_agents(&[operator.advertise().to_owned()]);
    let runs = || !province.runs_on(id).is_empty();
    eventually("it runs again", runs).await;
    assert!(formatted(&province, volume).is_empty(), "formatted twice");
    assert_eq!(key(&parts).unwrap().wrapped, first.wrapped);

    // What was erased leaves no key.
    province
        .vms()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the key is gone", || key(&parts).is_none()).await;
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_encrypted_is_refused_with_its_reason() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    let volume = |name: &str, spec: Value| {
        let mut spec = spec;
        spec["system"] = json!("land");
        spec["pool"] = json!("san-1");
        json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Volume",
            "metadata": {"name": name, "namespace": DEPARTMENT}, "spec": spec})
    };
    let kubectl = province.place.kubectl();
    let of_image = volume(
        "a",
        json!({"size": "1Gi", "encrypted": true, "source": {"image": "tiny"}}),
    );
    let refused = kubectl
        .apply_text(&of_image.to_string(), "test")
        .unwrap_err();
    assert!(
        format!("{refused:#}").contains("only a blank volume can be"),
        "{refused:#}"
    );
    let blank = volume("b", json!({"size": "1Gi", "encrypted": true}));
    province.place.apply(&blank.to_string());
    province.wait_volume("b", "Ready", "1Gi").await;
    let volumes = province.volumes();
    let plain = Patch::Merge(json!({"spec": {"encrypted": false}}));
    let refused = volumes.patch("b", &PatchParams::default(), &plain).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("encrypted: cannot change"), "{refused}");
    for (name, spec, reason) in [(
        "copy",
        json!({"size": "1Gi", "source": {"volume": "b"}}),
        "SourceEncrypted",
    )] {
        province.place.apply(&volume(name, spec).to_string());
        until(&format!("{name} to say {reason}"), DEADLINE, async || {
            let found = volumes.get(name).await.unwrap();
            let status = found.status.unwrap_or_default();
            match find(&status.conditions, types::READY) {
                Some(ready) if ready.reason == reason => Look::Holds(()),
                _ => Look::NotYet(format!("{status:#?}")),
            }
        })
        .await
        .unwrap();
    }
    // It grows behind its header.
    let larger = volume("b", json!({"size": "2Gi", "encrypted": true}));
    province.place.apply(&larger.to_string());
    province.wait_volume("b", "Ready", "2Gi").await;
    // A key is destroyed of what has one.
    for (spec, field) in [
        (json!({"size": "1Gi"}), "eraseMethod"),
        (json!({"size": "1Gi", "encrypted": false}), "eraseMethod"),
    ] {
        let mut spec = spec;
        spec["reclaim"] = json!("Erase");
        spec["eraseMethod"] = json!("KeyDestruction");
        let refused = kubectl
            .apply_text(&volume("c", spec).to_string(), "test")
            .unwrap_err();
        let refused = format!("{refused:#}");
        assert!(
            refused.contains(&format!("{field}: KeyDestruction is for")),
            "{refused}"
        );
    }
    let mut plain = machine("plain");
    let template = &mut plain["spec"]["disks"][0]["template"];
    template["eraseMethod"] = json!("KeyDestruction");
    let refused = kubectl.apply_text(&plain.to_string(), "test").unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("template.eraseMethod: KeyDestruction"),
        "{refused}"
    );
    let size = parts.ledger.with_claims(|claims| {
        let claims = claims.volumes.values();
        claims.map(|claim| claim.value.size.0).collect::<Vec<_>>()
    });
    assert_eq!(size, [(2 << 30) + LUKS_HEADER.0]);
    province.stop_agents().await;
    operator.stop().await;
}
