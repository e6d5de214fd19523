//! The ledger lost under running machines: nothing moves until it was rebuilt, and then nothing has
//! changed.

use std::collections::BTreeMap;
use std::time::Duration;

use dc_lab::chart;
use dc_lab::wait::{Look, until};
use dc_operator::ledger::Health;
use dc_operator::operator::{End, Parts};
use dc_operator::rebuild::request::{Report, Request, Requests};
use dc_operator_core::claims::Claims;
use dc_operator_core::txn::Txn;
use dc_types::claim::{DestroyedKey, keys};
use dc_types::{Epoch, HostName, InstanceId};
use uuid::Uuid;

use super::encrypted::machine;
use super::machines::province::{DEADLINE, Province};
use super::machines::{assert_sound, claims, lead, settle};
use super::sessions::running::{Operator, eventually};

/// As long as it takes hosts to find the operator again, and more.
const WAIT: Duration = Duration::from_secs(60);

async fn ask(province: &Province, without: &[&str]) -> Report {
    let requests = Requests::new(&province.place.client(), chart::NAMESPACE);
    let request = Request {
        without: without.iter().map(|h| HostName::new(*h).unwrap()).collect(),
        wait: match without {
            [] => WAIT,
            // Those that are there come within their longest pause.
            _ => WAIT / 2,
        },
    };
    requests.ask(&request).await.unwrap();
    until("the report", DEADLINE, async || {
        match requests.report().await.unwrap() {
            Some(report) => Look::Holds(report),
            None => Look::NotYet("none".into()),
        }
    })
    .await
    .unwrap()
}

async fn wait_distrust(parts: &Parts) {
    eventually("the ledger is not trusted", || {
        matches!(parts.ledger.health(), Health::Distrusted(_))
    })
    .await;
}

/// What was claimed, without its place in the store; and the age of what guests and storage know.
fn essence(claims: &Claims) -> (Vec<String>, Vec<Epoch>) {
    let mut values = Vec::new();
    values.extend(claims.vms.values().map(|c| format!("{:?}", c.value)));
    values.extend(claims.volumes.values().map(|c| format!("{:?}", c.value)));
    values.extend(
        claims
            .attachments
            .values()
            .map(|c| format!("{:?}", c.value)),
    );
    values.extend(claims.subnets.values().map(|c| format!("{:?}", c.value)));
    values.extend(
        claims
            .departments
            .values()
            .map(|c| format!("{:?}", c.value)),
    );
    let mut held: Vec<_> = claims
        .held
        .iter()
        .map(|(k, (by, _))| format!("{k} {by:?}"))
        .collect();
    held.sort();
    values.extend(held);
    let vms = claims.vms.values().map(|c| c.epoch);
    let attachments = claims.attachments.values().map(|c| c.epoch);
    (values, vms.chain(attachments).collect())
}

/// The supervisor starts the operator anew, at the same place.
async fn again(province: &Province, operator: Operator) -> (Operator, Parts) {
    let address = operator.address();
    assert_eq!(operator.ended().await, End::Again);
    let operator = province.place.real_operator_at(address).await;
    let parts = operator.leading().await;
    (operator, parts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_ledger_is_rebuilt_and_no_guest_notices() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    let names = ["a", "b", "c"];
    province.apply_vms(names);
    for name in names {
        province.wait_state(name, "Running").await;
    }
    let (before, changes) = (claims(&parts), province.changes());

    province.place.ledger().wipe().unwrap();
    province.place.ledger().ensure().await.unwrap();
    wait_distrust(&parts).await;
    // Nothing new is placed meanwhile.
    province.apply_vms(["late"]);
    let report = ask(&province, &[]).await;
    assert_eq!(report.failed, None);
    assert_eq!(report.disagreements, Vec::<String>::new());
    assert_eq!((report.incarnation, report.hosts.len()), (2, 4));

    let (operator, parts) = again(&province, operator).await;
    for name in names.into_iter().chain(["late"]) {
        province.wait_state(name, "Running").await;
    }
    settle(&province, &parts).await;
    let now = claims(&parts);
    assert_sound(&now);
    let (values, epochs) = essence(&now);
    let (old_values, old_epochs) = essence(&before);
    for (what, old) in [&old_values].into_iter().flatten().map(|v| (v, true)) {
        assert!(values.contains(what) == old, "{what} is lost");
    }
    assert!(
        old_epochs.iter().all(|epoch| epochs.contains(epoch)),
        "a guest was fenced"
    );
    assert!(
        epochs.iter().any(|epoch| epoch.incarnation == 2),
        "the new one is newer"
    );
    assert_untouched(&changes, &province.changes(), "virt.start", 1);
    assert_untouched(&changes, &province.changes(), "tgt.delete_target", 0);
    province.stop_agents().await;
    operator.stop().await;
}

/// All hosts together made a call at most `more` times more.
fn assert_untouched(old: &[(String, u64)], new: &[(String, u64)], call: &str, more: u64) {
    let sum = |counts: &[(String, u64)]| -> u64 {
        let of_call = counts.iter().filter(|(name, _)| name.ends_with(call));
        of_call.map(|(_, n)| n).sum()
    };
    assert_eq!(sum(new), sum(old) + more, "{call}: {old:?} then {new:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_restored_from_before_gives_nothing_to_a_second_owner() {
    let mut province = Province::start().await;
    let (operator, parts) = lead(&mut province).await;
    province.apply_vms(["a"]);
    province.wait_state("a", "Running").await;
    // Its key is in the ledger alone.
    province.place.apply(&machine("sealed").to_string());
    province.wait_state("sealed", "Running").await;
    // So is that another one's was destroyed.
    let gone = DestroyedKey {
        volume: InstanceId(Uuid::from_u128(0xdead)),
        masters: vec!["first".into()],
        at: 1_780_000_000,
        incarnation: 1,
        revision: None,
        members: BTreeMap::new(),
        closed: true,
    };
    let txn = Txn::new("destroyed").claim(keys::destroyed(gone.volume), &gone);
    parts.ledger.commit(&txn).await.unwrap();
    let snapshot = province.folder().join("ledger.db");
    province.place.ledger().save_snapshot(&snapshot).unwrap();
    // What comes now, the restored ledger does not know.
    province.apply_vms(["b", "c"]);
    for name in ["b", "c"] {
        province.wait_state(name, "Running").await;
    }
    let (before, changes) = (claims(&parts), province.changes());

    province.place.ledger().restore_snapshot(&snapshot).unwrap();
    province.place.ledger().ensure().await.unwrap();
    wait_distrust(&parts).await;
    // A host that is missing is named, and nothing is written without it.
    let at = province
        .hosts
        .iter()
        .position(|h| h.agent.host.as_str() == "gateway-1");
    let missing = province.hosts.remove(at.unwrap());
    missing.agent.stop().await;
    let report = ask(&province, &["compute-9"]).await;
    let why = report.failed.unwrap();
    assert!(
        why.contains("gateway-1") && why.contains("--without gateway-1"),
        "{why}"
    );
    assert!(matches!(parts.ledger.health(), Health::Distrusted(_)));
    let report = ask(&province, &["gateway-1"]).await;
    assert_eq!(report.failed, None);
    assert_eq!(report.disagreements, Vec::<String>::new());

    let (operator, parts) = again(&province, operator).await;
    for name in ["a", "b", "c", "sealed"] {
        province.wait_state(name, "Running").await;
    }
    let now = claims(&parts);
    assert_sound(&now);
    assert_eq!(essence(&now), essence(&before));
    assert_eq!(now.keys.len(), 1);
    let keys = |of: &Claims| {
        of.keys
            .values()
            .map(|key| key.value.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&now), keys(&before));
    let destroyed: Vec<_> = now.destroyed.values().map(|key| &key.value).collect();
    assert_eq!(destroyed, [&gone]);
    assert_untouched(&changes, &province.changes(), "virt.start", 0);
    province.stop_agents().await;
    operator.stop().await;
}
