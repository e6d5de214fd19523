//! Changes as lines for `ip -batch` and `bridge -batch`.

use std::net::IpAddr;

use dc_agent_core::network::Change;
use dc_agent_core::network::state::{FLOOD, FdbEntry, FdbTo, Neighbour, Route};

/// Which tool takes a line, and where it must run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `ip -n <place>`.
    Ip(String),
    /// `ip` in the host's own namespace: what it makes there keeps its socket there.
    HostIp(String),
    /// `bridge -n <place>`.
    Bridge(String),
    /// A file below /proc/sys, written from within the place.
    Sysctl { name: String, value: String },
}

/// The lines of one change, for a namespace of that name (`None`: the host's own).
pub(super) fn render(change: &Change, netns: Option<&str>) -> Vec<Line> {
    let ip = |line: String| vec![Line::Ip(line)];
    match change {
        Change::SetSysctl { name, value } => vec![Line::Sysctl {
            name: name.clone(),
            value: value.clone(),
        }],
        Change::AddBridge { name, mac, mtu } => ip(format!(
            "link add name {name} address {mac} mtu {mtu} type bridge mcast_snooping 0"
        )),
        Change::AddVxlan {
            name,
            vni,
            local,
            mac,
            mtu,
        } => {
            let mac = mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
            let place = netns.map(|n| format!(" netns {n}")).unwrap_or_default();
            vec![Line::HostIp(format!(
                "link add name {name}{mac} mtu {mtu}{place} type vxlan id {vni} local {local} \
                 dstport {} nolearning",
                dc_agent_core::network::VXLAN_PORT
            ))]
        }
        Change::AddVeth {
            name,
            mac,
            mtu,
            peer,
        } => {
            let place = netns.map(|n| format!(" netns {n}")).unwrap_or_default();
            vec![Line::HostIp(format!(
                "link add name {name} address {mac} mtu {mtu}{place} type veth peer name {} \
                 address {} mtu {mtu} netns {}",
                peer.name, peer.mac, peer.netns
            ))]
        }
        Change::MoveLink { name, to } => ip(format!("link set dev {name} netns {to}")),
        Change::DeleteLink { name } => ip(format!("link delete dev {name}")),
        Change::SetMac { name, mac } => ip(format!("link set dev {name} address {mac}")),
        Change::SetMtu { name, mtu } => ip(format!("link set dev {name} mtu {mtu}")),
        Change::SetUp { name } => ip(format!("link set dev {name} up")),
        Change::SetMaster { name, bridge } => ip(format!("link set dev {name} master {bridge}")),
        Change::SetPort { name, port } => ip(format!(
            "link set dev {name} type bridge_slave learning {} flood {} neigh_suppress {}",
            port.learning, port.flood, port.neigh_suppress
        )),
        Change::AddAddress { dev, address } => {
            let nodad = if address.addr().is_ipv6() {
                " nodad"
            } else {
                ""
            };
            ip(format!("address replace {address} dev {dev}{nodad}"))
        }
        Change::DeleteAddress { dev, address } => ip(format!("address delete {address} dev {dev}")),
        Change::SetRoute(route) => ip(format!("route replace {}", render_route(route))),
        Change::DeleteRoute(route) => ip(format!("route delete {}", render_route(route))),
        Change::SetNeighbour(Neighbour { dev, ip: to, mac }) => ip(format!(
            "neighbour replace {to} lladdr {mac} dev {dev} nud permanent"
        )),
        Change::DeleteNeighbour(Neighbour { dev, ip: to, .. }) => {
            ip(format!("neighbour delete {to} dev {dev}"))
        }
        Change::AddFdb(entry) => vec![Line::Bridge(render_fdb_add(entry))],
        Change::DeleteFdb(entry) => vec![Line::Bridge(render_fdb_delete(entry))],
    }
}

/// The prefix is written out, never `default`: with an IPv6 next hop `ip` would take that for
/// an IPv6 route.
fn render_route(route: &Route) -> String {
    let Route { to, via, dev } = route;
    let family = match (to.addr(), via) {
        (IpAddr::V4(_), IpAddr::V6(_)) => "inet6 ",
        _ => "",
    };
    format!("{to} via {family}{via} dev {dev} proto static")
}

fn render_fdb_add(FdbEntry { dev, mac, to }: &FdbEntry) -> String {
    match to {
        FdbTo::Port => format!("fdb replace {mac} dev {dev} master static"),
        // A flood list has many destinations, a machine has one.
        FdbTo::Remote(vtep) if *mac == FLOOD => {
            format!("fdb append {mac} dev {dev} dst {vtep} self permanent")
        }
        FdbTo::Remote(vtep) => format!("fdb replace {mac} dev {dev} dst {vtep} self permanent"),
    }
}

fn render_fdb_delete(FdbEntry { dev, mac, to }: &FdbEntry) -> String {
    match to {
        FdbTo::Port => format!("fdb delete {mac} dev {dev} master"),
        FdbTo::Remote(vtep) => format!("fdb delete {mac} dev {dev} dst {vtep} self"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_agent_core::network::change::VethPeer;
    use dc_types::{Mac, Vni};

    const MAC: Mac = Mac([2, 0xdc, 0, 0, 0, 5]);

    #[test]
    fn a_tunnel_and_a_pair_are_made_from_the_hosts_own_namespace() {
        let vxlan = Change::AddVxlan {
            name: "vx5".into(),
            vni: Vni(5),
            local: "10.9.0.1".parse().unwrap(),
            mac: None,
            mtu: 1450,
        };
        assert_eq!(
            render(&vxlan, Some("dep-9")),
            [Line::HostIp(
                "link add name vx5 mtu 1450 netns dep-9 type vxlan id 5 local 10.9.0.1 dstport \
                 4789 nolearning"
                    .into()
            )]
        );
        let veth = Change::AddVeth {
            name: "ul9".into(),
            mac: MAC,
            mtu: 1450,
            peer: VethPeer {
                netns: "edge".into(),
                name: "dl9".into(),
                mac: MAC,
            },
        };
        assert_eq!(
            render(&veth, Some("dep-9")),
            [Line::HostIp(
                "link add name ul9 address 02:dc:00:00:00:05 mtu 1450 netns dep-9 type veth peer \
                 name dl9 address 02:dc:00:00:00:05 mtu 1450 netns edge"
                    .into()
            )]
        );
    }

    #[test]
    fn a_default_route_of_ipv4_by_an_ipv6_neighbour_names_its_family() {
        let route = Route {
            to: "0.0.0.0/0".parse().unwrap(),
            via: "fe80::1".parse().unwrap(),
            dev: "ul9".into(),
        };
        assert_eq!(
            render(&Change::SetRoute(route), None),
            [Line::Ip(
                "route replace 0.0.0.0/0 via inet6 fe80::1 dev ul9 proto static".into()
            )]
        );
    }

    #[test]
    fn a_flood_list_is_appended_to_and_a_machine_is_replaced() {
        let entry = |mac| FdbEntry {
            dev: "vx5".into(),
            mac,
            to: FdbTo::Remote("10.9.0.2".parse().unwrap()),
        };
        assert_eq!(
            render_fdb_add(&entry(FLOOD)),
            "fdb append 00:00:00:00:00:00 dev vx5 dst 10.9.0.2 self permanent"
        );
        assert_eq!(
            render_fdb_add(&entry(MAC)),
            "fdb replace 02:dc:00:00:00:05 dev vx5 dst 10.9.0.2 self permanent"
        );
    }
}
