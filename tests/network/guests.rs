//! Guests as namespaces of their host, on a pair of which one end is named as their tap.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};
use dc_agent_core::names;
use dc_agent_core::network::Place;
use dc_host::enter::Enter;
use tokio::io::AsyncWriteExt;

use crate::desk::{Department, Guest, address_v4, address_v6};
use crate::world::{World, batch};

/// A connection that is not let through is noticed by silence. An allowed one takes a few
/// milliseconds, a lost first packet is sent again after one second.
const SILENCE: Duration = Duration::from_millis(2500);

impl Guest {
    pub fn netns(&self) -> String {
        format!("guest-{}-{}", self.department, self.name)
    }

    pub fn place(&self) -> Place {
        Place::Netns(self.netns())
    }

    pub fn tap(&self) -> String {
        names::tap_name(self.vm(), 0)
    }
}

/// Starts a guest: its card plugged, its addresses set by hand.
pub async fn boot(world: &World, department: &Department, guest: &Guest) -> Result<()> {
    let enter = &world.hosts[guest.host].enter;
    plug(enter, department, guest).await?;
    let (netns, tier) = (guest.netns(), guest.tier);
    let lines = [
        format!("address add {}/24 dev eth0", guest.v4()),
        format!("address add {}/64 dev eth0 nodad", guest.v6()),
        "link set dev eth0 up".to_owned(),
        format!("route add default via {}", address_v4(tier, 1)),
        format!("route add default via {} dev eth0", address_v6(tier, 1)),
    ];
    let text = lines.join("\n") + "\n";
    let place = Place::Netns(netns);
    enter
        .run(&place, "ip", &["-batch", "-"], Some(&text))
        .await?;
    Ok(())
}

/// The card alone, down.
pub async fn plug(enter: &Enter, department: &Department, guest: &Guest) -> Result<()> {
    let (netns, tap) = (guest.netns(), guest.tap());
    let inside = names::netns_name(department.transit());
    let bridge = names::bridge_name(department.vni(guest.tier));
    batch(
        enter,
        &[
            &format!("netns add {netns}"),
            &format!(
                "link add name {tap} netns {inside} mtu 1450 type veth peer name eth0 address {} \
                 mtu 1450 netns {netns}",
                guest.mac()
            ),
        ],
    )
    .await?;
    let lines = format!("link set dev {tap} master {bridge}\nlink set dev {tap} up\n");
    let place = Place::Netns(inside);
    enter
        .run(&place, "ip", &["-batch", "-"], Some(&lines))
        .await?;
    Ok(())
}

/// A server that says `name` to whoever connects, on each of these ports, of both families.
pub async fn serve(enter: &Enter, place: &Place, name: String, ports: &[u16]) -> Result<()> {
    for port in ports {
        let address = format!("[::]:{port}");
        let listen = move || -> io::Result<TcpListener> {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = enter
            .inside(place, listen)
            .await?
            .context("cannot listen")?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let name = name.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // The client may be gone already.
                let _ = stream.write_all(name.as_bytes()).await;
            }
        });
    }
    Ok(())
}

/// What the server at `to` says, or `None` when it cannot be reached from `place`.
pub async fn ask(enter: &Enter, place: &Place, to: IpAddr, port: u16) -> Result<Option<String>> {
    let asked = move || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, port), SILENCE)?;
        stream.set_read_timeout(Some(SILENCE))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    Ok(enter.inside(place, asked).await?.ok())
}
