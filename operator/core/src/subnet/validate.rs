//! What one Subnet asks, checked against its zone and the department's other subnets.

use dc_crds::Zone;
use dc_crds::subnet::SubnetSpec;
use dc_types::plan::ZoneType;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Seen;
use crate::place::verdict::zone_name;
use crate::place::zone_type;
use crate::volume::Named;
use crate::words::Fact;

/// A subnet that may be claimed, or is.
#[derive(Clone, Debug)]
pub struct ValidSubnet<'a> {
    pub zone_name: &'a str,
    pub zone: &'a Zone,
    pub v4: Option<Ipv4Net>,
    pub v6: Option<Ipv6Net>,
}

pub fn validate<'a>(seen: &Seen<'a>) -> Result<ValidSubnet<'a>, Vec<Fact>> {
    let SubnetSpec {
        system,
        zone: zone_named,
        ipv4,
        ipv6,
        dns: _,
    } = &seen.subnet.spec;
    let mut wrong = Vec::new();
    if let (Some(system), Named::Absent) = (system, seen.system) {
        wrong.push(Fact::SystemMissing {
            system: system.clone(),
        });
    }
    let Some(zone) = seen.zone else {
        wrong.push(Fact::ZoneMissing {
            zone: zone_named.clone(),
        });
        return Err(wrong);
    };
    let kind = zone_type(zone.spec.type_);
    if matches!(kind, ZoneType::Outside | ZoneType::Storage) {
        wrong.push(Fact::ZoneCarriesNoMachines {
            zone: zone_named.clone(),
            kind: zone_name(kind).to_owned(),
        });
    }
    for net in ipv4.map(IpNet::V4).into_iter().chain(ipv6.map(IpNet::V6)) {
        wrong.extend(validate_prefix(seen, net).err());
    }
    match wrong.is_empty() {
        true => Ok(ValidSubnet {
            zone_name: zone_named,
            zone,
            v4: *ipv4,
            v6: *ipv6,
        }),
        false => Err(wrong),
    }
}

/// Private networks: RFC 1918 and RFC 4193.
fn is_private(net: IpNet) -> bool {
    let private: [IpNet; 4] = [
        IpNet::V4(Ipv4Net::new_assert([10, 0, 0, 0].into(), 8)),
        IpNet::V4(Ipv4Net::new_assert([172, 16, 0, 0].into(), 12)),
        IpNet::V4(Ipv4Net::new_assert([192, 168, 0, 0].into(), 16)),
        IpNet::V6(Ipv6Net::new_assert([0xfc00, 0, 0, 0, 0, 0, 0, 0].into(), 7)),
    ];
    private.iter().any(|outer| outer.contains(&net))
}

fn validate_prefix(seen: &Seen<'_>, net: IpNet) -> Result<(), Fact> {
    let prefix = net.to_string();
    let length = match net {
        IpNet::V4(net) => (16..=28).contains(&net.prefix_len()) && net == net.trunc(),
        IpNet::V6(net) => net.prefix_len() == 64 && net == net.trunc(),
    };
    if !length {
        return Err(Fact::PrefixLength { prefix });
    }
    if !is_private(net) {
        return Err(Fact::PrefixNotPrivate { prefix });
    }
    for (name, sibling) in seen.siblings {
        let others = sibling.v4.map(IpNet::V4).into_iter();
        for other in others.chain(sibling.v6.map(IpNet::V6)) {
            if overlaps(net, other) {
                return Err(Fact::PrefixOverlaps {
                    prefix,
                    other: other.to_string(),
                    subnet: name.clone(),
                });
            }
        }
    }
    Ok(())
}

#[must_use]
pub fn overlaps(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}
