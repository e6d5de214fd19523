//! What does not fit, and what no longer fits a machine that runs.

use dc_crds::condition::types;
use serde_json::json;

use super::desk::{Case, Desk, Named, machine, ours};

fn class(name: &str) -> Named<'_> {
    Named("MachineClass", "", name)
}

pub async fn what_does_not_fit_is_told_host_by_host_with_the_smallest_change(desk: &mut Desk) {
    desk.put(class("giant"), json!({"vcpus": 200, "memory": "4Ti"}))
        .await;
    desk.put(
        class("exotic"),
        json!({"vcpus": 1, "memory": "64Mi", "cpuModel": "z80"}),
    )
    .await;
    let before = desk.claims();
    let cases = [
        Case {
            object: ours("giant"),
            spec: machine(json!({"class": "giant"})),
            reason: "NoCapacity",
            says: &[
                "class: no host can take giant (200 vCPU, 4 TiB)",
                "Smallest change: compute-",
                "more free memory",
                "compute-1: memory (need 4 TiB, have ",
                "compute-2: memory (need 4 TiB, have ",
                "choose another class",
                "bộ nhớ trống",
                "hãy chọn lớp khác",
            ],
        },
        Case {
            object: ours("exotic"),
            spec: machine(json!({"class": "exotic"})),
            reason: "NoCapacity",
            says: &[
                "CPU model (need z80, have ",
                "provide CPU model z80 on compute-",
            ],
        },
    ];
    desk.answer(&cases).await;
    let now = desk.claims();
    desk.check(
        (now.vms, now.held) == (before.vms, before.held),
        "something is held for a machine that has no host",
    );
    // A class that fits, and it goes on.
    let giant = ours("giant");
    desk.change(giant, json!({"class": "tiny"})).await.unwrap();
    desk.wait_object(giant, "Running").await;
    // And one that does not, while it runs.
    desk.change(giant, json!({"class": "giant"})).await.unwrap();
    desk.expect(
        giant,
        "ClassTooLarge",
        &[
            "class: giant needs 3.9 TiB more memory than now and compute-",
            "choose a smaller class",
            "hãy chọn lớp nhỏ hơn",
        ],
    )
    .await;
    desk.remove(&["giant", "exotic"]).await;
}

/// What was right when it started and is wrong now stops nothing.
pub async fn what_runs_goes_on_when_its_object_is_broken(desk: &mut Desk) {
    desk.put(class("brief"), json!({"vcpus": 1, "memory": "64Mi"}))
        .await;
    let steady = ours("steady");
    desk.put(steady, machine(json!({"class": "brief"}))).await;
    desk.wait_object(steady, "Running").await;
    let before = desk.claims();
    let uid = desk.get(steady).await.unwrap().metadata.uid.unwrap();
    let id = dc_types::InstanceId(uid.parse().unwrap());
    let runs_on = desk.province.runs_on(id);

    desk.delete(class("brief")).await;
    desk.change(
        steady,
        json!({"cloudInit": {"userData": "#cloud-config\n["}}),
    )
    .await
    .unwrap();
    desk.expect(
        steady,
        "ClassMissing",
        &["MachineClass brief", "user-data is not YAML"],
    )
    .await;
    let told = desk.get(steady).await.unwrap();
    desk.check(
        told.data["status"]["state"] == json!("Running"),
        format!("it is said to be {}", told.data["status"]["state"]),
    );
    desk.check(
        desk.province.runs_on(id) == runs_on && !runs_on.is_empty(),
        "the guest does not run on",
    );
    let now = desk.claims();
    desk.check(now.vms == before.vms, "its claim changed");

    desk.change(steady, json!({"class": "tiny", "cloudInit": null}))
        .await
        .unwrap();
    // Another class takes effect at the next start, which is asked for by another text. Until then
    // the machine runs and is ready.
    desk.expect_of(
        steady,
        types::RESTART_NEEDED,
        "RestartNeeded",
        &["takes effect at its next start", "spec.restart"],
    )
    .await;
    desk.wait_object(steady, "Running").await;
    desk.change(steady, json!({"restart": "now"}))
        .await
        .unwrap();
    desk.wait_without(steady, types::RESTART_NEEDED).await;
    desk.wait_object(steady, "Running").await;
    desk.remove(&["steady"]).await;
}
