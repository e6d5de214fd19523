//! The world outside the data centre: a plain namespace at the other end of a gateway's `ext`.
//!
//! It stands for a citizen on the Internet and for the Internet's servers alike. Its addresses are
//! those reserved for documentation (RFC 5737, RFC 3849). It routes to the gateway all of
//! 2001:db8::/32 and, like the province's own wide-area network, the private addresses of
//! departments; IPv4 public addresses of the data centre it finds by ARP on the link.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use anyhow::{Context, Result};

use super::EXTERNAL_INTERFACE;
use super::ip::{ensure_address, ensure_namespace, in_namespace, ip, link_exists};
use crate::lab::Lab;
use crate::process::{self, Ensured, Spec};

pub const OUTSIDE_NET_V4: &str = "203.0.113.0/24";
pub const OUTSIDE_NET_V6: &str = "2001:db8:ffff::/64";
/// The outside's own address: the gateway's default router.
pub const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);
/// What the gateway's agent is to give to its `ext`; the wiring leaves it without addresses.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2);

/// Everything the data centre may have: departments' prefixes (RFC 1918 and 4193), public IPv6.
const ROUTED_V4: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
const ROUTED_V6: [&str; 2] = ["fd00::/8", "2001:db8::/32"];
/// The outside's end of the cable.
const CABLE: &str = "gateway";

#[derive(Debug, Clone)]
pub struct Outside {
    lab: Lab,
    namespace: String,
}

impl Outside {
    pub fn ensure(lab: &Lab) -> Result<Self> {
        let outside = Self {
            lab: lab.clone(),
            namespace: lab.addresses().namespace("outside"),
        };
        ensure_namespace(lab, &outside.namespace)?;
        Ok(outside)
    }

    /// Wires the gateway machine that lives in the network namespace of `pid`: an interface `ext`,
    /// up, without addresses. Its agent may move it into a namespace of its own; that is left so.
    pub fn plug(&self, pid: u32) -> Result<()> {
        self.plug_cable(pid)
            .context("cannot wire the gateway to the outside")
    }

    fn plug_cable(&self, pid: u32) -> Result<()> {
        let namespace = Some(self.namespace.as_str());
        if !link_exists(namespace, CABLE)? {
            let pid = pid.to_string();
            let peer = ["peer", "name", EXTERNAL_INTERFACE, "netns", &pid];
            ip(
                namespace,
                &[&["link", "add", CABLE, "type", "veth"], &peer[..]].concat(),
            )?;
        }
        ensure_address(namespace, CABLE, &format!("{OUTSIDE_V4}/24"))?;
        ensure_address(namespace, CABLE, &format!("{OUTSIDE_V6}/64"))?;
        ip(namespace, &["link", "set", CABLE, "up"])?;
        for (routed, via) in ROUTED_V4
            .map(|routed| (routed, GATEWAY_V4.to_string()))
            .into_iter()
            .chain(ROUTED_V6.map(|routed| (routed, GATEWAY_V6.to_string())))
        {
            ip(
                namespace,
                &["route", "replace", routed, "via", &via, "dev", CABLE],
            )?;
        }
        Ok(())
    }

    /// Takes the cable away: a gateway that boots again gets a new one.
    pub fn unplug(&self) -> Result<()> {
        super::remove_link(&self.namespace, CABLE)
    }

    /// A command as someone outside would run it.
    pub fn command(&self, program: &str) -> Command {
        in_namespace(&self.namespace, program)
    }

    /// A web server of the Internet, on port 80 of [`OUTSIDE_V4`] and [`OUTSIDE_V6`], whose page
    /// says `outside`.
    pub fn ensure_web_server(&self) -> Result<Ensured> {
        let pages = self.lab.subfolder("outside")?;
        std::fs::write(pages.join("index.html"), "outside\n")?;
        let spec = Spec::new("outside.web", "ip")
            .args([
                "netns",
                "exec",
                &self.namespace,
                "busybox",
                "httpd",
                "-f",
                "-p",
                "80",
                "-h",
            ])
            .arg(pages.display().to_string());
        process::ensure(&self.lab, &spec)
    }
}
