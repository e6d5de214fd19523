//! The names a host's tools know our things by. Nobody else invents names.
//!
//! All are made from ids, so that they are the same after every restart, fit their tool's limits,
//! and hold nothing that a person wrote (a domain's name apart, which is made of DNS labels).

use dc_types::{DepartmentName, InstanceId, Vni};
use uuid::Uuid;

/// Linux takes 15 bytes for an interface's name (IFNAMSIZ less the final zero).
pub const INTERFACE_NAME_MAX: usize = 15;

/// The namespace that joins the departments to the outside; on gateway hosts.
pub const EDGE_NETNS: &str = "edge";

/// The tap of one card: `t` and 48 bits of digest, so that two cards of a host do not meet.
#[must_use]
pub fn tap_name(vm: InstanceId, card: u32) -> String {
    let digest = Uuid::new_v5(&vm.0, &card.to_be_bytes())
        .simple()
        .to_string();
    format!("t{}", &digest[..12])
}

/// Whether an interface may be one that [`tap_name`] named.
#[must_use]
pub fn is_tap(name: &str) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    name.strip_prefix('t')
        .is_some_and(|digest| digest.len() == 12 && digest.bytes().all(hex))
}

/// The namespace of a department on a host, by its transit network.
#[must_use]
pub fn netns_name(transit: Vni) -> String {
    format!("dep-{transit}")
}

/// The transit network of a namespace that [`netns_name`] named; `None` for a foreign one.
#[must_use]
pub fn netns_transit(name: &str) -> Option<Vni> {
    let vni: u32 = name.strip_prefix("dep-")?.parse().ok()?;
    (netns_name(Vni(vni)) == name).then_some(Vni(vni))
}

/// The bridge of one segment, inside the department's namespace.
#[must_use]
pub fn bridge_name(vni: Vni) -> String {
    format!("br{vni}")
}

/// The VXLAN port of one segment or transit network.
#[must_use]
pub fn vxlan_name(vni: Vni) -> String {
    format!("vx{vni}")
}

/// The pair that joins a department's namespace to the edge: its end in the department.
#[must_use]
pub fn uplink_name(transit: Vni) -> String {
    format!("ul{transit}")
}

/// The same pair's end in the edge namespace.
#[must_use]
pub fn downlink_name(transit: Vni) -> String {
    format!("dl{transit}")
}

/// The libvirt domain of a machine. Its uuid is the machine's id; the name is for people.
#[must_use]
pub fn domain_name(department: &DepartmentName, vm_name: &str, vm: InstanceId) -> String {
    format!("{department}-{vm_name}-{}", &vm.0.simple().to_string()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_name_fits_the_kernel() {
        let last = Vni::LAST;
        for name in [
            tap_name(InstanceId(Uuid::max()), u32::MAX),
            bridge_name(last),
            vxlan_name(last),
            uplink_name(last),
            downlink_name(last),
        ] {
            assert!(name.len() <= INTERFACE_NAME_MAX, "{name}");
        }
    }

    #[test]
    fn the_taps_of_two_cards_and_of_two_machines_differ() {
        let a = InstanceId(Uuid::from_u128(1));
        let b = InstanceId(Uuid::from_u128(2));
        assert_eq!(tap_name(a, 0), tap_name(a, 0));
        assert_ne!(tap_name(a, 0), tap_name(a, 1));
        assert_ne!(tap_name(a, 0), tap_name(b, 0));
        assert!(is_tap(&tap_name(a, 0)));
        assert!(!is_tap("tap0") && !is_tap("t0123456789ag") && !is_tap("eth0"));
    }

    #[test]
    fn only_our_own_namespaces_are_recognised() {
        assert_eq!(netns_transit(&netns_name(Vni(4096))), Some(Vni(4096)));
        for foreign in ["edge", "dep-", "dep-x", "dep-+5", "dep-007", "dept-5"] {
            assert_eq!(netns_transit(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_domain_name_says_department_and_machine() {
        let department = DepartmentName::new("so-nnmt").unwrap();
        let vm = InstanceId(Uuid::from_u128(0xabcd_ef01 << 96));
        assert_eq!(domain_name(&department, "web", vm), "so-nnmt-web-abcdef01");
    }
}
