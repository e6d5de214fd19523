//! What nft and dnsmasq are given, in full, for one small department.

use super::fixture::Desk;
use crate::network::desired;
use crate::network::dhcp;
use crate::network::firewall::department::{self, Cuts};
use crate::network::firewall::{Table, edge, guard};
use crate::network::validate::validate;

/// The digest stands for all the rest and would change with every word.
fn text(table: &Table) -> String {
    table.render().replace(&table.digest(), "DIGEST")
}

#[test]
fn the_policy_of_a_department_is_this() {
    Desk::compute().with(|wanted| {
        let valid = validate(wanted);
        let cuts = Cuts {
            flows: [9].into(),
            addresses: ["10.1.1.99".parse().unwrap()].into(),
        };
        let table = department::table(&valid.networks[0], &cuts);
        assert_eq!(text(&table), include_str!("policy.nft"));
    });
}

#[test]
fn the_port_guard_of_a_department_is_this() {
    Desk::compute().with(|wanted| {
        let valid = validate(wanted);
        let table = guard::table(&valid.networks[0]);
        assert_eq!(text(&table), include_str!("guard.nft"));
    });
}

#[test]
fn the_edge_of_a_gateway_is_this() {
    Desk::gateway().with(|wanted| {
        let valid = validate(wanted);
        let openings = desired::openings(&valid.networks);
        let table = edge::table("ext", &openings.openings);
        assert_eq!(text(&table), include_str!("edge.nft"));
    });
}

#[test]
fn the_dhcp_server_of_a_department_is_told_this() {
    Desk::compute().with(|wanted| {
        let valid = validate(wanted);
        let config = dhcp::render(&valid.networks[0], wanted.host.addresses.overlay);
        assert_eq!(config.unwrap(), include_str!("dnsmasq.conf"));
    });
    Desk::gateway().with(|wanted| {
        let valid = validate(wanted);
        let config = dhcp::render(&valid.networks[0], wanted.host.addresses.overlay);
        assert_eq!(config, None, "no machine of it is on this host");
    });
}

#[test]
fn what_is_to_be_cut_does_not_change_the_digest() {
    Desk::compute().with(|wanted| {
        let valid = validate(wanted);
        let cuts = Cuts {
            flows: [9].into(),
            addresses: ["10.1.1.99".parse().unwrap()].into(),
        };
        let with = department::table(&valid.networks[0], &cuts);
        let without = department::table(&valid.networks[0], &Cuts::default());
        assert_eq!(with.digest(), without.digest());
        assert!(without.is_loaded_as(Some(&with.as_seen())));
        assert_eq!(Cuts::pending(&with.as_seen()), cuts);
    });
}
