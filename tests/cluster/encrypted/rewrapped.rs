//! Keys of volumes that are wrapped anew when there is a newer master key.

use std::collections::BTreeMap;

use dc_operator::master::{MasterKeys, report};
use dc_operator::operator::Parts;
use dc_operator_core::backup::password::RecoveryKey;
use dc_operator_core::txn::Txn;
use dc_operator_core::volume::encryption::wrapped_by;
use dc_types::InstanceId;
use dc_types::claim::{VolumeKey, keys};
use dc_types::plan::Secret;
use uuid::Uuid;

use super::again;
use crate::machines::lead;
use crate::machines::province::Province;
use crate::sessions::running::eventually;

fn masters(of: &[(&str, u8)]) -> MasterKeys {
    let key = |(id, seed): &(&str, u8)| ((*id).to_owned(), RecoveryKey::new([*seed; 32]));
    MasterKeys::new(of.iter().map(key).collect())
}

fn all_keys(parts: &Parts) -> BTreeMap<InstanceId, VolumeKey> {
    parts.ledger.with_claims(|claims| {
        let keys = claims.keys.iter();
        keys.map(|(id, key)| (*id, key.value.clone())).collect()
    })
}

fn count(parts: &Parts, master: &str) -> u64 {
    let counts = parts.ledger.with_claims(wrapped_by);
    counts.get(master).copied().unwrap_or_default()
}

fn opened(keys: &BTreeMap<InstanceId, VolumeKey>, by: &MasterKeys) -> BTreeMap<InstanceId, Secret> {
    let keys = keys.iter();
    keys.map(|(id, key)| (*id, by.open(key, "volume").unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_wrapped_by_the_newest_master_key_whoever_dies_and_stay_what_they_are() {
    const KEYS: u128 = 60;
    // More than are tried in one round, and before all others.
    const BROKEN: u128 = 20;
    let first = masters(&[("2026a", 1)]);
    let both = masters(&[("2026a", 1), ("2027", 2)]);
    let mut province = Province::start().await;
    province.place.master_keys = first.clone();
    let (operator, parts) = lead(&mut province).await;
    for n in 0..KEYS {
        let id = InstanceId(Uuid::from_u128(0x5eed_0000 + n));
        let txn = Txn::new("a key").claim(keys::key(id), &first.new_key(id).unwrap());
        parts.ledger.commit(&txn).await.unwrap();
    }
    let before = opened(&all_keys(&parts), &first);
    let other = masters(&[("2026a", 7)]);
    let mut broken = BTreeMap::new();
    for n in 0..BROKEN {
        let id = InstanceId(Uuid::from_u128(n + 1));
        let key = other.new_key(id).unwrap();
        let txn = Txn::new("a key").claim(keys::key(id), &key);
        parts.ledger.commit(&txn).await.unwrap();
        broken.insert(id, key);
    }
    let (shown, text) = operator.get("/metrics").await;
    assert!(shown);
    assert!(text.contains("volume_keys"), "{text}");

    // Killed in the middle of it, as far as it can be met.
    province.place.master_keys = both.clone();
    let (operator, parts) = again(&province, operator).await;
    eventually("some are wrapped anew", || count(&parts, "2027") > 0).await;
    let (operator, parts) = again(&province, operator).await;
    // One more, by an operator that has not got the newer one, comes meanwhile.
    let late = InstanceId(Uuid::from_u128(0x5eed_ffff));
    let key = first.new_key(late).unwrap();
    let txn = Txn::new("a key").claim(keys::key(late), &key);
    parts.ledger.commit(&txn).await.unwrap();
    // And one by a master key that nobody has here: it stays, and is told.
    let lost = InstanceId(Uuid::from_u128(0x5eed_fffe));
    let foreign = masters(&[("2025", 9)]).new_key(lost).unwrap();
    let txn = Txn::new("a key").claim(keys::key(lost), &foreign);
    parts.ledger.commit(&txn).await.unwrap();
    let left = u64::try_from(BROKEN).unwrap();
    eventually("all are wrapped anew", || count(&parts, "2026a") == left).await;

    let mut now = all_keys(&parts);
    assert_eq!(now.remove(&lost), Some(foreign), "it was written over");
    for (id, key) in broken {
        assert_eq!(now.remove(&id), Some(key), "it was written over");
        let txn = Txn::new("given up").delete(keys::key(id));
        parts.ledger.commit(&txn).await.unwrap();
    }
    let newest = masters(&[("2027", 2)]);
    let mut opened = opened(&now, &newest);
    assert_eq!(
        opened.remove(&late),
        Some(first.open(&key, "volume").unwrap())
    );
    assert_eq!(opened, before);
    assert!(now.values().all(|key| key.former == ["2026a"]));
    eventually("the metrics say so", || {
        let counts = parts.ledger.with_claims(wrapped_by);
        report(&counts, &both).contains("2026a: 0 keys; may be retired")
    })
    .await;
    let lines = [
        format!(
            "dc_operator_volume_keys{{master=\"2027\",state=\"newest\"}} {}",
            KEYS + 1
        ),
        "dc_operator_volume_keys{master=\"2026a\",state=\"older\"} 0".to_owned(),
        "dc_operator_volume_keys{master=\"2025\",state=\"missing\"} 1".to_owned(),
    ];
    dc_lab::wait::until("the metrics to say so", super::DEADLINE, async || {
        let (_, text) = operator.get("/metrics").await;
        match lines.iter().find(|line| !text.contains(*line)) {
            None => dc_lab::wait::Look::Holds(()),
            Some(line) => dc_lab::wait::Look::NotYet(format!("no {line}")),
        }
    })
    .await
    .unwrap();
    province.stop_agents().await;
    operator.stop().await;
}
