//! Addresses and MACs: what is free, what is kept, what may be asked for.
//!
//! Of every prefix the first address is the gateway and the next two are the platform's. Guests
//! that ask for nothing get the first free one from the tenth on, or from the fourth where a
//! prefix is small, so that a department has some low numbers to give out by hand. One that another
//! machine's object asks for is left to it while there are others.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_types::claim::keys;
use dc_types::{InstanceId, Mac, SubnetUid};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::claims::Claims;
use crate::words::Fact;

/// The gateway, and two more for the platform.
const KEPT: u32 = 3;
/// Where guests begin in a prefix of at least 64 addresses.
const FIRST_GUEST: u32 = 10;
const FIRST_GUEST_SMALL: u32 = 4;
/// How many addresses of a /64 are looked through: as many as the largest IPv4 prefix (/16) has.
const V6_SEARCH: u32 = 1 << 16;
/// Of 2^24 MACs a few hundred thousand may be in use; so many misses in a row do not happen.
const MAC_ATTEMPTS: u32 = 64;

/// The gateway of a prefix: its first address.
#[must_use]
pub fn gateway_v4(net: Ipv4Net) -> Ipv4Addr {
    nth_v4(net, 1)
}

#[must_use]
pub fn gateway_v6(net: Ipv6Net) -> Ipv6Addr {
    nth_v6(net, 1)
}

fn nth_v4(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).wrapping_add(n))
}

fn nth_v6(net: Ipv6Net, n: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()).wrapping_add(u128::from(n)))
}

/// What is already taken: by claims, and by cards of the same machine that are being claimed.
pub struct Taken<'a> {
    pub claims: &'a Claims,
    /// What other machines ask for by hand and have not claimed yet.
    pub wished: &'a BTreeSet<(SubnetUid, IpAddr)>,
    pub also: Vec<String>,
}

impl Taken<'_> {
    fn has(&self, key: &str) -> bool {
        self.claims.held.contains_key(key) || self.also.iter().any(|other| other == key)
    }

    fn take(&mut self, key: String) {
        self.also.push(key);
    }

    /// The first free one that nobody wishes for, else the first free one.
    fn first_free<A: Into<IpAddr> + Copy>(
        &mut self,
        subnet: SubnetUid,
        among: impl Iterator<Item = A> + Clone,
    ) -> Option<A> {
        let is_free = |address: &A| !self.has(&keys::address(subnet, (*address).into()));
        let is_wished = |address: &A| self.wished.contains(&(subnet, (*address).into()));
        let unwished = among.clone().filter(|address| !is_wished(address));
        let found = unwished.chain(among).find(is_free)?;
        self.take(keys::address(subnet, found.into()));
        Some(found)
    }
}

/// Which card of which subnet asks; for messages.
#[derive(Clone, Copy)]
pub struct Asker<'a> {
    pub card: usize,
    pub subnet: SubnetUid,
    pub subnet_name: &'a str,
}

/// The address asked for, or a free one; `None` when the subnet has no IPv4 prefix.
pub fn choose_v4(
    taken: &mut Taken<'_>,
    asker: Asker<'_>,
    net: Option<Ipv4Net>,
    asked: Option<Ipv4Addr>,
) -> Result<Option<Ipv4Addr>, Fact> {
    let Some(net) = net else {
        return absent(asker, asked.map(IpAddr::V4));
    };
    let size = 1u32 << (32 - net.prefix_len());
    if let Some(address) = asked {
        let offset = u32::from(address).wrapping_sub(u32::from(net.network()));
        let fits = net.contains(&address);
        let kept = offset <= KEPT || offset >= size - 1;
        check(
            taken,
            asker,
            IpAddr::V4(address),
            &net.to_string(),
            fits,
            kept,
        )?;
        return Ok(Some(address));
    }
    let first = if size >= 64 {
        FIRST_GUEST
    } else {
        FIRST_GUEST_SMALL
    };
    let among = (first..size - 1).map(|n| nth_v4(net, n));
    let found = taken.first_free(asker.subnet, among);
    found.map(Some).ok_or_else(|| full(asker, net.to_string()))
}

/// As [`choose_v4`].
pub fn choose_v6(
    taken: &mut Taken<'_>,
    asker: Asker<'_>,
    net: Option<Ipv6Net>,
    asked: Option<Ipv6Addr>,
) -> Result<Option<Ipv6Addr>, Fact> {
    let Some(net) = net else {
        return absent(asker, asked.map(IpAddr::V6));
    };
    if let Some(address) = asked {
        let offset = u128::from(address).wrapping_sub(u128::from(net.network()));
        let fits = net.contains(&address);
        let kept = offset <= u128::from(KEPT);
        check(
            taken,
            asker,
            IpAddr::V6(address),
            &net.to_string(),
            fits,
            kept,
        )?;
        return Ok(Some(address));
    }
    let among = (FIRST_GUEST..V6_SEARCH).map(|n| nth_v6(net, n));
    let found = taken.first_free(asker.subnet, among);
    found.map(Some).ok_or_else(|| full(asker, net.to_string()))
}

fn absent<T>(asker: Asker<'_>, asked: Option<IpAddr>) -> Result<Option<T>, Fact> {
    match asked {
        None => Ok(None),
        Some(address) => Err(Fact::AddressFamilyAbsent {
            card: asker.card,
            address: address.to_string(),
            subnet: asker.subnet_name.to_owned(),
        }),
    }
}

fn full(asker: Asker<'_>, prefix: String) -> Fact {
    Fact::SubnetFull {
        card: asker.card,
        subnet: asker.subnet_name.to_owned(),
        prefix,
    }
}

fn check(
    taken: &mut Taken<'_>,
    asker: Asker<'_>,
    address: IpAddr,
    prefix: &str,
    fits: bool,
    kept: bool,
) -> Result<(), Fact> {
    let Asker {
        card,
        subnet,
        subnet_name,
    } = asker;
    let text = address.to_string();
    if !fits {
        return Err(Fact::AddressOutside {
            card,
            address: text,
            prefix: prefix.to_owned(),
        });
    }
    if kept {
        return Err(Fact::AddressReserved {
            card,
            address: text,
            subnet: subnet_name.to_owned(),
        });
    }
    let key = keys::address(subnet, address);
    if taken.has(&key) {
        return Err(Fact::AddressTaken {
            card,
            address: text,
            subnet: subnet_name.to_owned(),
        });
    }
    taken.take(key);
    Ok(())
}

/// The MAC asked for, or one made from the machine's id.
pub fn choose_mac(
    taken: &mut Taken<'_>,
    vm: InstanceId,
    card: usize,
    asked: Option<Mac>,
) -> Result<Mac, Fact> {
    let refuse = |mac: Mac| Fact::MacTaken {
        card,
        mac: mac.to_string(),
    };
    if let Some(mac) = asked {
        let key = keys::mac(mac);
        if taken.has(&key) {
            return Err(refuse(mac));
        }
        taken.take(key);
        return Ok(mac);
    }
    let number = u32::try_from(card).unwrap_or(u32::MAX);
    for attempt in 0..MAC_ATTEMPTS {
        let mac = Mac::of_instance(vm, number, attempt);
        let key = keys::mac(mac);
        if !taken.has(&key) {
            taken.take(key);
            return Ok(mac);
        }
    }
    Err(refuse(Mac::of_instance(vm, number, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn asker() -> Asker<'static> {
        Asker {
            card: 0,
            subnet: SubnetUid(Uuid::from_u128(1)),
            subnet_name: "web",
        }
    }

    fn taken(claims: &Claims) -> Taken<'_> {
        static NONE: BTreeSet<(SubnetUid, IpAddr)> = BTreeSet::new();
        Taken {
            claims,
            wished: &NONE,
            also: vec![],
        }
    }

    #[test]
    fn what_another_asks_for_by_hand_is_left_to_it_while_there_are_others() {
        let claims = Claims::new(1);
        let net: Ipv4Net = "10.1.0.0/29".parse().unwrap();
        let wished = ["10.1.0.4", "10.1.0.6"].map(|ip| (asker().subnet, ip.parse().unwrap()));
        let wished = BTreeSet::from(wished);
        let mut taken = Taken {
            wished: &wished,
            ..taken(&claims)
        };
        let mut next = || choose_v4(&mut taken, asker(), Some(net), None);
        for expected in ["10.1.0.5", "10.1.0.4", "10.1.0.6"] {
            assert_eq!(next(), Ok(Some(expected.parse().unwrap())));
        }
        assert!(matches!(next(), Err(Fact::SubnetFull { .. })));
    }

    #[test]
    fn guests_begin_at_the_tenth_address_or_the_fourth_of_a_small_prefix() {
        let claims = Claims::new(1);
        let mut taken = taken(&claims);
        let first = |net: &str, taken: &mut Taken<'_>| {
            choose_v4(taken, asker(), Some(net.parse().unwrap()), None)
                .unwrap()
                .unwrap()
                .to_string()
        };
        assert_eq!(first("10.1.0.0/26", &mut taken), "10.1.0.10");
        assert_eq!(first("10.1.0.0/26", &mut taken), "10.1.0.11");
        assert_eq!(first("10.2.0.0/28", &mut taken), "10.2.0.4");
        let v6 = choose_v6(
            &mut taken,
            asker(),
            Some("fd00:1::/64".parse().unwrap()),
            None,
        );
        assert_eq!(v6.unwrap().unwrap().to_string(), "fd00:1::a");
    }

    #[test]
    fn a_small_prefix_runs_out_and_says_so() {
        let claims = Claims::new(1);
        let mut taken = taken(&claims);
        let net: Ipv4Net = "10.2.0.0/28".parse().unwrap();
        for _ in 4..15 {
            assert!(choose_v4(&mut taken, asker(), Some(net), None).is_ok());
        }
        assert!(matches!(
            choose_v4(&mut taken, asker(), Some(net), None),
            Err(Fact::SubnetFull { .. })
        ));
    }

    #[test]
    fn an_address_outside_kept_or_taken_is_refused_for_what_it_is() {
        let claims = Claims::new(1);
        let mut taken = taken(&claims);
        let net: Ipv4Net = "10.1.0.0/26".parse().unwrap();
        let mut ask = |address: &str| {
            choose_v4(
                &mut taken,
                asker(),
                Some(net),
                Some(address.parse().unwrap()),
            )
        };
        assert!(matches!(ask("10.1.0.64"), Err(Fact::AddressOutside { .. })));
        for kept in ["10.1.0.0", "10.1.0.1", "10.1.0.3", "10.1.0.63"] {
            assert!(
                matches!(ask(kept), Err(Fact::AddressReserved { .. })),
                "{kept}"
            );
        }
        assert!(ask("10.1.0.4").is_ok());
        assert!(matches!(ask("10.1.0.4"), Err(Fact::AddressTaken { .. })));
        assert!(matches!(
            choose_v6(&mut taken, asker(), None, Some("fd00::4".parse().unwrap())),
            Err(Fact::AddressFamilyAbsent { .. })
        ));
    }

    #[test]
    fn a_mac_that_is_taken_is_refused_and_a_made_one_steps_aside() {
        let claims = Claims::new(1);
        let mut taken = taken(&claims);
        let vm = InstanceId(Uuid::from_u128(3));
        let first = choose_mac(&mut taken, vm, 0, None).unwrap();
        assert_eq!(first, Mac::of_instance(vm, 0, 0));
        assert_eq!(
            choose_mac(&mut taken, vm, 0, None),
            Ok(Mac::of_instance(vm, 0, 1))
        );
        assert!(matches!(
            choose_mac(&mut taken, vm, 1, Some(first)),
            Err(Fact::MacTaken { .. })
        ));
    }
}
