//! The port guard: forged frames from a card, and from a stranger on the overlay network.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use anyhow::Result;
use dc_agent_core::names;
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::guard::link_local;
use dc_agent_core::network::state::TapUse;
use dc_types::{Mac, PortRange, Protocol, Service};

use crate::desk::{DMZ, Department, Guest, address_v4, address_v6};
use crate::frames::{BROADCAST, advertisement, arp, ethernet, icmp6, udp4, udp6};
use crate::tap::{Tap, holds};
use crate::world::{World, batch};

const IP4: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const PORTS: (u16, u16) = (7000, 7000);

fn department() -> Department {
    let mut a = Department {
        name: "so-a",
        number: 5000,
        flows: Vec::new(),
    };
    let any = Service {
        name: "any-udp".into(),
        protocol: Protocol::Udp,
        ports: PortRange {
            first: 1,
            last: 65535,
        },
    };
    a.flows = vec![a.flow(1, Some(DMZ), DMZ, vec![any])];
    a
}

/// A forger and a listener on one host, a listener and a bystander on another.
fn guests() -> [Guest; 4] {
    [
        ("forger", 10, 0),
        ("near", 11, 0),
        ("far", 12, 1),
        ("other", 13, 1),
    ]
    .map(|(name, last, host)| Guest {
        department: "so-a",
        name,
        tier: DMZ,
        last,
        host,
        published: Vec::new(),
    })
}

/// As the machine vertical does it: made, opened, plugged.
async fn start(world: &World, department: &Department, guest: &Guest) -> Result<Tap> {
    let host = &world.hosts[guest.host];
    let netns = names::netns_name(department.transit());
    let bridge = names::bridge_name(department.vni(guest.tier));
    host.tools.links.make_tap(&guest.tap(), 1450).await?;
    let tap = Tap::open(&host.enter, &guest.tap()).await?;
    host.tools
        .links
        .plug_tap(&guest.tap(), &netns, &bridge)
        .await?;
    let seen = host.tools.links.taps().await?;
    let seen = &seen[&guest.tap()];
    assert_eq!(seen.place, Place::Netns(netns));
    assert_eq!(seen.bridge, Some(bridge));
    assert_eq!(seen.in_use, TapUse::Open);
    Ok(tap)
}

/// Frames of `forger` that must not reach `to`; `said` is put where a listener finds it.
fn forged(forger: &Guest, other: &Guest, to: &Guest, said: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (mac, his, to_mac) = (forger.mac(), other.mac(), to.mac());
    let note = said.as_bytes();
    let good4 = udp4(forger.v4(), to.v4(), PORTS, note);
    let with = |mut frame: Vec<u8>| {
        frame.extend(note);
        frame
    };
    let own = link_local(mac);
    let all_nodes = "ff02::1".parse().expect("it is an address");
    let all_macs = Mac([0x33, 0x33, 0, 0, 0, 1]);
    let vlan = [&[0, 5, 8, 0], &good4[..]].concat();
    vec![
        ("another's MAC", ethernet(his, to_mac, IP4, &good4)),
        (
            "another's IPv4 address",
            ethernet(mac, to_mac, IP4, &udp4(other.v4(), to.v4(), PORTS, note)),
        ),
        (
            "another's IPv6 address",
            ethernet(mac, to_mac, IP6, &udp6(other.v6(), to.v6(), PORTS, note)),
        ),
        (
            "another's link-local address",
            ethernet(
                mac,
                to_mac,
                IP6,
                &udp6(link_local(his), to.v6(), PORTS, note),
            ),
        ),
        (
            "ARP for another's address",
            with(ethernet(
                mac,
                BROADCAST,
                ARP,
                &arp(mac, other.v4(), to.v4()),
            )),
        ),
        (
            "ARP for the gateway",
            with(ethernet(
                mac,
                BROADCAST,
                ARP,
                &arp(mac, address_v4(DMZ, 1), to.v4()),
            )),
        ),
        (
            "ARP with another's MAC",
            with(ethernet(
                mac,
                BROADCAST,
                ARP,
                &arp(his, forger.v4(), to.v4()),
            )),
        ),
        (
            "an answer of a DHCP server",
            ethernet(
                mac,
                to_mac,
                IP4,
                &udp4(forger.v4(), to.v4(), (67, 68), note),
            ),
        ),
        (
            "an answer of a DHCPv6 server",
            ethernet(
                mac,
                to_mac,
                IP6,
                &udp6(forger.v6(), to.v6(), (547, 546), note),
            ),
        ),
        (
            "a router advertisement",
            ethernet(
                mac,
                all_macs,
                IP6,
                &icmp6(own, all_nodes, 134, &[&[0; 12], note].concat()),
            ),
        ),
        (
            "an advertisement of another's address",
            with(ethernet(
                mac,
                to_mac,
                IP6,
                &advertisement(own, to.v6(), other.v6(), mac),
            )),
        ),
        (
            "an advertisement of the gateway",
            with(ethernet(
                mac,
                to_mac,
                IP6,
                &advertisement(own, to.v6(), address_v6(DMZ, 1), mac),
            )),
        ),
        ("LLDP", ethernet(mac, BROADCAST, 0x88cc, note)),
        ("a VLAN tag", ethernet(mac, to_mac, 0x8100, &vlan)),
    ]
}

#[tokio::test]
async fn a_card_speaks_for_nobody_else() -> Result<()> {
    let mut world = World::build().await?;
    let (department, guests) = (department(), guests());
    world.tell(std::slice::from_ref(&department), &guests);
    world.settle().await?;
    let [forger, near, far, other] = &guests;
    let sender = start(&world, &department, forger).await?;
    for listener in [near, far] {
        let tap = start(&world, &department, listener).await?;
        let forged = forged(forger, other, listener, "forged");
        for (number, (what, frame)) in forged.into_iter().enumerate() {
            let mark = format!("good-{number}");
            sender.send(&frame)?;
            // Its own frames pass, in order: what was sent before has been dropped by then.
            let good = match number % 2 {
                0 => {
                    let body = udp4(forger.v4(), listener.v4(), PORTS, mark.as_bytes());
                    ethernet(forger.mac(), listener.mac(), IP4, &body)
                }
                _ => {
                    let body = udp6(forger.v6(), listener.v6(), PORTS, mark.as_bytes());
                    ethernet(forger.mac(), listener.mac(), IP6, &body)
                }
            };
            sender.send(&good)?;
            let frames = tap.until(&mark).await?;
            let arrived = frames.iter().any(|frame| holds(frame, "forged"));
            assert!(!arrived, "{what} reached {}", listener.name);
        }
        let own = arp(forger.mac(), forger.v4(), listener.v4());
        let mut question = ethernet(forger.mac(), BROADCAST, ARP, &own);
        if listener.host == forger.host {
            question.extend(b"question");
            sender.send(&question)?;
            tap.until("question").await?;
        }
    }
    Ok(())
}

/// A stranger who can send to a host's tunnel port is heard only as one of the endpoints that the
/// plan knows elsewhere, and never as a router that asks, or as a DHCP server.
#[tokio::test]
async fn a_stranger_on_the_overlay_is_not_let_in() -> Result<()> {
    let mut world = World::build().await?;
    let (department, guests) = (department(), guests());
    world.tell(std::slice::from_ref(&department), &guests);
    world.settle().await?;
    let [known, _, far, neighbour] = &guests;
    let tap = start(&world, &department, far).await?;
    let unknown_host = Ipv4Addr::new(10, 250, 0, 77);
    let enter = &world.hosts[0].enter;
    batch(
        enter,
        &[&format!("address add {unknown_host}/24 dev overlay")],
    )
    .await?;
    let bind = |address| enter.inside(&Place::Host, move || UdpSocket::bind((address, 0)));
    let known_socket = bind(world.vtep(0)).await??;
    let unknown_socket = bind(unknown_host.into()).await??;
    let to = SocketAddr::new(world.vtep(1), 4789);
    let vni = department.vni(DMZ).0.to_be_bytes();
    let send_by = |socket: &UdpSocket, frame: &[u8]| -> Result<()> {
        let head = [8, 0, 0, 0, vni[1], vni[2], vni[3], 0];
        socket.send_to(&[&head[..], frame].concat(), to)?;
        Ok(())
    };
    let send = |frame: &[u8]| send_by(&known_socket, frame);
    // A host that carries nothing of ours is not heard at all.
    let body = udp4(known.v4(), far.v4(), PORTS, b"forged");
    send_by(
        &unknown_socket,
        &ethernet(known.mac(), far.mac(), IP4, &body),
    )?;
    let unknown = Mac([0x52, 0x54, 0, 9, 9, 9]);
    let gateway = Mac::of_gateway(department.vni(DMZ));
    let bad = udp4(known.v4(), far.v4(), PORTS, b"forged");
    let mut cases = vec![
        ("a MAC nobody has", ethernet(unknown, far.mac(), IP4, &bad)),
        // That machine is on the very host that hears it.
        (
            "a local machine's",
            ethernet(
                neighbour.mac(),
                far.mac(),
                IP4,
                &udp4(neighbour.v4(), far.v4(), PORTS, b"forged"),
            ),
        ),
    ];
    let forged = forged(known, neighbour, far, "forged");
    cases.extend(forged);
    let mut question = ethernet(
        gateway,
        far.mac(),
        ARP,
        &arp(gateway, address_v4(DMZ, 1), far.v4()),
    );
    question.extend(b"forged");
    cases.push(("ARP of the gateway", question));
    for (number, (what, frame)) in cases.into_iter().enumerate() {
        let mark = format!("good-{number}");
        send(&frame)?;
        let body = udp4(known.v4(), far.v4(), PORTS, mark.as_bytes());
        send(&ethernet(known.mac(), far.mac(), IP4, &body))?;
        let frames = tap.until(&mark).await?;
        let arrived = frames.iter().any(|frame| holds(frame, "forged"));
        assert!(!arrived, "{what} came in");
    }
    Ok(())
}
