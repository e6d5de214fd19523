//! What is taken away is closed at once, for connections that live as well.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dc_agent_core::network::Place;
use dc_host::enter::Enter;

use crate::desk::{DMZ, Department, Guest, INTERNAL, tcp};
use crate::guests::boot;
use crate::world::World;

/// Twice TCP's first retransmission.
const SILENCE: Duration = Duration::from_millis(2500);

/// A connection between two guests, both of its ends.
struct Live {
    client: TcpStream,
    server: TcpStream,
}

impl Live {
    async fn open(
        client: (&Enter, Place),
        server: (&Enter, Place),
        to: SocketAddr,
    ) -> Result<Self> {
        let listener = server
            .0
            .inside(&server.1, move || TcpListener::bind(to))
            .await??;
        let connect = move || TcpStream::connect_timeout(&to, SILENCE * 4);
        let client = client.0.inside(&client.1, connect).await??;
        let (server, _) = listener.accept()?;
        for end in [&client, &server] {
            end.set_read_timeout(Some(SILENCE))?;
        }
        let mut live = Self { client, server };
        ensure!(live.talks()?, "a fresh connection carries nothing");
        Ok(live)
    }

    /// Whether a word said at either end is heard at the other.
    fn talks(&mut self) -> Result<bool> {
        Ok(say(&mut self.client, &mut self.server)? || say(&mut self.server, &mut self.client)?)
    }
}

fn say(from: &mut TcpStream, to: &mut TcpStream) -> Result<bool> {
    from.write_all(b"w")?;
    let mut word = [0; 1];
    match to.read(&mut word) {
        Ok(size) => Ok(size == 1),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(false)
        }
        Err(error) => Err(error).context("the connection broke"),
    }
}

fn department(ports: &[u16]) -> Department {
    let mut a = Department {
        name: "so-a",
        number: 5000,
        flows: Vec::new(),
    };
    let services = ports.iter().map(|port| tcp(*port, *port)).collect();
    a.flows = vec![
        a.flow(7, Some(DMZ), INTERNAL, vec![tcp(8000, 8000)]),
        a.flow(8, Some(DMZ), INTERNAL, services),
        a.flow(9, None, DMZ, vec![tcp(80, 80)]),
    ];
    a
}

fn guest(name: &'static str, tier: u8, last: u8, host: usize) -> Guest {
    Guest {
        department: "so-a",
        name,
        tier,
        last,
        host,
        published: vec![tcp(80, 80)],
    }
}

async fn between(
    world: &World,
    from: &Guest,
    to: &Guest,
    to_ip: IpAddr,
    port: u16,
) -> Result<Live> {
    Live::open(
        (&world.hosts[from.host].enter, from.place()),
        (&world.hosts[to.host].enter, to.place()),
        SocketAddr::new(to_ip, port),
    )
    .await
    .with_context(|| format!("{} to {to_ip} port {port}", from.name))
}

#[tokio::test]
async fn a_revoked_flow_is_cut_and_the_others_live_on() -> Result<()> {
    let mut world = World::build().await?;
    let guests = [guest("web", DMZ, 10, 0), guest("app", INTERNAL, 10, 1)];
    let [web, app] = &guests;
    let full = department(&[9000]);
    world.tell(std::slice::from_ref(&full), &guests);
    world.settle().await?;
    for guest in &guests {
        boot(&world, &full, guest).await?;
    }
    let mut kept = between(&world, web, app, app.v4().into(), 8000).await?;
    let mut cut4 = between(&world, web, app, app.v4().into(), 9000).await?;
    let mut cut6 = between(&world, web, app, app.v6().into(), 9000).await?;
    let outside = SocketAddr::new(web.v4().into(), 80);
    let mut published = Live::open(
        (&world.outside.enter(), Place::Host),
        (&world.hosts[0].enter, web.place()),
        outside,
    )
    .await?;

    // Flow 8 now names another port.
    world.tell(&[department(&[9001])], &guests);
    world.settle().await?;
    assert!(kept.talks()?, "a flow that was not touched was cut");
    assert!(published.talks()?, "the outside was cut off");
    assert!(!cut4.talks()?, "a revoked flow carries on");
    assert!(!cut6.talks()?, "a revoked flow carries on over IPv6");
    let mut new = between(&world, web, app, app.v4().into(), 9001).await?;
    assert!(new.talks()?);

    // The machine publishes nothing any more.
    let mut hidden = guests.clone();
    hidden[0].published.clear();
    world.tell(&[department(&[9001])], &hidden);
    world.settle().await?;
    assert!(!published.talks()?, "what is not published carries on");
    Ok(())
}

#[tokio::test]
async fn a_removed_endpoint_is_cut_before_its_address_is_given_to_another() -> Result<()> {
    let mut world = World::build().await?;
    let full = department(&[9000]);
    let guests = [guest("web", DMZ, 10, 0), guest("app", INTERNAL, 10, 1)];
    let [web, app] = &guests;
    world.tell(std::slice::from_ref(&full), &guests);
    world.settle().await?;
    for guest in &guests {
        boot(&world, &full, guest).await?;
    }
    let mut live = between(&world, web, app, app.v4().into(), 9000).await?;
    world.tell(std::slice::from_ref(&full), &guests[..1]);
    world.settle().await?;
    assert!(!live.talks()?, "a removed endpoint is still reached");
    let place = Place::Netns("dep-5000".into());
    for host in &world.hosts {
        let listed = host.enter.run(&place, "conntrack", &["-L"], None).await?;
        let listed = String::from_utf8_lossy(&listed);
        let address = Ipv4Addr::new(10, 1, INTERNAL, 10).to_string();
        assert!(!listed.contains(&address), "{listed}");
    }
    Ok(())
}
