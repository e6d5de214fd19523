//! Hosts on one underlay, each with the network vertical, and the world outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use dc_agent_core::network::{Place, Seen, plan, status};
use dc_agent_core::wanted::{
    EdgeView, Folders, HostAddresses, HostView, Releases, Status, WantedOwned,
};
use dc_host::conntrack::RealConntrack;
use dc_host::dhcp::RealDhcp;
use dc_host::enter::Enter;
use dc_host::firewall::RealFirewall;
use dc_host::links::RealLinks;
use dc_host::{Fakes, Tools};
use dc_types::HostName;
use dc_types::plan::{Item, ItemKey, Items, NetworkRole, Peer, PeerRole};
use dc_types::report::{Accelerator, Role};

use crate::desk::{Department, Guest};
use crate::holder::Holder;

/// The address of the outside's only machine, and of the edge there.
pub const OUTSIDE: &str = "203.0.113.1";
pub const OUTSIDE_V6: &str = "2001:db8::1";
const EDGE: &str = "203.0.113.2/24";
const EDGE_V6: &str = "2001:db8::2/64";

/// The family of the network that joins the hosts.
#[derive(Clone, Copy)]
pub enum Underlay {
    V4,
    V6,
}

impl Underlay {
    fn vtep(self, host: usize) -> IpAddr {
        let number = u8::try_from(host).unwrap_or(0) + 1;
        match self {
            Underlay::V4 => Ipv4Addr::new(10, 250, 0, number).into(),
            Underlay::V6 => Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, number.into()).into(),
        }
    }
}

pub struct World {
    underlay: Underlay,
    pub hosts: Vec<Host>,
    pub outside: Holder,
    /// Holds the underlay; dropped last.
    _wire: Holder,
    _folder: tempfile::TempDir,
}

pub struct Host {
    pub tools: Tools,
    pub enter: Enter,
    view: Arc<HostView>,
    role: NetworkRole,
    pub items: Items,
    pub releases: Releases,
    _holder: Holder,
}

impl World {
    /// Two hosts that carry machines and, last, one that leads outside.
    pub async fn build() -> Result<Self> {
        Self::build_over(Underlay::V4).await
    }

    pub async fn build_over(underlay: Underlay) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (wire, outside) = (Holder::start()?, Holder::start()?);
        batch(
            &wire.enter(),
            &["link add name wire type bridge", "link set dev wire up"],
        )
        .await?;
        let mut hosts = Vec::new();
        for number in 1..=3u8 {
            let path = folder.path().join(format!("h{number}"));
            hosts.push(Host::build(number, underlay, &wire, path).await?);
        }
        let world = Self {
            underlay,
            hosts,
            outside,
            _wire: wire,
            _folder: folder,
        };
        world.plug_outside().await?;
        Ok(world)
    }

    async fn plug_outside(&self) -> Result<()> {
        let (outside, gateway) = (self.outside.pid(), self.hosts[2]._holder.pid());
        batch(
            &self.outside.enter(),
            &[
                &format!(
                    "link add name gw netns {outside} type veth peer name ext netns {gateway}"
                ),
                &format!("address add {OUTSIDE}/24 dev gw"),
                &format!("address add {OUTSIDE_V6}/64 dev gw nodad"),
                "link set dev gw up",
                "route add 10.0.0.0/8 via 203.0.113.2",
                "route add fd00::/16 via 2001:db8::2 dev gw",
            ],
        )
        .await
    }

    pub fn vtep(&self, host: usize) -> IpAddr {
        self.underlay.vtep(host)
    }

    fn name(host: usize) -> HostName {
        HostName::new(format!("h{}", host + 1)).expect("it is a label")
    }

    /// Tells every host of these departments and guests; what was told before is replaced.
    pub fn tell(&mut self, departments: &[Department], guests: &[Guest]) {
        let peers: Vec<Peer> = (0..self.hosts.len())
            .map(|host| Peer {
                host: Self::name(host),
                vtep: self.underlay.vtep(host),
                role: match self.hosts[host].role {
                    NetworkRole::Compute => PeerRole::Compute,
                    NetworkRole::Gateway => PeerRole::Gateway,
                },
            })
            .collect();
        let underlay = self.underlay;
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.items.clear();
            let others: Vec<Peer> = peers
                .iter()
                .filter(|peer| peer.host != Self::name(number))
                .cloned()
                .collect();
            for department in departments {
                host.put(department.network(host.role, others.clone()));
                for guest in guests.iter().filter(|g| g.department == department.name) {
                    let home = (Self::name(guest.host), underlay.vtep(guest.host));
                    host.put(guest.endpoint(department, home.0, home.1));
                }
            }
        }
    }

    /// Carries the plan of every host out.
    pub async fn settle(&self) -> Result<()> {
        for host in &self.hosts {
            let steps = host.settle().await;
            steps.with_context(|| format!("host {}", host.view.name))?;
        }
        Ok(())
    }
}

impl Host {
    async fn build(number: u8, underlay: Underlay, wire: &Holder, folder: PathBuf) -> Result<Self> {
        let holder = Holder::start()?;
        let enter = holder.enter();
        let index = usize::from(number) - 1;
        let overlay = underlay.vtep(index);
        batch(
            &wire.enter(),
            &[
                &format!(
                    "link add name p{number} netns {} type veth peer name overlay netns {}",
                    wire.pid(),
                    holder.pid()
                ),
                &format!("link set dev p{number} master wire"),
                &format!("link set dev p{number} up"),
            ],
        )
        .await?;
        batch(
            &enter,
            &[
                "link set dev overlay up",
                &match overlay {
                    IpAddr::V4(v4) => format!("address add {v4}/24 dev overlay"),
                    IpAddr::V6(v6) => format!("address add {v6}/64 dev overlay nodad"),
                },
            ],
        )
        .await?;
        let role = if number == 3 {
            NetworkRole::Gateway
        } else {
            NetworkRole::Compute
        };
        let view = Arc::new(host_view(index, role, overlay, folder.clone())?);
        let fakes = Fakes::new(&view);
        let tools = Tools {
            links: Arc::new(RealLinks::new(enter.clone())),
            firewall: Arc::new(RealFirewall::new(enter.clone())),
            dhcp: Arc::new(RealDhcp::new(enter.clone(), folder.join("dhcp"))),
            conntrack: Arc::new(RealConntrack::new(enter.clone())),
            ..fakes.tools()
        };
        Ok(Self {
            tools,
            enter,
            view,
            role,
            items: Items::new(),
            releases: Releases::new(),
            _holder: holder,
        })
    }

    pub fn put(&mut self, item: Item) {
        self.items.insert(item.key, item);
    }

    pub fn wanted(&self) -> WantedOwned {
        WantedOwned {
            items: Arc::new(self.items.clone()),
            releases: Arc::new(self.releases.clone()),
            host: self.view.clone(),
            ready: Arc::new(BTreeSet::new()),
        }
    }

    pub async fn read(&self) -> Result<Seen> {
        Ok(dc_agent::network::read(&self.tools, &self.wanted()).await?)
    }

    /// Carries the plan out; the one after it must be empty. Returns what was done.
    pub async fn settle(&self) -> Result<Vec<String>> {
        let wanted = self.wanted();
        let steps = plan(&wanted.as_wanted(), &self.read().await?);
        for step in &steps {
            let done = dc_agent::network::apply(&self.tools, step).await;
            done.map_err(|t| anyhow!("{}: {}\n{step:#?}", t.reason, t.message))?;
        }
        let rest = plan(&wanted.as_wanted(), &self.read().await?);
        ensure!(rest.is_empty(), "after the plan there is still {rest:#?}");
        Ok(steps.iter().map(|step| format!("{:?}", step.act)).collect())
    }

    pub async fn status(&self) -> Result<Status> {
        let wanted = self.wanted();
        let seen = self.read().await?;
        let (troubles, busy) = (BTreeMap::new(), BTreeSet::<ItemKey>::new());
        Ok(status(&wanted.as_wanted(), &seen, &troubles, &busy))
    }
}

/// Lines for `ip`, in a host's own namespace.
pub async fn batch(enter: &Enter, lines: &[&str]) -> Result<()> {
    let text = lines.join("\n") + "\n";
    let run = enter.run(&Place::Host, "ip", &["-batch", "-"], Some(&text));
    run.await.with_context(|| text.clone())?;
    Ok(())
}

fn host_view(
    index: usize,
    role: NetworkRole,
    overlay: IpAddr,
    folder: PathBuf,
) -> Result<HostView> {
    let edge = EdgeView {
        interface: "ext".into(),
        ipv4: Some(EDGE.parse()?),
        ipv6: Some(EDGE_V6.parse()?),
        gateway_v4: Some(OUTSIDE.parse()?),
        gateway_v6: Some(OUTSIDE_V6.parse()?),
    };
    Ok(HostView {
        name: World::name(index),
        roles: vec![match role {
            NetworkRole::Compute => Role::Compute,
            NetworkRole::Gateway => Role::Gateway,
        }],
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: overlay,
            storage: overlay,
            overlay,
        },
        portal: None,
        pools: BTreeMap::new(),
        edge: (role == NetworkRole::Gateway).then_some(edge),
        folders: Folders {
            images: folder.join("images"),
            seeds: folder.join("seeds"),
            consoles: folder.join("consoles"),
            state: folder,
        },
        boot_id: "boot".into(),
    })
}
