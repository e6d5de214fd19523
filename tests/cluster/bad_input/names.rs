//! A name that is used again: a new uid is a new machine and new volumes.

use std::collections::BTreeSet;

use dc_lab::wait::{Look, until};
use dc_types::{InstanceId, PoolName};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::json;

use super::desk::{Case, Desk, Named, OURS, machine, ours, volume};

pub async fn a_name_used_again_never_touches_what_the_old_one_left(desk: &mut Desk) {
    let pool = PoolName::new("san-1").unwrap();
    let storage = desk.province.host("storage-1").fakes.clone();
    let spec = machine(json!({"disks": [
        {"name": "keep", "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Retain"}},
        {"name": "lose", "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}}]}));
    let again = ours("again");
    let mut lives = Vec::new();
    for _ in 0..2 {
        desk.put(again, spec.clone()).await;
        desk.wait_object(again, "Running").await;
        lives.push(Life::read(desk).await);
        desk.remove(&["again"]).await;
        for name in ["again-keep", "again-lose"] {
            desk.wait_gone(Named("Volume", OURS, name)).await;
        }
        let last = lives.last().unwrap();
        let (retained, erased) = (storage.pool(&pool).retained(), storage.pool(&pool).erased());
        desk.check(
            retained.contains(&last.keep) && erased.contains(&last.lose),
            format!("{last:?}: retained {retained:?}, erased {erased:?}"),
        );
    }
    let (first, second) = (&lives[0], &lives[1]);
    let ids: BTreeSet<_> = lives
        .iter()
        .flat_map(|l| [l.machine, l.keep, l.lose])
        .collect();
    desk.check(
        ids.len() == 6,
        format!("{first:?} and {second:?} share an id"),
    );
    desk.check(first.mac != second.mac, "both lives have one MAC");
    let retained = storage.pool(&pool).retained();
    desk.check(
        retained.contains(&first.keep),
        "the second life took what the first one left",
    );
    where_it_is_is_told(desk, first.keep).await;

    // Nor does a template touch a volume that happens to have the name it would give.
    let mine = Named("Volume", OURS, "again-keep");
    desk.put(mine, volume(json!({}))).await;
    desk.wait_object(mine, "Ready").await;
    let before = desk.get(mine).await.unwrap().metadata.uid;
    let taken = Case {
        object: again,
        spec,
        reason: "VolumeNameTaken",
        says: &[
            "disks[keep].template: a Volume again-keep is there that was not made for this machine",
            "it is left alone",
            "rename the disk",
            "được giữ nguyên",
        ],
    };
    desk.answer(&[taken]).await;
    desk.remove(&["again"]).await;
    let after = desk.get(mine).await.map(|found| found.metadata);
    desk.check(
        after.is_some_and(|m| m.uid == before && m.deletion_timestamp.is_none()),
        "a machine took somebody else's volume with it",
    );
    desk.delete(mine).await;
    desk.wait_gone(mine).await;
}

#[derive(Debug)]
struct Life {
    machine: InstanceId,
    keep: InstanceId,
    lose: InstanceId,
    mac: String,
}

impl Life {
    async fn read(desk: &Desk) -> Self {
        let machine = desk.get(ours("again")).await.unwrap();
        let claims = desk.claims();
        let of = |name: &str| {
            let mut volumes = claims.volumes.values();
            let found = volumes.find(|volume| volume.value.owner.name == name);
            found.unwrap().value.volume
        };
        let mut vms = claims.vms.values();
        let vm = vms.find(|vm| vm.value.owner.name == "again").unwrap();
        let mac = &machine.data["status"]["interfaces"][0]["mac"];
        Self {
            machine: vm.value.vm,
            keep: of("again-keep"),
            lose: of("again-lose"),
            mac: mac.as_str().unwrap().to_owned(),
        }
    }
}

/// An event says where the bytes of a volume are that nobody has any more.
async fn where_it_is_is_told(desk: &mut Desk, volume: InstanceId) {
    let events: Api<Event> = Api::namespaced(desk.province.place.client(), OURS);
    let what = format!("an event about the bytes of {volume}");
    let told = until(&what, std::time::Duration::from_secs(20), async || {
        let events = events.list(&Default::default()).await.unwrap();
        let released = events
            .iter()
            .filter(|e| e.reason.as_deref() == Some("Released"));
        let mut of_it = released.filter(|event| {
            let about = event.regarding.as_ref();
            about.is_some_and(|about| about.uid.as_deref() == Some(&volume.to_string()))
        });
        match of_it.next() {
            Some(event) => Look::Holds(event.note.clone().unwrap_or_default()),
            None => Look::NotYet(format!("{} events", events.items.len())),
        }
    })
    .await;
    let told = told.unwrap_or_else(|error| format!("{error:#}"));
    desk.check(told.contains("Retain"), format!("no word of it: {told}"));
}
