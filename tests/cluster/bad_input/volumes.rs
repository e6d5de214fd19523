//! A volume is one machine's at a time, and never loses what is in it to a wrong word.

use serde_json::json;

use super::desk::{Case, Desk, Named, OURS, condition, machine, ours, volume};

const DATA: Named<'_> = Named("Volume", OURS, "data");

pub async fn a_volume_stays_with_the_machine_that_holds_it(desk: &mut Desk) {
    desk.put(DATA, volume(json!({}))).await;
    let with_data = || {
        machine(json!({"disks": [
            {"name": "root", "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}},
            {"name": "data", "volume": "data"}]}))
    };
    let holder = ours("holder");
    desk.put(holder, with_data()).await;
    desk.wait_object(holder, "Running").await;
    let id = id_of(desk).await;
    let before = desk.claims();
    let thief = Case {
        object: ours("thief"),
        spec: with_data(),
        reason: "VolumeInUse",
        says: &[
            "disks[data]: Volume data is held by machine so-nnmt/holder",
            "máy ảo so-nnmt/holder",
            "take it off there first, or name another volume",
            "hãy gỡ ở đó trước",
        ],
    };
    desk.answer(&[thief]).await;
    let now = desk.claims();
    desk.check(
        (&now.attachments, &now.vms) == (&before.attachments, &before.vms),
        "a machine got something of a volume that another holds",
    );

    // A shrink is refused by the API server.
    let error = desk.change(DATA, json!({"size": "1Gi"})).await.unwrap_err();
    desk.check(
        error.contains("size: a volume may grow, never shrink"),
        format!("the shrink: {error}"),
    );
    // What the pool may not promise is refused by the operator, to a volume that is there too; it
    // stays as it is with who holds it.
    for n in 1..=4 {
        let name = format!("filler-{n}");
        let filler = Named("Volume", OURS, &name);
        desk.put(filler, volume(json!({"size": "64Ti"}))).await;
        desk.wait_object(filler, "Ready").await;
    }
    desk.change(DATA, json!({"size": "64Ti"})).await.unwrap();
    let says = [
        "size: pool san-1 may promise",
        "(limit 300 TiB)",
        "is asked for",
        "ask for less",
        "platform administrator",
        "chỉ còn cấp được",
    ];
    desk.expect(DATA, "PoolFull", &says).await;
    let greedy = Named("Volume", OURS, "greedy");
    let full = Case {
        object: greedy,
        spec: volume(json!({"size": "64Ti"})),
        reason: "PoolFull",
        says: &says,
    };
    desk.answer(&[full]).await;
    let holds = desk.get(DATA).await.unwrap().data["status"]["attachedTo"].clone();
    desk.check(holds == json!("holder"), format!("attached to {holds}"));
    for n in 1..=4 {
        let name = format!("filler-{n}");
        let filler = Named("Volume", OURS, &name);
        desk.delete(filler).await;
        desk.wait_gone(filler).await;
    }
    // There is room now.
    desk.wait_object(greedy, "Ready").await;
    desk.delete(greedy).await;
    desk.wait_gone(greedy).await;

    // Deleted while it is held: it waits, and says for whom. The machine runs on.
    desk.delete(DATA).await;
    desk.expect(
        DATA,
        "StillUsed",
        &[
            "deletion waits: still in use by machine so-nnmt/holder",
            "hãy xóa chúng trước",
        ],
    )
    .await;
    let runs = desk.get(holder).await.unwrap();
    let reason = condition(&runs, "Ready").map(|found| found.0);
    desk.check(
        reason.as_deref() == Some("Running") && id_of(desk).await == id,
        format!("its machine: {reason:?}"),
    );
    desk.expect(
        ours("thief"),
        "VolumeDeleting",
        &["disks[data]: Volume data is being deleted; name another"],
    )
    .await;
    desk.remove(&["holder"]).await;
    desk.wait_gone(DATA).await;
    desk.expect(ours("thief"), "VolumeMissing", &["disks[data].volume"])
        .await;

    // Another volume of the name is another volume.
    desk.put(DATA, volume(json!({}))).await;
    desk.wait_object(ours("thief"), "Running").await;
    desk.check(
        id_of(desk).await != id,
        "the new volume has the id of the old one",
    );
    desk.remove(&["thief"]).await;
    desk.delete(DATA).await;
    desk.wait_gone(DATA).await;
}

async fn id_of(desk: &Desk) -> String {
    let volume = desk.get(DATA).await.unwrap();
    volume.data["status"]["instanceId"].to_string()
}
