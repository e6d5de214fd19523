//! What `ip -json` and `bridge -json` print, as the state of a namespace.
//!
//! Left out: learned and automatic entries, routes of other protocols, links' other properties.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dc_agent_core::network::state::{
    Admin, FdbEntry, FdbTo, Link, LinkKind, Neighbour, Port, Route, Switch, TapUse,
};
use dc_types::{Mac, Vni};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::LinksError;

/// An empty answer stands for an empty list.
pub(super) fn json<T: DeserializeOwned>(
    tool: &'static str,
    text: &[u8],
) -> Result<Vec<T>, LinksError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    serde_json::from_slice(text).map_err(|error| LinksError::Unreadable {
        tool,
        message: error.to_string(),
    })
}

#[derive(Deserialize)]
pub(super) struct IpLink {
    ifname: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    mtu: Option<u32>,
    address: Option<String>,
    master: Option<String>,
    linkinfo: Option<LinkInfo>,
    #[serde(default)]
    addr_info: Vec<AddrInfo>,
}

#[derive(Deserialize, Default)]
struct LinkInfo {
    #[serde(default)]
    info_kind: String,
    info_data: Option<InfoData>,
    info_slave_kind: Option<String>,
    info_slave_data: Option<SlaveData>,
}

#[derive(Deserialize, Default)]
struct InfoData {
    /// A number for VXLAN; other kinds use the name for other things.
    id: Option<serde_json::Value>,
    local: Option<serde_json::Value>,
    local6: Option<serde_json::Value>,
    port: Option<serde_json::Value>,
    #[serde(rename = "type")]
    type_: Option<serde_json::Value>,
}

#[derive(Deserialize, Default)]
struct SlaveData {
    learning: Option<bool>,
    flood: Option<bool>,
    neigh_suppress: Option<bool>,
}

#[derive(Deserialize)]
struct AddrInfo {
    local: Option<IpAddr>,
    prefixlen: Option<u8>,
}

impl IpLink {
    fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Its name and what we look at.
    pub(super) fn link(self) -> Option<(String, Link)> {
        let up = if self.is("UP") {
            Admin::Up
        } else {
            Admin::Down
        };
        let in_use = if self.is("UP") && !self.is("NO-CARRIER") {
            TapUse::Open
        } else {
            TapUse::Idle
        };
        let info = self.linkinfo.unwrap_or_default();
        let port = info.port();
        let net = |a: &AddrInfo| IpNet::new(a.local?, a.prefixlen?).ok();
        let link = Link {
            kind: info.kind(in_use),
            mac: self.address.and_then(|text| text.parse().ok()),
            mtu: self.mtu.unwrap_or_default(),
            up,
            master: self.master,
            port,
            addresses: self.addr_info.iter().filter_map(net).collect(),
        };
        Some((self.ifname?, link))
    }
}

impl LinkInfo {
    fn port(&self) -> Option<Port> {
        if self.info_slave_kind.as_deref() != Some("bridge") {
            return None;
        }
        let data = self.info_slave_data.as_ref()?;
        Some(Port {
            learning: Switch::from(data.learning?),
            flood: Switch::from(data.flood?),
            neigh_suppress: Switch::from(data.neigh_suppress?),
        })
    }

    fn kind(&self, in_use: TapUse) -> LinkKind {
        let data = self.info_data.as_ref();
        match self.info_kind.as_str() {
            "bridge" => LinkKind::Bridge,
            "veth" => LinkKind::Veth,
            "tun" if data.is_some_and(InfoData::is_tap) => LinkKind::Tap(in_use),
            "vxlan" => data
                .and_then(InfoData::vxlan)
                .unwrap_or_else(|| LinkKind::Other("vxlan".into())),
            other => LinkKind::Other(other.to_owned()),
        }
    }
}

impl InfoData {
    fn is_tap(&self) -> bool {
        self.type_.as_ref().and_then(|t| t.as_str()) == Some("tap")
    }

    fn vxlan(&self) -> Option<LinkKind> {
        let local = self.local.as_ref().or(self.local6.as_ref())?;
        let vni = u32::try_from(self.id.as_ref()?.as_u64()?).ok()?;
        Some(LinkKind::Vxlan {
            vni: Vni(vni),
            local: local.as_str()?.parse().ok()?,
            port: u16::try_from(self.port.as_ref()?.as_u64()?).ok()?,
        })
    }
}

pub(super) fn links(list: Vec<IpLink>) -> BTreeMap<String, Link> {
    list.into_iter().filter_map(IpLink::link).collect()
}

#[derive(Deserialize)]
pub(super) struct IpRoute {
    dst: Option<String>,
    gateway: Option<IpAddr>,
    via: Option<Via>,
    dev: Option<String>,
}

#[derive(Deserialize)]
struct Via {
    host: Option<IpAddr>,
}

/// Routes of one family; those without a next hop are none of ours.
pub(super) fn routes(list: Vec<IpRoute>, default: IpNet) -> BTreeSet<Route> {
    list.into_iter()
        .filter_map(|route| {
            let via = route.gateway.or(route.via.and_then(|via| via.host))?;
            let to = prefix(&route.dst?, default)?;
            let dev = route.dev?;
            Some(Route { to, via, dev })
        })
        .collect()
}

/// `default`, a prefix, or an address alone.
fn prefix(text: &str, default: IpNet) -> Option<IpNet> {
    if text == "default" {
        return Some(default);
    }
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

pub(super) fn default_v4() -> IpNet {
    IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0).expect("0 is a length of an IPv4 prefix")
}

pub(super) fn default_v6() -> IpNet {
    IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0).expect("0 is a length of an IPv6 prefix")
}

#[derive(Deserialize)]
pub(super) struct IpNeighbour {
    dst: Option<IpAddr>,
    dev: Option<String>,
    lladdr: Option<String>,
}

pub(super) fn neighbours(list: Vec<IpNeighbour>) -> BTreeSet<Neighbour> {
    list.into_iter()
        .filter_map(|n| {
            Some(Neighbour {
                dev: n.dev?,
                ip: n.dst?,
                mac: n.lladdr?.parse().ok()?,
            })
        })
        .collect()
}

#[derive(Deserialize)]
pub(super) struct BridgeFdb {
    mac: String,
    ifname: Option<String>,
    dst: Option<String>,
    master: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    state: String,
}

/// Entries that the plan made: in a tunnel those with a destination, in a bridge static ones.
pub(super) fn fdb(list: Vec<BridgeFdb>) -> BTreeSet<FdbEntry> {
    list.into_iter()
        .filter_map(|entry| {
            let mac: Mac = entry.mac.parse().ok()?;
            let dev = entry.ifname?;
            let to = if entry.flags.iter().any(|flag| flag == "self") {
                FdbTo::Remote(entry.dst?.parse().ok()?)
            } else if entry.master.is_some() && entry.state == "static" {
                FdbTo::Port
            } else {
                return None;
            };
            Some(FdbEntry { dev, mac, to })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by iproute2 6.1.
    const TUNNEL: &str = r#"[{},{"ifindex":3,"ifname":"vx5","flags":["BROADCAST","UP","LOWER_UP"],
        "mtu":1450,"master":"br5","address":"ca:0f:bd:3a:37:42","linkinfo":{"info_kind":"vxlan",
        "info_data":{"id":5,"local":"10.9.0.1","port":4789,"learning":false},
        "info_slave_kind":"bridge","info_slave_data":{"id":"0x8001","learning":false,
        "flood":false,"neigh_suppress":true}},"addr_info":[{"family":"inet6",
        "local":"fe80::c80f:bdff:fe3a:3742","prefixlen":64}]},
        {"ifname":"br5","flags":[],"mtu":1450,"address":"02:dc:00:00:00:05","linkinfo":
        {"info_kind":"bridge","info_data":{"bridge_id":"8000.2:dc:0:0:0:5"}}},
        {"ifname":"t1","flags":["NO-CARRIER","UP"],"mtu":1500,"linkinfo":{"info_kind":"tun",
        "info_data":{"type":"tap","persist":true}}}]"#;

    #[test]
    fn links_are_read_with_their_kind_and_their_port() {
        let links = links(json("ip", TUNNEL.as_bytes()).unwrap());
        let tunnel = &links["vx5"];
        assert_eq!(
            tunnel.kind,
            LinkKind::Vxlan {
                vni: Vni(5),
                local: "10.9.0.1".parse().unwrap(),
                port: 4789
            }
        );
        assert_eq!(tunnel.port, Some(Port::TUNNEL));
        assert_eq!(tunnel.master.as_deref(), Some("br5"));
        assert_eq!(links["br5"].kind, LinkKind::Bridge);
        assert_eq!(links["br5"].up, Admin::Down);
        assert_eq!(links["t1"].kind, LinkKind::Tap(TapUse::Idle));
    }

    #[test]
    fn routes_are_read_whatever_the_family_of_their_next_hop() {
        let text = r#"[{"dst":"default","via":{"family":"inet6","host":"fe80::1"},"dev":"ul9"},
            {"dst":"10.2.2.2","gateway":"10.0.0.1","dev":"a"},{"dst":"10.0.0.0/8","dev":"b"}]"#;
        let routes = routes(json("ip", text.as_bytes()).unwrap(), default_v4());
        let texts: Vec<String> = routes
            .iter()
            .map(|r| format!("{} {}", r.to, r.via))
            .collect();
        assert_eq!(texts, ["0.0.0.0/0 fe80::1", "10.2.2.2/32 10.0.0.1"]);
    }

    #[test]
    fn only_entries_of_the_plan_are_read_from_a_bridge() {
        let text = r#"[{"mac":"33:33:00:00:00:01","ifname":"br5","flags":["self"],"state":"permanent"},
            {"mac":"02:dc:00:00:00:05","ifname":"br5","flags":[],"master":"br5","state":"permanent"},
            {"mac":"52:54:00:00:00:01","ifname":"vx5","flags":[],"master":"br5","state":"static"},
            {"mac":"52:54:00:00:00:09","ifname":"t1","flags":[],"master":"br5","state":""},
            {"mac":"00:00:00:00:00:00","ifname":"vx5","dst":"10.9.0.2","flags":["self"],"state":"permanent"}]"#;
        let entries = fdb(json("bridge", text.as_bytes()).unwrap());
        let to: Vec<FdbTo> = entries.iter().map(|e| e.to).collect();
        assert_eq!(
            to,
            [FdbTo::Remote("10.9.0.2".parse().unwrap()), FdbTo::Port]
        );
    }

    #[test]
    fn an_empty_answer_is_an_empty_list() {
        assert!(json::<IpRoute>("ip", b"\n").unwrap().is_empty());
        assert!(json::<IpRoute>("ip", b"{").is_err());
    }
}
