//! Words for zones and subnets.

use super::Standing::Troubled;
use super::{Fact, Words};

pub(super) fn words(fact: &Fact) -> Option<Words> {
    Some(match fact {
        Fact::ZoneMissing { zone } => Words::new(
            Troubled,
            "ZoneMissing",
            format!("zone: there is no Zone {zone}; `kubectl get zones` lists them"),
            format!("zone: không có Zone {zone}; xem `kubectl get zones`"),
        ),
        Fact::ZoneCarriesNoMachines { zone, kind } => Words::new(
            Troubled,
            "ZoneCarriesNoMachines",
            format!(
                "zone: Zone {zone} is of type {kind}, which carries no subnets of departments; \
                 choose another zone"
            ),
            format!(
                "zone: Zone {zone} thuộc loại {kind}, không dành cho mạng của cơ quan; hãy chọn \
                 zone khác"
            ),
        ),
        Fact::ZoneWithoutPool { zone } => Words::new(
            Troubled,
            "ZoneWithoutPool",
            format!(
                "zone: Zone {zone} has no address pool; give ipv4 or ipv6 a prefix, or the zone a \
                 pool"
            ),
            format!("zone: Zone {zone} chưa có dải địa chỉ; hãy khai báo ipv4, ipv6 hoặc pool"),
        ),
        Fact::ZonePoolFull { zone, pool } => Words::new(
            Troubled,
            "ZonePoolFull",
            format!("zone: the pool {pool} of Zone {zone} has no free prefix; enlarge it"),
            format!("zone: dải {pool} của Zone {zone} đã cấp hết; hãy mở rộng"),
        ),
        Fact::PrefixNotPrivate { prefix } => Words::new(
            Troubled,
            "PrefixNotPrivate",
            format!(
                "{}: {prefix} is not a private network; use one inside 10.0.0.0/8, 172.16.0.0/12, \
                 192.168.0.0/16 or fc00::/7",
                field(prefix)
            ),
            format!(
                "{}: {prefix} không phải mạng riêng; hãy dùng dải trong 10.0.0.0/8, 172.16.0.0/12, \
                 192.168.0.0/16 hoặc fc00::/7",
                field(prefix)
            ),
        ),
        Fact::PrefixOverlaps {
            prefix,
            other,
            subnet,
        } => Words::new(
            Troubled,
            "PrefixOverlaps",
            format!(
                "{}: {prefix} overlaps {other} of Subnet {subnet} in this department; choose \
                 another or leave it out",
                field(prefix)
            ),
            format!(
                "{}: {prefix} trùng với {other} của Subnet {subnet} trong cùng cơ quan; hãy chọn \
                 dải khác hoặc bỏ trống",
                field(prefix)
            ),
        ),
        Fact::PrefixLength { prefix } => Words::new(
            Troubled,
            "PrefixLength",
            format!(
                "{}: {prefix} is too large or too small; IPv4 prefixes are /16 to /28, IPv6 \
                 prefixes /64",
                field(prefix)
            ),
            format!(
                "{}: {prefix} quá lớn hoặc quá nhỏ; tiền tố IPv4 từ /16 đến /28, IPv6 là /64",
                field(prefix)
            ),
        ),
        Fact::PrefixTaken { prefix, zone } => Words::new(
            Troubled,
            "PrefixTaken",
            format!(
                "{prefix} of Zone {zone}'s pool is another department's; choose another or leave \
                 it out"
            ),
            format!("{prefix} trong dải của Zone {zone} đã cấp cho cơ quan khác"),
        ),
        Fact::VnisUsedUp => Words::new(
            Troubled,
            "VnisUsedUp",
            "no VXLAN network id is free",
            "đã hết mã mạng VXLAN",
        ),
        Fact::ZonePoolsOverlap { zone, other } => Words::new(
            Troubled,
            "PoolsOverlap",
            format!("a pool of Zone {zone} overlaps one of Zone {other}; separate them"),
            format!("dải địa chỉ của Zone {zone} trùng với Zone {other}; hãy tách riêng"),
        ),
        _ => return None,
    })
}

/// The field of a Subnet that holds such a prefix.
fn field(prefix: &str) -> &'static str {
    match prefix.contains(':') {
        true => "ipv6",
        false => "ipv4",
    }
}
