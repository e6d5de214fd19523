//! The cables of a lab: three networks that join its machines, and the world outside.
//!
//! ```text
//! root namespace ── dcN-mgmt ─┐
//!                             │  fabric namespace: one bridge for each network
//!   machine "mgmt" ───────────┤── management   100.96.N.0/24   MTU 1500
//!   machine "storage" ────────┤── storage      100.97.N.0/24   MTU 1500
//!   machine "overlay" ────────┘── overlay      100.98.N.0/24   MTU 1600, so that guests get 1500
//!   gateway "ext" ─────────────── outside namespace: 203.0.113.0/24, 2001:db8::/32
//! ```
//!
//! The bridges stand in a namespace of their own, so nothing of the machine's own network is
//! changed, and its firewall never sees a frame of the lab. The root namespace has one device of
//! ours, the operator's way to the machines. Everything may be done twice.

mod ip;
mod outside;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::address::Network;
use crate::journal::Made;
use crate::lab::Lab;
use crate::progress;

use ip::{ensure_address, ensure_namespace, in_namespace, ip, link_exists};
pub use outside::{
    GATEWAY_V4, GATEWAY_V6, OUTSIDE_NET_V4, OUTSIDE_NET_V6, OUTSIDE_V4, OUTSIDE_V6, Outside,
};

/// The interface of a gateway machine that leads outside.
pub const EXTERNAL_INTERFACE: &str = "ext";

/// Room for the 50 bytes of VXLAN over IPv4 around a guest's frame of 1500, and some more.
const OVERLAY_MTU: u16 = 1600;
const USUAL_MTU: u16 = 1500;

/// The name of a machine's interface on a network.
pub fn interface(network: Network) -> &'static str {
    match network {
        Network::Management => "mgmt",
        Network::Storage => "storage",
        Network::Overlay => "overlay",
    }
}

fn mtu(network: Network) -> u16 {
    match network {
        Network::Overlay => OVERLAY_MTU,
        Network::Management | Network::Storage => USUAL_MTU,
    }
}

/// The three networks of a lab.
#[derive(Debug, Clone)]
pub struct Fabric {
    lab: Lab,
    namespace: String,
}

impl Fabric {
    /// Makes what is missing of the networks and of the root namespace's link to management.
    pub fn ensure(lab: &Lab) -> Result<Self> {
        load_modules();
        let fabric = Self {
            lab: lab.clone(),
            namespace: lab.addresses().namespace("fabric"),
        };
        ensure_namespace(lab, &fabric.namespace)?;
        silence_bridges(&fabric.namespace)?;
        for network in Network::ALL {
            fabric.ensure_bridge(network)?;
        }
        fabric
            .ensure_root_link()
            .context("cannot link the root namespace to management")?;
        Ok(fabric)
    }

    fn ensure_bridge(&self, network: Network) -> Result<()> {
        let bridge = network.name();
        let mtu = mtu(network).to_string();
        if !link_exists(Some(&self.namespace), bridge)? {
            ip(
                Some(&self.namespace),
                &["link", "add", bridge, "mtu", &mtu, "type", "bridge"],
            )?;
        }
        ip(
            Some(&self.namespace),
            &["link", "set", bridge, "mtu", &mtu, "up"],
        )
    }

    fn ensure_root_link(&self) -> Result<()> {
        let addresses = self.lab.addresses();
        let root_end = addresses.link("mgmt");
        self.lab.journal().will_make(&Made::Link {
            name: root_end.clone(),
        })?;
        if !link_exists(None, &root_end)? {
            let peer = ["peer", "name", "root", "netns", &self.namespace];
            ip(
                None,
                &[&["link", "add", &root_end, "type", "veth"], &peer[..]].concat(),
            )?;
        }
        self.connect("root", Network::Management)?;
        let address = format!("{}/24", addresses.root(Network::Management));
        ensure_address(None, &root_end, &address)?;
        ip(None, &["link", "set", &root_end, "up"])
    }

    /// Puts a device of the fabric's namespace on a network's bridge.
    fn connect(&self, port: &str, network: Network) -> Result<()> {
        let mtu = mtu(network).to_string();
        let set = [
            "link",
            "set",
            port,
            "mtu",
            &mtu,
            "master",
            network.name(),
            "up",
        ];
        ip(Some(&self.namespace), &set)
    }

    /// Wires the machine that lives in the network namespace of process `pid` to all three
    /// networks, as host `number` of each.
    pub fn plug(&self, pid: u32, number: u8) -> Result<()> {
        for network in Network::ALL {
            self.plug_one(pid, number, network)
                .with_context(|| format!("cannot wire host {number} to {}", network.name()))?;
        }
        Ok(())
    }

    fn plug_one(&self, pid: u32, number: u8, network: Network) -> Result<()> {
        let port = format!("{}{number}", network.letter());
        let inside = interface(network);
        let pid_text = pid.to_string();
        if !has_interface(pid, inside)? {
            // What a former life of the machine has left goes a moment after its namespace.
            remove_link(&self.namespace, &port)?;
            let peer = ["peer", "name", inside, "netns", &pid_text];
            let add = ["link", "add", &port, "type", "veth"];
            ip(Some(&self.namespace), &[&add[..], &peer].concat())?;
        }
        self.connect(&port, network)?;
        let address = self.lab.addresses().host(network, number);
        configure_inside(pid, inside, address, mtu(network))
    }

    /// Takes the cables of a machine away, if they are still there.
    pub fn unplug(&self, number: u8) -> Result<()> {
        Network::ALL.iter().try_for_each(|network| {
            remove_link(&self.namespace, &format!("{}{number}", network.letter()))
        })
    }
}

fn configure_inside(pid: u32, interface: &str, address: Ipv4Addr, mtu: u16) -> Result<()> {
    let address = format!("{address}/24");
    let (mtu, pid) = (mtu.to_string(), pid.to_string());
    let enter = |args: &[&str]| {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid, "--net", "--", "ip"])
            .args(args);
        progress::run(&mut command).map(drop)
    };
    enter(&["address", "replace", &address, "dev", interface])?;
    enter(&["link", "set", interface, "mtu", &mtu, "up"])
}

fn has_interface(pid: u32, interface: &str) -> Result<bool> {
    let mut command = Command::new("nsenter");
    command.args([
        "--target",
        &pid.to_string(),
        "--net",
        "--",
        "ip",
        "-o",
        "link",
        "show",
    ]);
    let shown = progress::run(&mut command)?;
    Ok(ip::names_in(&shown).any(|name| name == interface))
}

fn remove_link(namespace: &str, name: &str) -> Result<()> {
    if link_exists(Some(namespace), name)? {
        // It may go by itself between the look and the deed.
        let removed = ip(Some(namespace), &["link", "delete", name]);
        if link_exists(Some(namespace), name)? {
            return removed;
        }
    }
    Ok(())
}

/// In every new network namespace bridged frames cross iptables by default; here they must not.
fn silence_bridges(namespace: &str) -> Result<()> {
    const SWITCH_OFF: &str = "for f in /proc/sys/net/bridge/bridge-nf-call-*; do \
                              [ ! -e $f ] || echo 0 >$f; done";
    let mut command = in_namespace(namespace, "sh");
    progress::run(command.args(["-c", SWITCH_OFF])).map(drop)
}

/// A stock kernel has these as modules; where they are built in, or modprobe is missing, the
/// first command that needs one tells.
fn load_modules() {
    if Path::new("/proc/sys/net/bridge").exists() {
        return;
    }
    let modules = [
        "br_netfilter",
        "vxlan",
        "tun",
        "loop",
        "xfs",
        "overlay",
        "nf_tables",
    ];
    let _ = Command::new("modprobe").arg("-a").args(modules).output();
}
