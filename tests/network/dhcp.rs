//! A guest asks for its addresses and gets its own, from its own host, also after the agent was
//! started anew.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use dc_agent_core::network::Place;
use dc_agent_core::network::firewall::guard::link_local;

use crate::desk::{DMZ, Department, Guest};
use crate::guests::plug;
use crate::world::{Host, World};

fn guest(name: &'static str, last: u8, host: usize) -> Guest {
    Guest {
        department: "so-a",
        name,
        tier: DMZ,
        last,
        host,
        published: Vec::new(),
    }
}

/// What busybox's client is told, as its script prints it.
async fn lease(host: &Host, guest: &Guest) -> Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(
        file.path(),
        "#!/bin/sh\n[ \"$1\" = bound ] && echo \"$ip/$mask via $router mtu $mtu dns $dns\"\nexit 0\n",
    )?;
    let path = file.into_temp_path();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let path = path.to_str().context("the path is not text")?;
    let arguments = [
        "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "3", "-T", "1", "-O", "mtu", "-s", path,
    ];
    let place = guest.place();
    let up = ["link", "set", "dev", "eth0", "up"];
    host.enter.run(&place, "ip", &up, None).await?;
    let told = host.enter.run(&place, "busybox", &arguments, None).await?;
    Ok(String::from_utf8_lossy(&told).trim().to_owned())
}

#[tokio::test]
async fn a_guest_gets_its_own_address_from_its_own_host() -> Result<()> {
    let mut world = World::build().await?;
    let department = Department {
        name: "so-a",
        number: 5000,
        flows: Vec::new(),
    };
    let guests = [guest("one", 10, 0), guest("two", 11, 1)];
    world.tell(std::slice::from_ref(&department), &guests);
    world.settle().await?;
    for (number, guest) in guests.iter().enumerate() {
        let host = &world.hosts[number];
        plug(&host.enter, &department, guest).await?;
        let told = lease(host, guest).await?;
        let expected = format!("{}/24 via 10.1.1.1 mtu 1450 dns 10.1.0.53", guest.v4());
        assert_eq!(told, expected);
    }
    // A card that the plan does not know gets nothing: its port is closed.
    let stranger = guest("three", 12, 0);
    let host = &world.hosts[0];
    plug(&host.enter, &department, &stranger).await?;
    assert!(lease(host, &stranger).await.is_err());
    // It becomes known: the server is replaced, and answers.
    let more = [guests[0].clone(), guests[1].clone(), stranger.clone()];
    world.tell(std::slice::from_ref(&department), &more);
    world.settle().await?;
    let told = lease(&world.hosts[0], &stranger).await?;
    assert!(told.starts_with("10.1.1.12/24"), "{told}");
    for (number, guest) in [(0, &guests[0]), (1, &guests[1]), (0, &stranger)] {
        let offered = offer(&world.hosts[number], guest).await?;
        assert!(
            offered.contains(&guest.v6()),
            "{} was offered {offered:?}",
            guest.name
        );
    }
    router(&world.hosts[0], &stranger).await
}

/// The advertised router is the default route, and no address is made up from its prefix.
async fn router(host: &Host, guest: &Guest) -> Result<()> {
    let place = guest.place();
    let wait = async {
        loop {
            let routes = ["-6", "route", "show", "default"];
            let routes = host.enter.run(&place, "ip", &routes, None).await?;
            if !routes.is_empty() {
                return Ok::<_, anyhow::Error>(String::from_utf8_lossy(&routes).into_owned());
            }
            tokio::task::yield_now().await;
        }
    };
    let routes = tokio::time::timeout(std::time::Duration::from_secs(60), wait).await??;
    assert!(routes.contains("proto ra"), "{routes}");
    let addresses = ["-6", "address", "show", "dev", "eth0", "scope", "global"];
    let addresses = host
        .enter
        .run(&Place::Netns(guest.netns()), "ip", &addresses, None)
        .await?;
    assert!(
        addresses.is_empty(),
        "{}",
        String::from_utf8_lossy(&addresses)
    );
    Ok(())
}

/// A DHCPv6 option (RFC 8415, section 21).
fn option(code: u16, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("options of a test are short");
    [&code.to_be_bytes()[..], &length.to_be_bytes(), body].concat()
}

/// The addresses in the answer to a guest that solicits one: Debian's busybox has no client.
async fn offer(host: &Host, guest: &Guest) -> Result<Vec<Ipv6Addr>> {
    const SOLICIT: u8 = 1;
    let identity = [&[0, 3, 0, 1][..], &guest.mac().0].concat();
    let message = [
        vec![SOLICIT, 1, 2, 3],
        option(1, &identity),
        option(3, &[0; 12]),
        option(8, &[0, 0]),
    ]
    .concat();
    let from = link_local(guest.mac());
    let ask = move || -> io::Result<Vec<u8>> {
        let card = nix::net::if_::if_nametoindex("eth0")?;
        let socket = UdpSocket::bind(SocketAddrV6::new(from, 546, 0, card))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let servers = SocketAddrV6::new("ff02::1:2".parse().expect("it is one"), 547, 0, card);
        let mut answer = vec![0; 1500];
        let mut last = io::Error::other("never asked");
        for _ in 0..5 {
            socket.send_to(&message, servers)?;
            match socket.recv(&mut answer) {
                Ok(size) => {
                    answer.truncate(size);
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let answer = host.enter.inside(&guest.place(), ask).await?;
    let answer = answer.with_context(|| format!("{} was offered nothing", guest.name))?;
    // Addresses stand in options of code 5, of 24 bytes, inside the one that was asked for.
    let addresses = answer.windows(20).filter(|w| w[..4] == [0, 5, 0, 24]);
    let parse = |w: &[u8]| <[u8; 16]>::try_from(&w[4..20]).map(Ipv6Addr::from);
    Ok(addresses.map(parse).collect::<Result<_, _>>()?)
}
