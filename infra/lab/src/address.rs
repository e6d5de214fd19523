//! Which ports, subnets and device names belong to a lab.
//!
//! All of it follows from the lab's index, which the [`crate::registry`] gives to one lab at a
//! time, so labs stand side by side without asking each other.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Labs are numbered from 1 to this: the ports of the last one end below 32768, where Linux begins
/// to hand out ports by itself.
pub const LAST_INDEX: u8 = 120;

const FIRST_PORT: u16 = 20_000;
const PORTS_PER_LAB: u16 = 100;

/// What listens on loopback in the root network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    Etcd,
    EtcdPeer,
    Ledger,
    LedgerPeer,
    ApiServer,
    ControllerManager,
    OperatorAgents,
    OperatorHttp,
    /// A second operator, in tests of failover.
    StandbyAgents,
    StandbyHttp,
    SimulatedAgents,
    Dex,
    /// The departments' API.
    Api,
    ApiHttp,
}

impl Port {
    pub const ALL: [Self; 14] = [
        Self::Etcd,
        Self::EtcdPeer,
        Self::Ledger,
        Self::LedgerPeer,
        Self::ApiServer,
        Self::ControllerManager,
        Self::OperatorAgents,
        Self::OperatorHttp,
        Self::StandbyAgents,
        Self::StandbyHttp,
        Self::SimulatedAgents,
        Self::Dex,
        Self::Api,
        Self::ApiHttp,
    ];
}

/// The three networks that join a lab's machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Management,
    Storage,
    Overlay,
}

impl Network {
    pub const ALL: [Self; 3] = [Self::Management, Self::Storage, Self::Overlay];

    pub fn name(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Storage => "storage",
            Self::Overlay => "overlay",
        }
    }

    /// One letter, for device names.
    pub fn letter(self) -> char {
        match self {
            Self::Management => 'm',
            Self::Storage => 's',
            Self::Overlay => 'o',
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    index: u8,
}

impl Addresses {
    pub fn of(index: u8) -> Self {
        Self { index }
    }

    pub fn port(self, port: Port) -> u16 {
        FIRST_PORT + u16::from(self.index) * PORTS_PER_LAB + port as u16
    }

    pub fn loopback(self, port: Port) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port(port))
    }

    /// The /24 of a network. From 100.64.0.0/10 (RFC 6598, shared address space), so that it meets
    /// neither the departments' private addresses nor the office network of the machine.
    pub fn network(self, network: Network) -> Ipv4Addr {
        self.host(network, 0)
    }

    /// The address of the root namespace on a network: the bridge itself.
    pub fn root(self, network: Network) -> Ipv4Addr {
        self.host(network, 1)
    }

    /// The address of a machine, `number` from 10 up.
    pub fn host(self, network: Network, number: u8) -> Ipv4Addr {
        let second = match network {
            Network::Management => 96,
            Network::Storage => 97,
            Network::Overlay => 98,
        };
        Ipv4Addr::new(100, second, self.index, number)
    }

    /// A device name for this lab in the root namespace: `dc7-…`, at most 15 bytes (IFNAMSIZ).
    pub fn link(self, suffix: &str) -> String {
        let name = format!("dc{}-{suffix}", self.index);
        assert!(
            name.len() <= 15,
            "the device name {name} is too long for the kernel"
        );
        name
    }

    /// The bridge of a network in the root namespace.
    pub fn bridge(self, network: Network) -> String {
        self.link(&format!("br-{}", network.letter()))
    }

    /// A network namespace name for this lab.
    pub fn namespace(self, machine: &str) -> String {
        format!("dc{}-{machine}", self.index)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_labs_share_a_port_and_none_is_one_that_linux_hands_out() {
        let mut seen = BTreeSet::new();
        for index in 1..=LAST_INDEX {
            for port in Port::ALL {
                let port = Addresses::of(index).port(port);
                assert!(port < 32_768);
                assert!(seen.insert(port), "port {port} is given twice");
            }
        }
    }

    #[test]
    fn no_two_labs_share_a_subnet() {
        let mut seen = BTreeSet::new();
        for index in 1..=LAST_INDEX {
            for network in Network::ALL {
                assert!(seen.insert(Addresses::of(index).network(network)));
            }
        }
    }
}
