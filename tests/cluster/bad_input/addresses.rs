//! Addresses and MACs: outside, kept, taken; free again when their holder is gone.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::desk::{Case, Desk, Named, OURS, THEIRS, machine, ours};

const MAC: &str = "52:54:00:12:34:56";
/// A prefix that both departments give to a subnet of theirs.
const SHARED: &str = "192.168.7.0/24";

fn card(mut card: Value) -> Value {
    if card["subnet"].is_null() {
        card["subnet"] = json!("app");
    }
    machine(json!({"interfaces": [card]}))
}

pub async fn an_address_or_mac_is_given_once_and_free_again_later(desk: &mut Desk) {
    let app = desk.get(Named("Subnet", OURS, "app")).await.unwrap();
    let prefix: Ipv4Net = app.data["status"]["ipv4"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let nth = |n: u32| std::net::Ipv4Addr::from(u32::from(prefix.network()) + n).to_string();
    let (gateway, mine, last) = (nth(1), nth(20), nth(63));

    let web = ours("web");
    desk.put(web, card(json!({"ipv4": mine, "mac": MAC}))).await;
    desk.wait_object(web, "Running").await;
    let before = desk.claims();
    let taken = format!("interfaces[0].ipv4: {mine} of Subnet app belongs to another machine");
    let kept = format!("interfaces[0].ipv4: {gateway} is kept for the gateway");
    let kept_last = format!("interfaces[0].ipv4: {last} is kept");
    let outside = format!("interfaces[0].ipv4: 10.1.2.3 is outside the subnet's {prefix}");
    let cases = [
        Case {
            object: ours("outside"),
            spec: card(json!({"ipv4": "10.1.2.3"})),
            reason: "AddressOutside",
            says: &[&outside, "choose one inside", "nằm ngoài dải"],
        },
        Case {
            object: ours("outside-six"),
            spec: card(json!({"ipv6": "fd00:dead::5"})),
            reason: "AddressOutside",
            says: &["interfaces[0].ipv6: fd00:dead::5 is outside the subnet's fd5a:"],
        },
        Case {
            object: ours("gateway"),
            spec: card(json!({"ipv4": gateway})),
            reason: "AddressReserved",
            says: &[&kept, "Subnet app", "choose another"],
        },
        Case {
            object: ours("broadcast"),
            spec: card(json!({"ipv4": last})),
            reason: "AddressReserved",
            says: &[&kept_last, "choose another"],
        },
        Case {
            object: ours("second"),
            spec: card(json!({"ipv4": mine})),
            reason: "AddressTaken",
            says: &[
                &taken,
                "choose another or leave it out",
                "thuộc máy ảo khác",
            ],
        },
        Case {
            object: ours("same-mac"),
            spec: card(json!({"mac": MAC})),
            reason: "MacTaken",
            says: &[
                "interfaces[0].mac: 52:54:00:12:34:56 belongs to another card",
                "choose another or leave it out",
            ],
        },
        // MACs are the data centre's; whose it is nobody else is told.
        Case {
            object: Named("VirtualMachine", THEIRS, "same-mac"),
            spec: {
                let mut spec = card(json!({"subnet": "treasury", "mac": MAC}));
                spec["system"] = json!("tax");
                spec
            },
            reason: "MacTaken",
            says: &["interfaces[0].mac: 52:54:00:12:34:56 belongs to another card"],
        },
    ];
    desk.answer(&cases).await;
    let theirs = Named("VirtualMachine", THEIRS, "same-mac");
    let told = desk.get(theirs).await.unwrap().data["status"].to_string();
    desk.check(
        !told.contains(OURS) && !told.contains("web"),
        format!("another department is told who holds a MAC: {told}"),
    );
    let now = desk.claims();
    desk.check(
        (&now.vms, &now.held) == (&before.vms, &before.held),
        "something was claimed for machines without an address",
    );

    // The holder goes: whoever waits for what it held goes on by itself, one of the two for a MAC.
    desk.delete(theirs).await;
    desk.wait_gone(theirs).await;
    desk.remove(&["outside", "outside-six", "gateway", "broadcast", "web"])
        .await;
    for name in ["second", "same-mac"] {
        desk.wait_object(ours(name), "Running").await;
    }
    let second = desk.get(ours("second")).await.unwrap();
    desk.check(
        second.data["status"]["interfaces"][0]["ipv4"] == json!(mine),
        "the address that was asked for is not the one that was given",
    );
    desk.remove(&["second", "same-mac"]).await;
    the_same_private_addresses_in_two_departments(desk).await;
}

async fn the_same_private_addresses_in_two_departments(desk: &mut Desk) {
    let twins = [(OURS, "land"), (THEIRS, "tax")];
    for (department, system) in twins {
        let subnet = Named("Subnet", department, "shared");
        let spec = json!({"zone": "internal", "ipv4": SHARED});
        desk.put(subnet, spec).await;
        let mut spec = card(json!({"subnet": "shared", "ipv4": "192.168.7.20"}));
        spec["system"] = json!(system);
        let vm = Named("VirtualMachine", department, "twin");
        desk.put(vm, spec).await;
    }
    for (department, _) in twins {
        let vm = Named("VirtualMachine", department, "twin");
        desk.wait_object(vm, "Running").await;
        desk.delete(vm).await;
        desk.wait_gone(vm).await;
    }
}
