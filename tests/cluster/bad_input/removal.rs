//! Deleting what is in use, and at last everything.

use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use super::desk::{Desk, KINDS, Named, OURS, THEIRS, machine, ours};

pub async fn what_is_in_use_stays_and_says_by_whom(desk: &mut Desk) {
    let last = ours("last");
    desk.put(last, machine(json!({}))).await;
    desk.wait_object(last, "Running").await;
    let host = desk.get(last).await.unwrap().data["status"]["host"].clone();
    let host = host.as_str().unwrap().to_owned();

    let department = Named("Department", "", OURS);
    let system = Named("InformationSystem", OURS, "land");
    let subnet = Named("Subnet", OURS, "app");
    let pool = Named("StoragePool", "", "san-1");
    let host = Named("Host", "", &host);
    for object in [department, system, subnet, pool, host] {
        desk.delete(object).await;
    }
    let waits = "deletion waits: still in use by";
    let machine_last = "machine so-nnmt/last";
    desk.expect_of(
        department,
        "Deletable",
        "StillUsed",
        &[waits, "last", "delete these first", "hãy xóa chúng trước"],
    )
    .await;
    // A system, a subnet, and what is in them are of one namespace.
    let of_system = ["machine last", "volume last-root"];
    desk.expect(system, "StillUsed", &[waits, of_system[0], of_system[1]])
        .await;
    desk.expect(subnet, "StillUsed", &[waits, "machine last"])
        .await;
    desk.expect(
        pool,
        "StillUsed",
        &[waits, "volume so-nnmt/last-root", "image tiny"],
    )
    .await;
    desk.expect(host, "StillUsed", &[waits, machine_last]).await;
    desk.expect(last, "Running", &["running on"]).await;
}

pub async fn everything_goes_and_the_ledger_is_empty(desk: &mut Desk) {
    // In no helpful order, all at once.
    for kind in KINDS.into_iter().rev() {
        for namespace in namespaces(kind) {
            let api = desk.api(kind, namespace);
            for object in api.list(&Default::default()).await.unwrap() {
                let name = object.name_any();
                let deleted = api.delete(&name, &DeleteParams::default()).await;
                // Gone by itself, with the machine that it was made for.
                if let Err(error) = deleted {
                    assert!(error.to_string().contains("not found"), "{name}: {error}");
                }
            }
        }
    }
    for kind in KINDS {
        for namespace in namespaces(kind) {
            let api = desk.api(kind, namespace);
            for object in api.list(&Default::default()).await.unwrap() {
                desk.wait_gone(Named(kind, namespace, &object.name_any()))
                    .await;
            }
        }
    }
    let claims = desk.claims();
    let left = format!("{claims:#?}");
    let empty = claims.vms.is_empty()
        && claims.volumes.is_empty()
        && claims.attachments.is_empty()
        && claims.subnets.is_empty()
        && claims.departments.is_empty()
        && claims.releases.is_empty()
        && claims.hosts.is_empty()
        && claims.held.is_empty();
    desk.check(empty, format!("the ledger still holds {left}"));
    let running = desk.province.hosts.iter();
    let running: usize = running.map(|host| host.fakes.hypervisor.running()).sum();
    desk.check(running == 0, format!("{running} guests still run"));
}

fn namespaces(kind: &str) -> &'static [&'static str] {
    match kind {
        "VirtualMachine" | "Volume" | "Subnet" | "InformationSystem" => &[OURS, THEIRS],
        _ => &[""],
    }
}
