//! Volumes of guests: growing, and what becomes of the bytes when a volume is deleted.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_lab::wait::{self, Look};
use serde_json::json;

use crate::cast::{self, HEALTH, STORE};
use crate::centre::{Centre, DEADLINE};
use crate::guest::Guest;
use crate::objects::{self, Wish};
use crate::ripe;

const DATABASE: &str = "y-db-1";

/// The second disk, after the one that is booted from.
const STORE_DEVICE: &str = "/dev/vdb";

pub fn grows_offline(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let mut guest = Guest::open(centre, HEALTH, DATABASE).await?;
        let before = size_mib(&mut guest).await?;
        mark(&mut guest, "grown").await?;
        drop(guest);
        centre.patch("vm", HEALTH, DATABASE, &json!({ "powerState": "Stopped" }))?;
        ripe::state(centre, HEALTH, DATABASE, "Stopped", DEADLINE).await?;

        let wanted = before + 32;
        let size = json!({ "size": format!("{wanted}Mi") });
        centre.patch("volume", HEALTH, STORE, &size)?;
        ripe::ready(centre, "volume", HEALTH, STORE, DEADLINE).await?;

        centre.patch("vm", HEALTH, DATABASE, &json!({ "powerState": "Running" }))?;
        ripe::ready(centre, "vm", HEALTH, DATABASE, DEADLINE).await?;
        let mut guest = Guest::open(centre, HEALTH, DATABASE).await?;
        let after = size_mib(&mut guest).await?;
        ensure!(
            after == wanted,
            "the guest sees {after} MiB instead of {wanted}"
        );
        let kept = read_mark(&mut guest).await?;
        ensure!(kept == "grown", "its bytes are now {kept:?}");
        Ok(())
    })
}

pub fn grows_online(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let mut guest = Guest::open(centre, HEALTH, DATABASE).await?;
        let before = size_mib(&mut guest).await?;
        mark(&mut guest, "grown under it").await?;
        let began = guest.run("cat /proc/sys/kernel/random/boot_id").await?;
        let wanted = before + 32;
        let size = json!({ "size": format!("{wanted}Mi") });
        centre.patch("volume", HEALTH, STORE, &size)?;
        wait::until(
            &format!("the guest to see {wanted} MiB"),
            DEADLINE,
            async || match size_mib(&mut guest).await {
                Ok(size) if size == wanted => Look::Holds(()),
                Ok(size) => Look::NotYet(format!("it sees {size} MiB")),
                Err(error) => Look::Never(error),
            },
        )
        .await?;
        ripe::ready(centre, "volume", HEALTH, STORE, DEADLINE).await?;
        ripe::ready(centre, "vm", HEALTH, DATABASE, DEADLINE).await?;
        let kept = read_mark(&mut guest).await?;
        ensure!(kept == "grown under it", "its bytes are now {kept:?}");
        let now = guest.run("cat /proc/sys/kernel/random/boot_id").await?;
        ensure!(began == now, "it was started anew");
        Ok(())
    })
}

/// A volume joins the disks of a running machine, is written to, and is gone again, bytes and all.
pub fn comes_and_goes(centre: &Arc<Centre>) -> Result<()> {
    const GUEST_VOLUME: &str = "visitor";
    cast::ensure(centre)?;
    centre.block_on(async {
        let mut guest = Guest::open(centre, HEALTH, DATABASE).await?;
        let boot = guest.boot().await?.id;
        let volume = objects::blank_volume(HEALTH, GUEST_VOLUME, "32Mi", "Erase");
        centre.apply(vec![volume])?;
        ripe::ready(centre, "volume", HEALTH, GUEST_VOLUME, DEADLINE).await?;
        let id = centre.instance_id("volume", HEALTH, GUEST_VOLUME)?;
        let serial = id.replace('-', "")[..20].to_owned();

        let vm = centre.get("vm", HEALTH, DATABASE)?;
        let before = vm["spec"]["disks"].clone();
        let mut disks = before.clone();
        let disk = json!({ "name": GUEST_VOLUME, "volume": GUEST_VOLUME });
        disks.as_array_mut().context("no disks")?.push(disk);
        centre.patch("vm", HEALTH, DATABASE, &json!({ "disks": disks }))?;
        let device = find_disk(&mut guest, &serial, Sought::There).await?;
        ripe::ready(centre, "vm", HEALTH, DATABASE, DEADLINE).await?;
        let line = format!("echo visited >{device}; sync; head -c 7 {device}; echo");
        let wrote = guest.run(&line).await?;
        // What the kernel says of the disk may stand before it.
        let last = wrote.lines().next_back();
        ensure!(last == Some("visited"), "it reads back as {wrote:?}");

        centre.patch("vm", HEALTH, DATABASE, &json!({ "disks": before }))?;
        find_disk(&mut guest, &serial, Sought::Gone).await?;
        ripe::ready(centre, "vm", HEALTH, DATABASE, DEADLINE).await?;
        // Nobody has it any more.
        centre.delete("volume", HEALTH, GUEST_VOLUME)?;
        ripe::gone(centre, "volume", HEALTH, GUEST_VOLUME, DEADLINE).await?;
        ensure!(guest.boot().await?.id == boot, "it was started anew");
        Ok(())
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sought {
    There,
    Gone,
}

/// Waits until the guest has a disk of that serial, or has none; its device, empty when it has none.
async fn find_disk(guest: &mut Guest, serial: &str, sought: Sought) -> Result<String> {
    let line = format!(
        "for d in /sys/block/vd*; do [ \"$(cat $d/serial)\" = {serial} ] && echo /dev/${{d##*/}}; done; true"
    );
    let what = format!("disk {serial} of the guest");
    wait::until(&what, DEADLINE, async || {
        let said = match guest.run(&line).await {
            Ok(said) => said,
            Err(error) => return Look::Never(error),
        };
        let device = said.lines().find(|line| line.starts_with("/dev/vd"));
        match device.is_some() == (sought == Sought::There) {
            true => Look::Holds(device.unwrap_or_default().to_owned()),
            false => Look::NotYet(format!("the guest says {said:?}")),
        }
    })
    .await
}

/// A guest writes as fast as it may and stops: its volume says what it may, and how much it is used,
/// each time after a minute or two.
pub fn use_is_told(centre: &Arc<Centre>) -> Result<()> {
    const LIMIT: u64 = 40;
    cast::ensure(centre)?;
    centre.block_on(async {
        let limit = |iops| json!({ "qos": iops });
        let limited = limit(json!({ "iops": LIMIT }));
        centre.patch("volume", HEALTH, STORE, &limited)?;
        let set = format!("{LIMIT} IOPS");
        let what = "that it is limited";
        let said = ripe::object(centre, "volume", HEALTH, STORE, what, DEADLINE, |volume| {
            objects::text(volume, "/status/qos").is_some_and(|qos| qos == set)
        });
        said.await?;
        let mut guest = Guest::open(centre, HEALTH, DATABASE).await?;
        // Behind what other tests have marked.
        let line = format!(
            "rm -f /tmp/idle; (until [ -e /tmp/idle ]; do dd if=/dev/zero of={STORE_DEVICE} bs=4k \
             seek=256 count=64 conv=notrunc oflag=direct; done) >/dev/null 2>&1 & true"
        );
        guest.run(&line).await?;
        // What a limit lets through at once, before it holds, is a tenth of a second's worth.
        let within = |iops| iops > 0 && iops <= LIMIT + LIMIT / 10;
        says_used(centre, "that it is used within its limit", within).await?;
        guest.run("touch /tmp/idle").await?;
        let free = limit(serde_json::Value::Null);
        centre.patch("volume", HEALTH, STORE, &free)?;
        says_used(centre, "that it is idle", |iops| iops == 0).await
    })
}

/// Waits until the store's volume says of its use what is looked for, in operations a second.
async fn says_used(centre: &Centre, what: &str, holds: impl Fn(u64) -> bool) -> Result<()> {
    let said = ripe::object(centre, "volume", HEALTH, STORE, what, DEADLINE, |volume| {
        let used = objects::text(volume, "/status/used").unwrap_or_default();
        let iops = used.split_once(" IOPS, ").map(|(iops, _)| iops.parse());
        matches!(iops, Some(Ok(iops)) if holds(iops))
    });
    said.await.map(drop)
}

/// One machine with an erased root and a retained store, deleted and asked for again by the same
/// names: the new store is blank, the old one lies where the event says.
pub fn reused_name(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    let wish = Wish {
        store: Some("again-store"),
        ..Wish::tiny(HEALTH, "again", "internal")
    };
    let ask = || {
        let store = objects::blank_volume(HEALTH, "again-store", "32Mi", "Retain");
        centre.apply(vec![store, wish.render()])
    };
    centre.block_on(async {
        ask()?;
        ripe::ready(centre, "vm", HEALTH, "again", DEADLINE).await?;
        let mut guest = Guest::open(centre, HEALTH, "again").await?;
        mark(&mut guest, "of the first").await?;
        drop(guest);
        let first_vm = centre.instance_id("vm", HEALTH, "again")?;
        let first = centre.instance_id("volume", HEALTH, "again-store")?;

        for (kind, name) in [("vm", "again"), ("volume", "again-store")] {
            centre.delete(kind, HEALTH, name)?;
        }
        for (kind, name) in [
            ("vm", "again"),
            ("volume", "again-root"),
            ("volume", "again-store"),
        ] {
            ripe::gone(centre, kind, HEALTH, name, DEADLINE).await?;
        }
        ripe::event(
            centre,
            HEALTH,
            "again-root",
            "it was erased",
            DEADLINE,
            |event| event.to_lowercase().contains("erased"),
        )
        .await?;
        let retained = retained_file(centre).await?;

        ask()?;
        ripe::ready(centre, "vm", HEALTH, "again", DEADLINE).await?;
        let mut guest = Guest::open(centre, HEALTH, "again").await?;
        let found = read_mark(&mut guest).await?;
        ensure!(found.is_empty(), "the new store begins with {found:?}");
        drop(guest);
        ensure!(centre.instance_id("vm", HEALTH, "again")? != first_vm);
        ensure!(centre.instance_id("volume", HEALTH, "again-store")? != first);
        let bytes = std::fs::read(&retained).with_context(|| retained.display().to_string())?;
        ensure!(
            bytes.starts_with(b"of the first"),
            "what was retained begins with {:?}",
            String::from_utf8_lossy(&bytes[..32.min(bytes.len())])
        );

        centre.delete("vm", HEALTH, "again")?;
        centre.delete("volume", HEALTH, "again-store")?;
        ripe::gone(centre, "vm", HEALTH, "again", DEADLINE).await?;
        ripe::gone(centre, "volume", HEALTH, "again-store", DEADLINE).await
    })
}

/// The file that an event says the bytes are kept in, as seen from here.
async fn retained_file(centre: &Centre) -> Result<PathBuf> {
    let is_path = |word: &&str| word.starts_with('/');
    let event = ripe::event(
        centre,
        HEALTH,
        "again-store",
        "where the bytes are",
        DEADLINE,
        |e| e.split_whitespace().any(|word| is_path(&word)),
    )
    .await?;
    let path = event.split_whitespace().find(is_path).context("no path")?;
    let path = path.trim_end_matches([',', '.', ';', ')']);
    Ok(centre.storage()?.path(path))
}

async fn size_mib(guest: &mut Guest) -> Result<u64> {
    let said = guest
        .run(&format!("blockdev --getsize64 {STORE_DEVICE}"))
        .await?;
    let bytes: u64 = said.trim().parse().with_context(|| said.clone())?;
    Ok(bytes >> 20)
}

/// Writes a text at the start of the store, and past every cache.
pub async fn mark(guest: &mut Guest, text: &str) -> Result<()> {
    guest
        .run(&format!(
            "printf '%-511s\\n' '{text}' | dd of={STORE_DEVICE} bs=512 count=1 conv=notrunc,fsync \
             2>/dev/null"
        ))
        .await
        .map(drop)
}

pub async fn read_mark(guest: &mut Guest) -> Result<String> {
    let said = guest
        .run(&format!(
            "dd if={STORE_DEVICE} bs=512 count=1 2>/dev/null | tr -d '\\000'"
        ))
        .await?;
    Ok(said.trim().to_owned())
}
