//! Who reaches whom: every pair of guests, both families, on and across hosts, and the outside.

use std::net::IpAddr;

use anyhow::Result;
use dc_agent_core::network::Place;
use dc_types::Protocol;
use dc_types::plan::FlowEnd;
use dc_types::report::ItemState;
use futures::future::try_join_all;

use crate::desk::{DATABASE, DMZ, Department, Guest, INTERNAL, icmp, tcp};
use crate::guests::{ask, boot, serve};
use crate::world::{OUTSIDE, OUTSIDE_V6, Underlay, World};

const PORTS: [u16; 4] = [80, 5432, 8080, 9000];

fn departments() -> [Department; 2] {
    let mut a = Department {
        name: "so-a",
        number: 5000,
        flows: Vec::new(),
    };
    a.flows = vec![
        a.flow(1, None, DMZ, vec![tcp(80, 80), tcp(9000, 9100), icmp()]),
        a.flow(
            2,
            Some(DMZ),
            INTERNAL,
            vec![tcp(8080, 8090), tcp(8085, 8095)],
        ),
        a.flow(3, Some(INTERNAL), DATABASE, vec![tcp(5432, 5432)]),
        a.flow(4, Some(DMZ), DMZ, vec![tcp(9000, 9000)]),
    ];
    let mut b = Department {
        name: "so-b",
        number: 6000,
        flows: Vec::new(),
    };
    b.flows = vec![b.flow(1, Some(DMZ), DMZ, vec![tcp(80, 80)])];
    [a, b]
}

fn guests() -> Vec<Guest> {
    let guest = |department, name, tier, last, host| Guest {
        department,
        name,
        tier,
        last,
        host,
        published: Vec::new(),
    };
    let mut all = vec![
        guest("so-a", "web1", DMZ, 10, 0),
        guest("so-a", "web2", DMZ, 11, 1),
        guest("so-a", "web3", DMZ, 12, 0),
        guest("so-a", "app1", INTERNAL, 10, 1),
        guest("so-a", "app2", INTERNAL, 11, 0),
        guest("so-a", "data", DATABASE, 10, 0),
        // The same addresses as the other department's.
        guest("so-b", "web1", DMZ, 10, 0),
        guest("so-b", "web2", DMZ, 11, 1),
    ];
    // 5432 is published but no flow lets it in; 9000 is let in but not published by web1.
    all[0].published = vec![tcp(80, 80), tcp(5432, 5432), icmp()];
    all[1].published = vec![tcp(8000, 9000)];
    all
}

/// What the flows of a department say of a pair.
fn allowed(department: &Department, from: &Guest, to: &Guest, port: u16) -> bool {
    department.flows.iter().any(|flow| {
        flow.from == FlowEnd::Subnet(department.subnet(from.tier))
            && flow.to == department.subnet(to.tier)
            && flow.services.iter().any(|s| {
                s.protocol == Protocol::Tcp && (s.ports.first..=s.ports.last).contains(&port)
            })
    })
}

struct Probe {
    what: String,
    got: Option<String>,
    expected: Option<String>,
}

async fn probe(
    world: &World,
    from: &Guest,
    to: IpAddr,
    port: u16,
    expected: Option<String>,
) -> Result<Probe> {
    let got = ask(&world.hosts[from.host].enter, &from.place(), to, port).await?;
    let what = format!("{} to {to} port {port}", from.label());
    Ok(Probe {
        what,
        got,
        expected,
    })
}

async fn probe_outside(
    world: &World,
    to: IpAddr,
    port: u16,
    expected: Option<String>,
) -> Result<Probe> {
    let got = ask(&world.outside.enter(), &Place::Host, to, port).await?;
    let what = format!("outside to {to} port {port}");
    Ok(Probe {
        what,
        got,
        expected,
    })
}

fn wrong(probes: Vec<Probe>) -> Vec<String> {
    let wrong = probes.into_iter().filter(|p| p.got != p.expected);
    wrong
        .map(|p| format!("{}: got {:?}, not {:?}", p.what, p.got, p.expected))
        .collect()
}

#[tokio::test]
async fn every_pair_reaches_what_its_flows_name_and_nothing_else() -> Result<()> {
    let mut world = World::build().await?;
    let (departments, guests) = (departments(), guests());
    world.tell(&departments, &guests);
    world.settle().await?;
    for host in &world.hosts {
        for observation in host.status().await?.observations {
            assert_eq!(observation.state, ItemState::Ready, "{}", observation.key);
        }
    }
    let home = |guest: &Guest| {
        let of = |d: &&Department| d.name == guest.department;
        departments
            .iter()
            .find(of)
            .expect("each guest has a department")
            .clone()
    };
    for guest in &guests {
        boot(&world, &home(guest), guest).await?;
        let enter = &world.hosts[guest.host].enter;
        serve(enter, &guest.place(), guest.label(), &PORTS).await?;
    }
    let outside = world.outside.enter();
    serve(&outside, &Place::Host, "outside".into(), &[80]).await?;

    let mut probes = Vec::new();
    for from in &guests {
        let department = home(from);
        for to in guests.iter().filter(|to| to.department == from.department) {
            if from.label() == to.label() {
                continue;
            }
            for port in PORTS {
                let expected = allowed(&department, from, to, port).then(|| to.label());
                for address in [IpAddr::V4(to.v4()), IpAddr::V6(to.v6())] {
                    probes.push(probe(&world, from, address, port, expected.clone()));
                }
            }
        }
        // Nothing opens a connection to the outside.
        for address in [OUTSIDE, OUTSIDE_V6] {
            probes.push(probe(&world, from, address.parse()?, 80, None));
        }
    }
    let mut failures = wrong(try_join_all(probes).await?);

    let mut probes = Vec::new();
    for to in guests.iter().filter(|guest| guest.department == "so-a") {
        for port in PORTS {
            let open = matches!((to.name, port), ("web1", 80) | ("web2", 9000));
            for address in [IpAddr::V4(to.v4()), IpAddr::V6(to.v6())] {
                let expected = open.then(|| to.label());
                probes.push(probe_outside(&world, address, port, expected));
            }
        }
    }
    failures.extend(wrong(try_join_all(probes).await?));
    assert!(failures.is_empty(), "{failures:#?}");

    for (address, answers) in [
        ("10.1.1.10", true),
        ("fd00:1:1::a", true),
        ("10.1.1.11", false),
    ] {
        let arguments = ["-c", "1", "-W", "2", address];
        let ping = outside.run(&Place::Host, "ping", &arguments, None).await;
        assert_eq!(ping.is_ok(), answers, "ping of {address}: {ping:?}");
    }
    // Nothing has changed by all that traffic.
    for host in &world.hosts {
        assert_eq!(host.settle().await?, Vec::<String>::new());
    }
    Ok(())
}

#[tokio::test]
async fn hosts_may_be_joined_by_ipv6_alone() -> Result<()> {
    let mut world = World::build_over(Underlay::V6).await?;
    let (departments, guests) = (departments(), guests());
    let [a, _] = &departments;
    let here: Vec<&Guest> = guests.iter().filter(|g| g.department == "so-a").collect();
    world.tell(&departments, &guests);
    world.settle().await?;
    for guest in &here {
        boot(&world, a, guest).await?;
        let enter = &world.hosts[guest.host].enter;
        serve(enter, &guest.place(), guest.label(), &PORTS).await?;
    }
    let (web1, app1) = (here[0], here[3]);
    assert_ne!(web1.host, app1.host);
    let mut probes = Vec::new();
    for address in [IpAddr::V4(app1.v4()), IpAddr::V6(app1.v6())] {
        probes.push(probe(&world, web1, address, 8080, Some(app1.label())).await?);
        probes.push(probe(&world, web1, address, 80, None).await?);
    }
    for address in [IpAddr::V4(web1.v4()), IpAddr::V6(web1.v6())] {
        probes.push(probe_outside(&world, address, 80, Some(web1.label())).await?);
    }
    let failures = wrong(probes);
    assert!(failures.is_empty(), "{failures:#?}");
    Ok(())
}
