//! A guest whose volumes are files of its host: it writes, stops and starts, is taken in a snapshot
//! that a new volume is made from, and one that the host has no room for says so.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_lab::{san, status};
use serde_json::{Value, json};

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::guest::Guest;
use crate::objects::{self, Wish, ready_reason, text};
use crate::ripe;
use crate::volumes::{mark, read_mark};

const POOL: &str = "local-1";
const HOST: &str = "compute-1";
const STORE: &str = "home-store";

fn store(name: &str, source: Value) -> Value {
    let mut volume = objects::blank_volume(HEALTH, name, "32Mi", "Erase");
    volume["spec"]["pool"] = json!(POOL);
    volume["spec"]["source"] = source;
    volume
}

fn wish(name: &'static str, store: &'static str) -> Wish {
    Wish {
        store: Some(store),
        pool: POOL,
        ..Wish::tiny(HEALTH, name, "internal")
    }
}

pub fn lives_there(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        pool_says_what_it_is(centre)?;
        centre.apply(vec![store(STORE, json!({})), wish("home", STORE).render()])?;
        let vm = ripe::ready(centre, "vm", HEALTH, "home", DEADLINE).await?;
        let host = text(&vm, "/status/host");
        ensure!(host.as_deref() == Some(HOST), "it is on {host:?}");
        let mut guest = Guest::open(centre, HEALTH, "home").await?;
        mark(&mut guest, "before").await?;
        drop(guest);
        lies_in_the_folder(centre)?;

        stop_and_start(centre).await?;
        let mut guest = Guest::open(centre, HEALTH, "home").await?;
        let kept = read_mark(&mut guest).await?;
        ensure!(kept == "before", "after a stop it reads {kept:?}");

        centre.apply(vec![objects::snapshot_of(HEALTH, "home-1", "home")])?;
        ripe::ready(centre, "volumesnapshot", HEALTH, "home-1", DEADLINE).await?;
        mark(&mut guest, "after").await?;
        drop(guest);
        comes_from_the_snapshot(centre).await?;
        no_room(centre).await?;
        leave(centre).await
    })
}

fn pool_says_what_it_is(centre: &Centre) -> Result<()> {
    let pool = centre.kubectl.json(&["get", "storagepool", POOL])?;
    let ready = status::condition(&pool, "Ready");
    ensure!(ready == Some("True"), "{}", ready_reason(&pool));
    let lacks = pool["status"]["lacks"]
        .as_array()
        .context("it lacks nothing")?;
    let fence = lacks.iter().any(|lack| lack["verb"] == "Fence");
    ensure!(fence, "it can fence: {lacks:?}");
    Ok(())
}

/// QEMU has the names of the grants open, and no target is between.
fn lies_in_the_folder(centre: &Centre) -> Result<()> {
    let machine = centre.machine(HOST)?;
    let id = centre.instance_id("vm", HEALTH, "home")?;
    let virsh = ["--quiet", "--connect", "qemu:///system", "domblklist", &id];
    let disks = dc_lab::progress::run(machine.command("virsh").args(virsh))?;
    let grants = san::pool_folder(centre.lab(), HOST).join("grants");
    let grants = grants.display().to_string();
    let files = disks.lines().filter(|line| line.contains(&grants)).count();
    ensure!(files == 2, "its disks are\n{disks}");
    Ok(())
}

async fn stop_and_start(centre: &Centre) -> Result<()> {
    centre.patch("vm", HEALTH, "home", &json!({ "powerState": "Stopped" }))?;
    ripe::state(centre, HEALTH, "home", "Stopped", DEADLINE).await?;
    centre.patch("vm", HEALTH, "home", &json!({ "powerState": "Running" }))?;
    ripe::ready(centre, "vm", HEALTH, "home", DEADLINE)
        .await
        .map(drop)
}

/// Another machine of the same host, with a volume as it was then.
async fn comes_from_the_snapshot(centre: &Centre) -> Result<()> {
    let source = json!({ "snapshot": { "name": "home-1", "volume": STORE } });
    centre.apply(vec![
        store("then-store", source),
        wish("then", "then-store").render(),
    ])?;
    let vm = ripe::ready(centre, "vm", HEALTH, "then", DEADLINE).await?;
    let host = text(&vm, "/status/host");
    ensure!(host.as_deref() == Some(HOST), "it is on {host:?}");
    let mut guest = Guest::open(centre, HEALTH, "then").await?;
    let found = read_mark(&mut guest).await?;
    ensure!(
        found == "before",
        "the snapshot's copy begins with {found:?}"
    );
    let mut guest = Guest::open(centre, HEALTH, "home").await?;
    let found = read_mark(&mut guest).await?;
    ensure!(found == "after", "the volume itself begins with {found:?}");
    Ok(())
}

/// The other host has room for neither more nor less, and it is not that which keeps it away.
async fn no_room(centre: &Centre) -> Result<()> {
    let late = Wish {
        class: "late",
        ..wish("late", "late-store")
    };
    centre.apply(vec![
        objects::machine_class("late", "127Gi"),
        store("late-store", json!({})),
        late.render(),
    ])?;
    let told = "to be told that there is no room";
    let vm = ripe::object(centre, "vm", HEALTH, "late", told, DEADLINE, |vm| {
        ready_reason(vm).contains("NoCapacity")
    })
    .await?;
    let said = ready_reason(&vm);
    for part in [
        "compute-1: memory (need 127 GiB",
        "host of the pool (need compute-1, which has pool local-1, have compute-2)",
        "compute-1 needs",
    ] {
        ensure!(said.contains(part), "it does not say {part:?}: {said}");
    }
    Ok(())
}

async fn leave(centre: &Centre) -> Result<()> {
    for vm in ["late", "then", "home"] {
        centre.delete("vm", HEALTH, vm)?;
    }
    for vm in ["late", "then", "home"] {
        ripe::gone(centre, "vm", HEALTH, vm, DEADLINE).await?;
    }
    let volumes = ["late-store", "then-store", STORE];
    centre.delete("volumesnapshot", HEALTH, "home-1")?;
    ripe::gone(centre, "volumesnapshot", HEALTH, "home-1", DEADLINE).await?;
    for volume in volumes {
        centre.delete("volume", HEALTH, volume)?;
    }
    // Roots are deleted for their machines, a little later.
    let roots = ["late-root", "then-root", "home-root"];
    for volume in volumes.into_iter().chain(roots) {
        ripe::gone(centre, "volume", HEALTH, volume, DEADLINE).await?;
    }
    let left = san::pool_folder(centre.lab(), HOST).join("volumes");
    let left = centre.machine(HOST)?.path(&left.display().to_string());
    let left = std::fs::read_dir(&left)?.count();
    ensure!(left == 0, "{left} files are left in the folder");
    Ok(())
}
