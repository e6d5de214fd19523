//! Volumes that are erased by the destruction of their key, on a ledger of three members: an operator
//! that is killed after each step, and a member that does not answer.

use dc_crds::ErasureCertificate;
use dc_crds::certificate::{ErasedBy, ErasureCertificateSpec, ErasureResult};
use dc_crds::condition::types;
use dc_host::knobs::Rule;
use dc_lab::chart;
use dc_lab::wait::{Look, until};
use dc_operator::evidence;
use dc_operator::operator::Parts;
use dc_operator_core::claims::Claims;
use dc_operator_core::conditions::find;
use dc_types::claim::{MemberSaid, keys};
use dc_types::{InstanceId, PoolName};
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::again;
use crate::ledger::members::Members;
use crate::machines::lead;
use crate::machines::province::{DEADLINE, DEPARTMENT, Province};
use crate::sessions::running::{Operator, eventually};

/// A province whose ledger has three members. The operators know two of them; the third is found.
async fn province(patience: SignedDuration) -> (Province, Members, Operator, Parts) {
    let members = Members::start(3).await;
    let mut province = Province::start().await;
    province
        .place
        .use_ledger(vec![members.url(0), members.url(1)]);
    province.place.member_patience = patience;
    let (operator, parts) = lead(&mut province).await;
    (province, members, operator, parts)
}

/// An encrypted volume that is there, and its id.
async fn volume(province: &Province, parts: &Parts) -> InstanceId {
    let volume = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "Volume",
        "metadata": {"name": "data", "namespace": DEPARTMENT},
        "spec": {"system": "land", "pool": "san-1", "size": "1Gi", "encrypted": true,
            "reclaim": "Erase", "eraseMethod": "KeyDestruction"}});
    province.place.apply(&volume.to_string());
    province.wait_volume("data", "Ready", "1Gi").await;
    claims(parts, |claims| *claims.keys.keys().next().unwrap())
}

fn claims<R>(parts: &Parts, look: impl FnOnce(&Claims) -> R) -> R {
    parts.ledger.with_claims(look)
}

async fn delete(province: &Province) {
    let volumes = province.volumes();
    volumes
        .delete("data", &DeleteParams::default())
        .await
        .unwrap();
}

/// Whether the storage host has erased the volume's blocks.
fn is_erased(province: &Province, volume: InstanceId) -> bool {
    let fakes = &province.host("storage-1").fakes;
    let pool = fakes.pool(&PoolName::new("san-1").unwrap());
    pool.erased().contains(&volume)
}

/// The reason of the volume's Ready, with its message.
async fn says(province: &Province, reason: &str, text: &str) {
    let volumes = province.volumes();
    until(&format!("it to say {reason}"), DEADLINE, async || {
        let volume = volumes.get("data").await.unwrap();
        let status = volume.status.unwrap_or_default();
        match find(&status.conditions, types::READY) {
            Some(ready) if ready.reason == reason && ready.message.contains(text) => {
                Look::Holds(())
            }
            _ => Look::NotYet(format!("{status:#?}")),
        }
    })
    .await
    .unwrap();
}

/// The one certificate, once the volume is gone.
async fn certified(province: &Province, parts: &Parts) -> ErasureCertificateSpec {
    let volumes = province.volumes();
    until("the volume to be gone", DEADLINE, async || {
        match volumes.get_opt("data").await.unwrap() {
            None => Look::Holds(()),
            Some(volume) => Look::NotYet(format!("{:#?}", volume.status)),
        }
    })
    .await
    .unwrap();
    let client = province.place.client();
    let certificates: Api<ErasureCertificate> = Api::all(client.clone());
    let found = certificates.list(&Default::default()).await.unwrap().items;
    assert_eq!(found.len(), 1, "{found:?}");
    let public = evidence::published(&client, chart::NAMESPACE)
        .await
        .unwrap();
    assert_eq!(evidence::verify(&found[0], &public), Ok(()));
    claims(parts, |claims| {
        assert!(claims.keys.is_empty() && claims.destroyed.is_empty());
        assert!(claims.volumes.is_empty() && claims.erased.is_empty());
    });
    found[0].spec.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_killed_after_each_step_of_a_keys_destruction_goes_on_and_certifies_once() {
    let (mut province, mut members, operator, parts) =
        province(SignedDuration::from_secs(900)).await;
    let id = volume(&province, &parts).await;
    let key = claims(&parts, |claims| claims.keys[&id].clone());
    members.kill(2);
    delete(&province).await;

    // The key is gone.
    let is_gone = |parts: &Parts| claims(parts, |claims| claims.destroyed.contains_key(&id));
    eventually("the key is deleted", || is_gone(&parts)).await;
    let (operator, parts) = again(&province, operator).await;
    claims(&parts, |claims| assert!(!claims.keys.contains_key(&id)));
    // Two members have said so, and the third is waited for.
    let heard = |parts: &Parts| {
        claims(parts, |claims| {
            let members = &claims.destroyed[&id].value.members;
            let compacted = members
                .values()
                .filter(|said| **said == MemberSaid::Compacted);
            (members.len(), compacted.count())
        })
    };
    eventually("two members have answered", || heard(&parts) == (3, 2)).await;
    let (operator, parts) = again(&province, operator).await;
    says(&province, "KeyBeingDestroyed", members.name(2)).await;
    claims(&parts, |claims| {
        assert!(!claims.destroyed[&id].value.closed);
        assert!(
            claims.releases.is_empty(),
            "released before all have answered"
        );
    });
    assert!(
        !is_erased(&province, id),
        "discarded before all have answered"
    );

    // The third is there again; the storage host does not get to its work.
    let knobs = province.host("storage-1").fakes.knobs.clone();
    knobs.set("pool.erase_volume", Rule::hang());
    members.start_again(2).await;
    let released = |parts: &Parts| claims(parts, |claims| !claims.releases.is_empty());
    eventually("the release stands", || released(&parts)).await;
    assert_eq!(heard(&parts), (3, 3));
    for n in 0..3 {
        let at = format!("/dc/test/{}", keys::key(id));
        let told = members.says(n, &at, key.revision).await.unwrap_err();
        assert!(told.contains("has been compacted"), "{told}");
    }
    let (operator, parts) = again(&province, operator).await;
    assert!(released(&parts) && !is_erased(&province, id));
    knobs.clear("pool.erase_volume");
    let over = |parts: &Parts| claims(parts, |claims| claims.releases.is_empty());
    eventually("the blocks are discarded", || over(&parts)).await;
    let (operator, parts) = again(&province, operator).await;

    let spec = certified(&province, &parts).await;
    assert_eq!(
        (spec.method, spec.result),
        (ErasedBy::KeyDestruction, ErasureResult::Verified)
    );
    let evidence = spec.key.unwrap();
    assert_eq!((evidence.compacted.len(), evidence.silent.len()), (3, 0));
    assert_eq!(evidence.master_keys, [key.value.master]);
    assert!(evidence.revision > i64::try_from(key.revision).unwrap());
    assert!(
        evidence.remains.contains("Snapshots of the ledger"),
        "{}",
        evidence.remains
    );
    assert!(is_erased(&province, id));
    province.stop_agents().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_stays_silent_is_named_in_a_certificate_that_is_not_called_verified() {
    let (mut province, mut members, operator, parts) = province(SignedDuration::from_secs(3)).await;
    let id = volume(&province, &parts).await;
    members.kill(2);
    delete(&province).await;
    let spec = certified(&province, &parts).await;
    assert_eq!(
        (spec.method, spec.result),
        (ErasedBy::KeyDestruction, ErasureResult::PartlyVerified)
    );
    // Its blocks were read back all the same.
    assert!(spec.ended_at.is_some() && spec.verified_bytes == spec.bytes);
    let key = spec.key.unwrap();
    assert_eq!(key.compacted.len(), 2, "{key:?}");
    let [silent] = &key.silent[..] else {
        panic!("{key:?}");
    };
    assert!(silent.starts_with(members.name(2)), "{silent}");
    assert!(is_erased(&province, id));
    province.stop_agents().await;
    operator.stop().await;
}
