//! Closed before open, at every step and also when the agent dies between two.

use crate::network::firewall::guard;
use crate::network::firewall::{Policy, department};
use crate::network::state::Place;
use crate::network::{Act, Change, Seen};

use super::fixture::{Desk, carry_out};

const SETTING: &str = "net.bridge.bridge-nf-call-iptables";

fn dep() -> Place {
    Place::Netns("dep-5000".into())
}

/// What must hold of a department's namespace at any moment.
fn assert_closed(seen: &Seen, after: &Act) {
    let Some(state) = seen.machine.get(&dep()) else {
        return;
    };
    if !state.links.values().any(|link| link.master.is_some()) {
        return;
    }
    let drops = |table: &str, chain: &str| {
        let seen = seen
            .table(&dep(), table)
            .unwrap_or_else(|| panic!("no {table} at {after:?}"));
        let policy = seen.chains[chain].policy.as_deref();
        assert_eq!(
            policy,
            Some(Policy::Drop.as_str()),
            "{table} {chain} at {after:?}"
        );
    };
    drops(guard::TABLE, "enter");
    if state.sysctls.get(SETTING).map(String::as_str) == Some("1") {
        drops(department::TABLE, "forward");
    } else {
        let open = seen.table(&dep(), guard::TABLE).unwrap();
        assert!(
            !open.sets.contains_key("ports"),
            "ports are open at {after:?}"
        );
    }
}

#[test]
fn no_bridge_has_a_port_before_its_rules_are_loaded() {
    for mut desk in [Desk::compute(), Desk::gateway()] {
        for step in desk.plan() {
            carry_out(&mut desk.seen, &step.act);
            assert_closed(&desk.seen, &step.act);
        }
    }
}

#[test]
fn a_namespace_whose_bridges_bypass_the_firewall_is_shut_first() {
    let mut desk = Desk::compute();
    desk.settle();
    let change = Change::SetSysctl {
        name: SETTING.into(),
        value: "0".into(),
    };
    desk.seen.machine.apply(&dep(), &change).unwrap();
    let steps = desk.plan();
    for step in &steps {
        carry_out(&mut desk.seen, &step.act);
        assert_closed(&desk.seen, &step.act);
    }
    assert!(matches!(&steps[0].act, Act::LoadTables { ruleset, .. }
        if ruleset.tables[0].sets.is_empty() && ruleset.tables[0].name == guard::TABLE));
    assert_eq!(desk.plan(), Vec::new());
}

#[test]
fn rules_close_before_links_go_and_the_namespace_goes_last() {
    let mut desk = Desk::compute();
    desk.settle();
    desk.network_mut("so-a").segments.pop();
    desk.network_mut("so-a").flows.retain(|flow| flow.id != 2);
    desk.items
        .retain(|_, item| !["vm20", "vm21"].contains(&item.object.name.as_str()));
    let kinds: Vec<&str> = desk.plan().iter().map(|step| word(&step.act)).collect();
    assert_eq!(kinds, ["load", "change", "cut", "forget", "dhcp"]);
    desk.settle();
    let key = desk.plan().first().map(|s| s.key);
    assert_eq!(key, None);
    let release = |key| (key, super::fixture::release(key, 9));
    desk.releases = desk.items.keys().copied().map(release).collect();
    desk.items.clear();
    let kinds: Vec<&str> = desk.plan().iter().map(|step| word(&step.act)).collect();
    assert_eq!(kinds, ["stop", "change", "remove"]);
}

fn word(act: &Act) -> &'static str {
    match act {
        Act::AddNetns(_) => "add",
        Act::RemoveNetns(_) => "remove",
        Act::Change { .. } => "change",
        Act::LoadTables { .. } => "load",
        Act::Cut { .. } => "cut",
        Act::ForgetCuts { .. } => "forget",
        Act::StartDhcp { .. } => "dhcp",
        Act::StopDhcp { .. } => "stop",
    }
}
