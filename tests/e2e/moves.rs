//! A volume goes from the SAN into a folder of its guest's host and back, while the guest writes to it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_lab::wait::{self, Look};
use serde_json::json;

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::guest::Guest;
use crate::kills::{ensure_no_gap, written};
use crate::objects::{self, Wish, text};
use crate::ripe;

const NAME: &str = "mover";
const STORE: &str = "mover-store";
const SAN: &str = "san-1";
const FOLDER: &str = "local-1";
/// Records of 4 KiB that the store has room for, behind its first MiB.
const RECORDS: u32 = 16_000;

pub fn there_and_back(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    let wish = Wish {
        store: Some(STORE),
        // Its root is why it is on the host that has the folder.
        pool: FOLDER,
        ..Wish::tiny(HEALTH, NAME, "internal")
    };
    centre.block_on(async {
        let store = objects::blank_volume(HEALTH, STORE, "64Mi", "Erase");
        centre.apply(vec![store, wish.render()])?;
        ripe::ready(centre, "vm", HEALTH, NAME, DEADLINE).await?;
        let mut guest = Guest::open(centre, HEALTH, NAME).await?;
        let boot = guest.boot().await?.id;
        guest
            .run(&format!(
                "counter write /dev/vdb {RECORDS} 20000 >/tmp/counter 2>&1 & echo $! >/tmp/writer"
            ))
            .await?;
        for pool in [FOLDER, SAN] {
            let before = place(centre)?;
            centre.patch("volume", HEALTH, STORE, &json!({ "pool": pool }))?;
            let what = format!("to rest in {pool}");
            ripe::object(centre, "volume", HEALTH, STORE, &what, DEADLINE, |volume| {
                text(volume, "/status/pool").as_deref() == Some(pool)
                    && volume.pointer("/status/moving").is_none()
            })
            .await?;
            ripe::ready(centre, "volume", HEALTH, STORE, DEADLINE).await?;
            ripe::ready(centre, "vm", HEALTH, NAME, DEADLINE).await?;
            ensure!(place(centre)? != before, "QEMU has the same open as before");
            goes_on(&mut guest, pool).await?;
        }
        ensure_no_gap(&mut guest).await?;
        ensure!(guest.boot().await?.id == boot, "it was started anew");
        drop(guest);
        centre.delete("vm", HEALTH, NAME)?;
        ripe::gone(centre, "vm", HEALTH, NAME, DEADLINE).await?;
        centre.delete("volume", HEALTH, STORE)?;
        for volume in [STORE, "mover-root"] {
            ripe::gone(centre, "volume", HEALTH, volume, DEADLINE).await?;
        }
        // One for each place that it has been in.
        let certificates = centre.kubectl.json(&["get", "erasurecertificates"])?;
        let of = certificates["items"].as_array().context("no list")?;
        let of = of.iter().filter(|of| of["spec"]["volume"] == STORE);
        // What a thin volume never held is not read back.
        let results: Vec<&str> = of.filter_map(|of| of["spec"]["result"].as_str()).collect();
        let proven = |result: &&str| matches!(*result, "Verified" | "PartlyVerified");
        ensure!(results.len() == 3, "certificates: {results:?}");
        ensure!(results.iter().all(proven), "certificates: {results:?}");
        Ok(())
    })
}

/// What QEMU has open as the store.
fn place(centre: &Centre) -> Result<String> {
    let id = centre.instance_id("vm", HEALTH, NAME)?;
    let virsh = ["--quiet", "--connect", "qemu:///system", "domblklist", &id];
    let machine = centre.machine("compute-1")?;
    let disks = dc_lab::progress::run(machine.command("virsh").args(virsh))?;
    let store = disks.lines().find(|line| line.trim().starts_with("vdb"));
    Ok(store.context("it has no second disk")?.trim().to_owned())
}

async fn goes_on(guest: &mut Guest, pool: &str) -> Result<()> {
    let start = written(guest).await?;
    let what = format!("the guest to write on in {pool}");
    wait::until(&what, DEADLINE, async || match written(guest).await {
        Ok(now) if now > start => Look::Holds(()),
        Ok(now) => Look::NotYet(format!("it has written {now}")),
        Err(error) => Look::NotYet(format!("{error:#}")),
    })
    .await
}
