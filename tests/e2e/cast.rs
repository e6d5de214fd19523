//! The guests that all tests share: two departments, three tiers, two hosts.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_lab::progress;
use dc_lab::wait::Look;

use crate::centre::{Centre, DEADLINE};
use crate::guest::{Boot, Guest};
use crate::objects::{self, Wish, text};
use crate::{debian, ripe};

pub const HEALTH: &str = "so-y-te";
pub const FINANCE: &str = "so-tai-chinh";

/// Both departments' own choice, the same for both.
const INTERNAL: (&str, &str) = ("10.200.1.0/24", "fd00:200:1::/64");
const DATABASE: (&str, &str) = ("10.200.2.0/24", "fd00:200:2::/64");

/// The address of an application server of each of the two departments.
pub const SHARED_ADDRESS: &str = "10.200.1.10";

/// The data volume of the database guest.
pub const STORE: &str = "db-store";

pub fn wishes() -> Vec<Wish> {
    let web = |department, name, publish: &[&'static str]| Wish {
        publish: publish.to_vec(),
        spread: Some("web"),
        ..Wish::tiny(department, name, "dmz")
    };
    let app = |department, name, ipv4| Wish {
        ipv4,
        spread: Some("app"),
        ..Wish::tiny(department, name, "internal")
    };
    vec![
        web(HEALTH, "y-web-1", &["http"]),
        web(HEALTH, "y-web-2", &[]),
        app(HEALTH, "y-app-1", Some(SHARED_ADDRESS)),
        app(HEALTH, "y-app-2", None),
        Wish {
            store: Some(STORE),
            ..Wish::tiny(HEALTH, "y-db-1", "database")
        },
        web(FINANCE, "c-web-1", &["http"]),
        app(FINANCE, "c-app-1", Some(SHARED_ADDRESS)),
    ]
}

/// Brings everyone on stage and waits until all are ready.
pub fn ensure(centre: &Centre) -> Result<()> {
    centre.apply(vec![
        objects::department(HEALTH),
        objects::department(FINANCE),
    ])?;
    centre.block_on(async {
        for department in [HEALTH, FINANCE] {
            let of = format!("department {department}");
            dc_lab::wait::until(&of, DEADLINE, async || {
                // The operator makes the namespace; what goes into it can be applied from then on.
                match centre.reader.has_namespace(department) {
                    Ok(true) => Look::Holds(()),
                    Ok(false) => Look::NotYet("it has no namespace".to_owned()),
                    Err(error) => Look::NotYet(format!("{error:#}")),
                }
            })
            .await?;
        }
        for department in [HEALTH, FINANCE] {
            centre.apply(vec![
                objects::system(department),
                objects::subnet(department, "dmz", None),
                objects::subnet(department, "internal", Some(INTERNAL)),
                objects::subnet(department, "database", Some(DATABASE)),
            ])?;
        }
        let store = objects::blank_volume(HEALTH, STORE, "64Mi", "Retain");
        // Its size is another test's to change.
        if centre.find("volume", HEALTH, STORE)?.is_none() {
            centre.apply(vec![store])?;
        }
        centre.apply(wishes().iter().map(Wish::render).collect())?;
        for wish in wishes() {
            ripe::ready(centre, "vm", wish.department, wish.name, DEADLINE).await?;
        }
        Ok(())
    })
}

/// Consoles of all guests, in the order of [`wishes`].
pub async fn guests(centre: &Centre) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for wish in wishes() {
        guests.push(Guest::open(centre, wish.department, wish.name).await?);
    }
    Ok(guests)
}

/// The present boot of each guest, in the order of [`wishes`].
pub async fn boots(centre: &Centre) -> Result<Vec<Boot>> {
    let mut boots = Vec::new();
    for wish in wishes() {
        let mut guest = Guest::open(centre, wish.department, wish.name).await?;
        boots.push(guest.boot().await?);
    }
    Ok(boots)
}

/// No guest was started again, and each has gone on.
pub fn assert_undisturbed(before: &[Boot], after: &[Boot], what: &str) -> Result<()> {
    for ((wish, before), after) in wishes().iter().zip(before).zip(after) {
        let name = wish.name;
        ensure!(
            before.id == after.id,
            "{name} has another boot after {what}: {before:?}, {after:?}"
        );
        ensure!(
            before.uptime_s <= after.uptime_s,
            "{name} went back in time after {what}: {before:?}, {after:?}"
        );
    }
    Ok(())
}

pub fn all_become_ready(centre: &Arc<Centre>) -> Result<()> {
    ensure(centre)?;
    progress::note("  all guests are ready");
    // Boots while the others are looked at.
    debian::ask(centre)?;
    centre.block_on(async {
        let mut guests = guests(centre).await?;
        for guest in &mut guests {
            let shown = guest.run("ip -o addr; hostname").await?;
            for address in guest.addresses() {
                ensure!(
                    shown.contains(&format!(" {address}/")),
                    "{} has not got {address}:\n{shown}",
                    guest.label()
                );
            }
            ensure!(
                shown.lines().any(|line| line.trim() == guest.name),
                "{} calls itself otherwise:\n{shown}",
                guest.label()
            );
        }
        for pair in [["y-web-1", "y-web-2"], ["y-app-1", "y-app-2"]] {
            let hosts: BTreeSet<&str> = guests
                .iter()
                .filter(|guest| pair.contains(&guest.name.as_str()))
                .map(|guest| guest.host.as_str())
                .collect();
            ensure!(hosts.len() == 2, "{pair:?} are all on {hosts:?}");
        }
        anyhow::Ok(())
    })?;
    status_tells_all(centre)
}

/// What people read: the objects' status has what a table shows.
fn status_tells_all(centre: &Centre) -> Result<()> {
    for wish in wishes() {
        let vm = centre.get("vm", wish.department, wish.name)?;
        for pointer in [
            "/status/state",
            "/status/host",
            "/status/epoch",
            "/status/machineType",
            "/status/addressText",
            "/status/startedAt",
        ] {
            let told = text(&vm, pointer).filter(|text| !text.is_empty());
            told.with_context(|| format!("{} has no {pointer}: {}", wish.name, vm["status"]))?;
        }
    }
    let volume = centre.get("volume", HEALTH, STORE)?;
    let attached = text(&volume, "/status/attachedTo");
    ensure!(
        attached.as_deref() == Some("y-db-1"),
        "the store is attached to {attached:?}"
    );
    Ok(())
}
