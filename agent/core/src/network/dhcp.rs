//! The configuration of a department's DHCP server on this host.
//!
//! One dnsmasq for all segments, for local machines alone: every address is static, an unknown
//! MAC gets no answer. It serves DHCPv4, DHCPv6 and router advertisements (managed, no
//! autoconfiguration), and no DNS: the name servers told are those of the segment. The text holds
//! everything, so that a server that runs with the wanted text needs nothing.

use std::fmt::Write as _;
use std::net::IpAddr;

use dc_types::plan::Segment;
use ipnet::Ipv6Net;

use super::guest_mtu;
use super::validate::{Home, Network};
use crate::names;

/// How long a lease lasts. Nothing is given out anew, so this only says how often guests ask.
const LEASE: &str = "12h";

/// The text, or `None` when no machine of the department runs here.
#[must_use]
pub fn render(network: &Network, overlay: IpAddr) -> Option<String> {
    let mut local = network
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.home == Home::Here)
        .peekable();
    local.peek()?;
    let mut out = String::from(
        "port=0\nno-resolv\nno-hosts\nno-ping\nbind-dynamic\nleasefile-ro\nenable-ra\n\
         quiet-dhcp\nquiet-dhcp6\nquiet-ra\n",
    );
    for segment in &network.body.segments {
        render_segment(&mut out, segment, guest_mtu(overlay));
    }
    for endpoint in local {
        let body = endpoint.body;
        let _ = write!(out, "dhcp-host={}", body.mac);
        if let Some(v4) = body.v4 {
            let _ = write!(out, ",{v4}");
        }
        if let Some(v6) = body.v6 {
            let _ = write!(out, ",[{v6}]");
        }
        let _ = writeln!(out, ",{},{LEASE}", body.name);
    }
    Some(out)
}

fn render_segment(out: &mut String, segment: &Segment, mtu: u32) {
    let tag = format!("s{}", segment.vni);
    let _ = writeln!(out, "interface={}", names::bridge_name(segment.vni));
    if let (Some(net), Some(gateway)) = (segment.v4, segment.gateway_v4) {
        let (start, mask) = (net.network(), net.netmask());
        let _ = writeln!(out, "dhcp-range=set:{tag},{start},static,{mask},{LEASE}");
        let _ = writeln!(out, "dhcp-option=tag:{tag},option:router,{gateway}");
        let _ = writeln!(out, "dhcp-option=tag:{tag},option:mtu,{mtu}");
        let servers = joined(segment.dns.iter().filter(|a| a.is_ipv4()), "", "");
        let _ = writeln!(out, "dhcp-option=tag:{tag},option:dns-server{servers}");
    }
    if let Some(net) = segment.v6 {
        let (start, length) = (range_start(net), net.prefix_len());
        let _ = writeln!(out, "dhcp-range=set:{tag},{start},static,{length},{LEASE}");
        let servers = joined(segment.dns.iter().filter(|a| a.is_ipv6()), "[", "]");
        let _ = writeln!(out, "dhcp-option=tag:{tag},option6:dns-server{servers}");
    }
}

/// An address with host bits: a bare prefix would be advertised for autoconfiguration.
fn range_start(net: Ipv6Net) -> std::net::Ipv6Addr {
    let bits = u128::from(net.network()) | 2;
    bits.into()
}

fn joined<'a>(addresses: impl Iterator<Item = &'a IpAddr>, open: &str, close: &str) -> String {
    addresses.fold(String::new(), |mut out, address| {
        let _ = write!(out, ",{open}{address}{close}");
        out
    })
}
