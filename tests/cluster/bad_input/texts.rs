//! Quotes, brackets and line ends in every text that people write.

use dc_types::InstanceId;
use serde_json::json;

use super::desk::{Desk, Named, OURS, machine, ours};

const WILD: &str = "</name><!-- \"Sở\" & 'Ban' %s $(reboot) `id` \\ ]]> {{x}} ; é";

pub async fn quotes_and_brackets_arrive_as_they_were_written(desk: &mut Desk) {
    let names = json!({"vi": WILD, "en": WILD});
    let department = Named("Department", "", "xa-la");
    let members = json!({"operators": [{"kind": "Group", "name": WILD}]});
    desk.put(
        department,
        json!({"displayName": names, "kind": "commune", "members": members}),
    )
    .await;
    desk.wait_object(department, "Ready").await;
    let system = Named("InformationSystem", OURS, "wild");
    desk.put(system, json!({"displayName": names, "legalBasis": WILD}))
        .await;

    let text = format!("#cloud-config\n# {WILD}\nruncmd:\n- ['echo', \"<&'\\\"\"]\n");
    let wild = ours("wild");
    let spec = machine(json!({
        "system": "wild",
        "restart": WILD,
        "cloudInit": {"userData": text},
        "physicalException": {"reason": WILD, "decidedBy": WILD},
    }));
    desk.put(wild, spec).await;
    desk.wait_object(wild, "Running").await;

    let machine = desk.get(wild).await.unwrap();
    let uid = machine.metadata.uid.clone().unwrap();
    let id = InstanceId(uid.parse().unwrap());
    let host = machine.data["status"]["host"].as_str().unwrap().to_owned();
    let fakes = desk.province.host(&host).fakes.clone();
    let seed = fakes.seeds.seed(id);
    let seed = seed.map(|seed| seed.user_data.0).unwrap_or_default();
    desk.check(
        seed == text,
        format!("the guest does not get its user-data as written: {seed}"),
    );
    // The fake hypervisor parses what it is given.
    let xml = fakes.hypervisor.xml(id).unwrap();
    desk.check(
        !xml.contains("<!--") && !xml.contains("</name><!"),
        format!("a text became part of the domain's XML: {xml}"),
    );
    desk.check(
        machine.data["spec"]["physicalException"]["reason"] == json!(WILD),
        "the exception's reason is not as written",
    );

    desk.remove(&["wild"]).await;
    desk.delete(department).await;
    desk.wait_gone(department).await;
}
