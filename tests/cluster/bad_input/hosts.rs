//! A host that disappears.

use serde_json::json;

use super::desk::{Desk, Named, OURS, machine, ours, volume};

pub async fn a_host_that_disappears_is_named_and_takes_nothing_with_it(desk: &mut Desk) {
    let kept = Named("Volume", OURS, "kept");
    let guest = ours("guest");
    desk.put(guest, machine(json!({}))).await;
    desk.wait_object(guest, "Running").await;
    let before = desk.claims();

    // All hosts fall silent, as when their network is cut.
    desk.province.stop_agents().await;
    desk.expect(
        guest,
        "HostSilent",
        &[
            "host compute-",
            "does not answer",
            "look at the host and its agent",
            "Nothing is started elsewhere",
            "Không khởi động ở nơi khác",
        ],
    )
    .await;
    for (object, words) in [
        (kept, "host storage-1 does not answer"),
        (Named("StoragePool", "", "san-1"), "host storage-1 does not"),
        (Named("Image", "", "tiny"), "host storage-1 does not answer"),
        (Named("Host", "", "gateway-1"), "host gateway-1 does not"),
    ] {
        desk.expect(object, "HostSilent", &[words, "máy chủ"]).await;
    }
    // What is asked meanwhile waits, and says for whom.
    let late = Named("Volume", OURS, "late");
    desk.put(late, volume(json!({}))).await;
    desk.put(
        ours("late"),
        machine(json!({"disks": [{"name": "d", "volume": "kept"}]})),
    )
    .await;
    desk.expect(
        ours("late"),
        "NoCapacity",
        &[
            "compute-1: connection (need connected, have silent)",
            "bring compute-",
        ],
    )
    .await;
    // So does a deletion: nothing is taken for gone that may still run.
    desk.delete(guest).await;
    desk.expect(guest, "HostSilent", &["host compute-", "does not answer"])
        .await;
    let now = desk.claims();
    desk.check(
        now.vms == before.vms && now.attachments == before.attachments,
        "a claim on a silent host was changed",
    );

    desk.province.run_agents(&[]);
    desk.wait_gone(guest).await;
    desk.wait_object(ours("late"), "Running").await;
    desk.wait_object(late, "Ready").await;
    desk.wait_object(Named("Host", "", "gateway-1"), "Connected")
        .await;
    desk.remove(&["late"]).await;
    desk.delete(late).await;
    desk.wait_gone(late).await;
}
