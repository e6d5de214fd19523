//! From nothing to a network and back, and what happens to it in between.

use anyhow::Result;
use dc_agent_core::network::{Change, Place};
use dc_types::plan::ItemKind;
use dc_types::report::ItemState;

use crate::desk::{DMZ, Department, Guest, release, tcp};
use crate::guests::{ask, boot, serve};
use crate::world::World;

fn department() -> Department {
    let mut a = Department {
        name: "so-a",
        number: 5000,
        flows: Vec::new(),
    };
    a.flows = vec![
        a.flow(1, Some(DMZ), DMZ, vec![tcp(80, 80)]),
        a.flow(2, None, DMZ, vec![tcp(80, 80)]),
    ];
    a
}

fn guests() -> [Guest; 2] {
    [("one", 10, 0), ("two", 11, 1)].map(|(name, last, host)| Guest {
        department: "so-a",
        name,
        tier: DMZ,
        last,
        host,
        published: vec![tcp(80, 80)],
    })
}

#[tokio::test]
async fn what_somebody_breaks_is_made_good_again() -> Result<()> {
    let mut world = World::build().await?;
    let (department, guests) = (department(), guests());
    world.tell(std::slice::from_ref(&department), &guests);
    world.settle().await?;
    for guest in &guests {
        boot(&world, &department, guest).await?;
    }
    let [one, two] = &guests;
    let near = &world.hosts[0];
    serve(&near.enter, &one.place(), one.label(), &[80]).await?;
    let place = Place::Netns("dep-5000".into());
    let damages: [&[&str]; 9] = [
        &["nft", "flush", "ruleset"],
        &["nft", "flush", "chain", "inet", "fw", "forward"],
        &["nft", "add", "rule", "inet", "fw", "forward", "accept"],
        &["ip", "link", "delete", "vx5001"],
        &[
            "ip",
            "link",
            "set",
            "br5001",
            "address",
            "02:00:00:00:00:01",
        ],
        &["ip", "route", "flush", "proto", "static"],
        &["ip", "neighbour", "flush", "nud", "permanent"],
        &["sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0"],
        &[
            "ip",
            "link",
            "set",
            "vx5001",
            "type",
            "bridge_slave",
            "learning",
            "on",
        ],
    ];
    for damage in damages {
        let program = match damage[0] {
            "nft" => "nft",
            "ip" => "ip",
            _ => "sysctl",
        };
        near.enter.run(&place, program, &damage[1..], None).await?;
        assert!(
            !near.settle().await?.is_empty(),
            "{damage:?} was not noticed"
        );
        let far = &world.hosts[1].enter;
        let answer = ask(far, &two.place(), one.v4().into(), 80).await?;
        assert_eq!(answer, Some(one.label()), "after {damage:?}");
        let answer = ask(far, &two.place(), one.v6().into(), 80).await?;
        assert_eq!(answer, Some(one.label()), "after {damage:?}, over IPv6");
    }
    Ok(())
}

#[tokio::test]
async fn a_released_network_leaves_nothing_once_its_machines_are_gone() -> Result<()> {
    let mut world = World::build().await?;
    let (department, guests) = (department(), guests());
    world.tell(std::slice::from_ref(&department), &guests);
    world.settle().await?;
    let tap = guests[0].tap();
    {
        // A machine that is still there keeps its network, even when the order came too early.
        let host = &mut world.hosts[0];
        host.tools.links.make_tap(&tap, 1450).await?;
        let open = crate::tap::Tap::open(&host.enter, &tap).await?;
        host.tools
            .links
            .plug_tap(&tap, "dep-5000", "br5001")
            .await?;
        host.releases = host
            .items
            .values()
            .map(|item| (item.key, release(item)))
            .collect();
        host.items.retain(|key, _| key.kind == ItemKind::Vm);
        assert!(host.settle().await?.is_empty());
        let status = host.status().await?;
        assert!(
            status
                .released
                .iter()
                .all(|r| r.key.kind != ItemKind::Network)
        );
        drop(open);
        host.tools.links.delete_tap(&tap).await?;
    }
    for host in &mut world.hosts {
        host.releases = host
            .items
            .values()
            .map(|item| (item.key, release(item)))
            .chain(std::mem::take(&mut host.releases))
            .collect();
        host.items.clear();
        host.settle().await?;
        let status = host.status().await?;
        assert_eq!(status.released.len(), host.releases.len());
        let names = host.tools.links.netns_names().await?;
        assert!(!names.contains("dep-5000"), "{names:?}");
        assert!(host.tools.dhcp.running().await?.is_empty());
        let own = host.tools.links.state(&Place::Host, &[]).await?;
        let own = own.expect("the host is always there").links;
        assert!(
            own.keys().all(|name| name == "lo" || name == "overlay"),
            "{own:?}"
        );
    }
    // And it can be made again at once, with the same numbers.
    world.tell(&[department], &guests);
    for host in &mut world.hosts {
        host.releases.clear();
    }
    world.settle().await?;
    for observation in world.hosts[0].status().await?.observations {
        assert_eq!(observation.state, ItemState::Ready);
    }
    Ok(())
}

/// A tap that was left in a department's namespace is found and deleted when it is made anew.
#[tokio::test]
async fn a_tap_that_was_left_behind_is_made_anew() -> Result<()> {
    let mut world = World::build().await?;
    let (department, guests) = (department(), guests());
    world.tell(&[department], &guests);
    world.settle().await?;
    let links = &world.hosts[0].tools.links;
    let tap = guests[0].tap();
    for _ in 0..2 {
        links.make_tap(&tap, 1450).await?;
        assert_eq!(links.taps().await?[&tap].place, Place::Host);
        links.plug_tap(&tap, "dep-5000", "br5001").await?;
        links.plug_tap(&tap, "dep-5000", "br5001").await?;
        let place = Place::Netns("dep-5000".into());
        assert_eq!(links.taps().await?[&tap].place, place);
    }
    links.delete_tap(&tap).await?;
    links.delete_tap(&tap).await?;
    assert!(links.taps().await?.is_empty());
    // What a tool refuses is said in its own words, with what was asked of it.
    let name = "nothing".to_owned();
    let failed = links.change(&Place::Host, &[Change::SetUp { name }]).await;
    let message = failed.expect_err("there is no such link").to_string();
    assert!(message.contains("Cannot find device"), "{message}");
    assert!(message.contains("link set dev nothing up"), "{message}");
    Ok(())
}
