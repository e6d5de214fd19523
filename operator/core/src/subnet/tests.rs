use super::*;
use crate::sim::{Sim, delete, zone};
use crate::words::Fact;
use dc_types::Vni;

fn claim<'a>(sim: &'a Sim, name: &str) -> &'a SubnetClaim {
    let me = crate::object::object_ref(&sim.subnets[name].metadata).unwrap();
    &sim.ledger.claims.subnets[&uid(&me)].value
}

fn found(sim: &Sim, name: &str) -> Fact {
    sim.plan_of(&format!("subnet {name}")).found[0].clone()
}

#[test]
fn a_subnet_gets_the_first_gap_of_its_zone_and_a_network_id() {
    let mut sim = Sim::new();
    sim.add_subnet("app");
    sim.look();
    assert_eq!(claim(&sim, "web").v4.unwrap().to_string(), "10.16.0.0/28");
    assert_eq!(claim(&sim, "app").v4.unwrap().to_string(), "10.16.0.16/28");
    assert_eq!(
        claim(&sim, "app").v6.unwrap().to_string(),
        "fd00:16:0:1::/64"
    );
    assert_eq!(claim(&sim, "web").vni, Vni::FIRST);

    delete(&mut sim.subnets.get_mut("web").unwrap().metadata);
    sim.look();
    assert!(!sim.subnets.contains_key("web"));
    sim.add_subnet("new");
    sim.look();
    assert_eq!(claim(&sim, "new").v4.unwrap().to_string(), "10.16.0.0/28");
    assert_eq!(
        claim(&sim, "new").vni,
        Vni(Vni::FIRST.0 + 2),
        "not at once another's"
    );
}

#[test]
fn a_prefix_of_its_own_is_checked() {
    let mut sim = Sim::new();
    let cases = [
        ("8.8.8.0/24", "PrefixNotPrivate"),
        ("10.16.0.0/24", "PrefixOverlaps"),
        ("10.0.0.0/8", "PrefixLength"),
    ];
    for (n, (prefix, reason)) in cases.into_iter().enumerate() {
        let name = format!("s{n}");
        sim.add_subnet(&name);
        sim.subnets.get_mut(&name).unwrap().spec.ipv4 = Some(prefix.parse().unwrap());
        sim.look();
        assert_eq!(found(&sim, &name).words().reason, reason);
    }
    sim.add_subnet("own");
    sim.subnets.get_mut("own").unwrap().spec.ipv4 = Some("192.168.7.0/26".parse().unwrap());
    sim.look();
    assert_eq!(sim.plan_of("subnet own").found, []);
    let held = sim.ledger.claims.held.keys();
    let of_pool = held.filter(|key| key.starts_with("prefix/")).count();
    assert_eq!(of_pool, 3, "two of web and the IPv6 one of own");
}

#[test]
fn a_prefix_is_not_given_from_a_pool_where_one_of_its_own_lies() {
    let mut sim = Sim::new();
    sim.add_subnet("own");
    sim.subnets.get_mut("own").unwrap().spec.ipv4 = Some("10.16.0.32/27".parse().unwrap());
    sim.look();
    sim.add_subnet("a");
    sim.add_subnet("b");
    sim.look();
    assert_eq!(claim(&sim, "a").v4.unwrap().to_string(), "10.16.0.16/28");
    assert_eq!(claim(&sim, "b").v4.unwrap().to_string(), "10.16.0.64/28");
}

#[test]
fn a_zone_that_is_missing_or_full_is_named() {
    let mut sim = Sim::new();
    sim.zones
        .insert("tiny".into(), zone("tiny", "10.99.0.0/28", "fd00:99::/64"));
    for (name, zone) in [("a", "tiny"), ("b", "tiny"), ("c", "nowhere")] {
        sim.add_subnet(name);
        sim.subnets.get_mut(name).unwrap().spec.zone = zone.into();
    }
    sim.look();
    assert_eq!(sim.plan_of("subnet a").found, []);
    assert!(matches!(found(&sim, "b"), Fact::ZonePoolFull { .. }));
    assert!(matches!(found(&sim, "c"), Fact::ZoneMissing { .. }));
}

#[test]
fn a_subnet_with_a_machine_stays_and_says_which() {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    delete(&mut sim.subnets.get_mut("web").unwrap().metadata);
    sim.look();
    assert_eq!(
        found(&sim, "web"),
        Fact::StillUsed {
            by: vec!["machine web".into()]
        }
    );
    delete(&mut sim.vm("web").metadata);
    sim.look();
    assert!(sim.subnets.is_empty() && sim.ledger.claims.held.is_empty());
}
