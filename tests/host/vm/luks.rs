//! Encrypted disks by real libvirt, QEMU and tgt: what is on the volume, what is not, and where the key
//! is not.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use dc_agent_core::vm::luks::{FormatOrder, FormatStage};
use dc_agent_core::vm::xml::disk::serial;
use dc_host::Tools;
use dc_lab::progress::run;
use dc_lab::wait::{self, Look};
use dc_types::plan::{DiskItem, DiskSource, Formatted, LUKS_HEADER, Luks, Power, Secret};
use dc_types::report::Guest;
use dc_types::{Bytes, InstanceId};
use uuid::Uuid;

use super::carrier;
use super::order::{DEADLINE, Order};
use super::plugs::{TELLER, has, is_as_asked};
use crate::carrier::Carrier;

pub const KEY: &str = "8f3a5c1e90b7d2468f3a5c1e90b7d2460f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";

/// Says what the disks begin with, and writes nothing.
const READER: &str = "#!/bin/sh
for disk in /sys/block/vd*; do
    case $disk in */vda) continue;; esac
    echo \"reads $(head -c 31 /dev/${disk##*/} | tr -cd ' a-z0-9') end\" >/dev/console
done
";

pub fn luks(key: &str, formatted: Formatted) -> Option<Luks> {
    Some(Luks {
        key: Some(Secret(key.into())),
        formatted,
    })
}

fn encrypted(order: &Order) -> DiskItem {
    DiskItem {
        volume: InstanceId(Uuid::from_u128(0xc1f4_0000_0000_4000_8000_0000_0000_0002)),
        name: "data".into(),
        size: Bytes(16 << 20),
        luks: luks(KEY, Formatted::Never),
        ..order.vm.disks[0].clone()
    }
}

/// A blank volume, as its storage host makes it: with room for the header.
fn blank(carrier: &Carrier, disk: &DiskItem) -> Result<PathBuf> {
    let path = carrier
        .machine
        .folder("volumes")?
        .join(disk.volume.to_string());
    File::create(&path)?.set_len(disk.size.0 + LUKS_HEADER.0)?;
    Ok(path)
}

/// Whether a range of a volume holds one byte alone, read with the key.
fn holds(volume: &Path, key: &str, (byte, from, len): (u8, u64, u64)) -> Result<bool> {
    let file = volume.with_extension("key");
    fs::write(&file, key)?;
    let opened = run(std::process::Command::new("qemu-io")
        .args(["-r", "-U", "--object"])
        .arg(format!("secret,id=k,format=raw,file={}", file.display()))
        .arg("--image-opts")
        .arg(format!(
            "driver=luks,key-secret=k,file.driver=file,file.filename={}",
            volume.display()
        ))
        .args(["-c", &format!("read -q -P {byte} {from} {len}")]));
    fs::remove_file(&file)?;
    match opened {
        Ok(_) => Ok(true),
        Err(error) if format!("{error:#}").contains("Pattern verification failed") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A volume with a header that its key opens, made by hand: what is behind it reads as noise.
pub fn formatted_by_hand(path: &Path, payload: Bytes) -> Result<()> {
    let key = path.with_extension("key");
    fs::write(&key, KEY)?;
    // It measures how fast it is, and fails at that by chance.
    let mut made = Err(anyhow::anyhow!("not tried"));
    for _ in 0..50 {
        made = run(std::process::Command::new("qemu-img")
            .args(["create", "-q", "-f", "luks", "--object"])
            .arg(format!("secret,id=k,format=raw,file={}", key.display()))
            .args([
                "-o",
                "key-secret=k,cipher-alg=aes-256,cipher-mode=xts,iter-time=10",
            ])
            .args([path.as_os_str(), payload.0.to_string().as_ref()]));
        if made.is_ok() {
            break;
        }
    }
    made?;
    fs::remove_file(&key)?;
    ensure!(path.metadata()?.len() == payload.0 + LUKS_HEADER.0);
    Ok(())
}

pub fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Looks for a key wherever this computer shows what processes are given, and libvirt writes.
fn find_key(carrier: &Carrier, key: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(process.join(file)).unwrap_or_default();
            if contains(&bytes, key) {
                found.push(process.join(file).display().to_string());
            }
        }
    }
    let line = "find /etc/libvirt /run/libvirt /var/log/libvirt /var/lib/libvirt -type f \
                -exec cat {} + | tr -cd '[:print:]\\n'
                for of in $(virsh -q list --all --uuid); do
                    virsh dumpxml --security-info $of; virsh dumpxml --inactive $of
                done
                for of in $(virsh -q secret-list | cut -c2-37); do virsh secret-dumpxml $of; done";
    let text = carrier.run(line)?;
    ensure!(text.contains("encryption format='luks'"), "{text}");
    if text.contains(key) {
        found.push("libvirt's files".into());
    }
    Ok(found)
}

#[tokio::test]
async fn a_guest_writes_to_an_encrypted_disk_and_its_volume_shows_nothing_of_it() -> Result<()> {
    let (carrier, mut order) = carrier("luks").await?;
    let tools = carrier.tools().await?;
    let disk = encrypted(&order);
    let volume = blank(&carrier, &disk)?;
    carrier.make_target(2, &disk)?;
    order.vm.disks.push(disk.clone());
    order.vm.seed.user_data = Secret(TELLER.into());
    let formatted = order.settle(&carrier, &tools, "it is formatted", |looked| {
        looked.formatted == [disk.volume]
    });
    let formatted = formatted.await?;
    ensure!(formatted.reason() == "Formatting", "{formatted:?}");
    ensure!(formatted.guest == Guest::Absent, "{formatted:?}");
    ensure!(holds(&volume, KEY, (0, 0, disk.size.0))?, "not all zeros");
    let behind = usize::try_from(LUKS_HEADER.0)?;
    let payload = fs::read(&volume)?.split_off(behind);
    ensure!(!contains(&payload, &"\0".repeat(4096)), "a hole is left");

    order.vm.disks[1].luks = luks(KEY, Formatted::Done);
    order
        .settle(&carrier, &tools, "the guest runs", is_as_asked)
        .await?;
    let (first, second) = (order.vm.disks[0].clone(), order.vm.disks[1].clone());
    has(&carrier, &order, &[&first, &second]).await?;
    let mark = format!("marked by {}", serial(&disk));
    // A look at the disk as its storage has it, after all was written.
    let byte = mark.as_bytes()[0];
    wait::until("the mark on the disk", DEADLINE, async || {
        match holds(&volume, KEY, (byte, 0, 1)) {
            Ok(true) => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(
        !contains(&fs::read(&volume)?, "marked by"),
        "it is in clear"
    );
    let found = find_key(&carrier, KEY)?;
    ensure!(found.is_empty(), "the key is in {found:?}");

    // Another start reads it.
    order.vm.seed.user_data = Secret(READER.into());
    order.vm.restart = "again".into();
    order
        .settle(&carrier, &tools, "it was restarted", |looked| {
            is_as_asked(looked) && looked.last_stop.is_some()
        })
        .await?;
    order
        .console_says(&carrier, 2, &format!("reads {mark}"))
        .await?;

    // An agent that has lost the key lets it run, and does not start it.
    order.vm.disks[1].luks = Some(Luks {
        key: None,
        formatted: Formatted::Done,
    });
    let tools = carrier.tools().await?;
    order
        .settle(&carrier, &tools, "it goes on", is_as_asked)
        .await?;
    order.vm.power = Power::Off;
    order
        .settle(&carrier, &tools, "it is off", |looked| {
            looked.guest == Guest::Stopped
        })
        .await?;
    order.vm.power = Power::On;
    let waits = order.settle(&carrier, &tools, "it waits", |looked| {
        looked.reason() == "KeyAwaited"
    });
    ensure!(waits.await?.guest == Guest::Stopped);
    let secrets = carrier.run("virsh -q secret-list")?;
    ensure!(secrets.trim().is_empty(), "{secrets}");

    // Another key opens nothing, and changes nothing.
    let before = fs::read(&volume)?;
    for formatted in [Formatted::Done, Formatted::Never] {
        order.vm.disks[1].luks = luks(OTHER, formatted);
        let told = refused(&carrier, &order, &tools).await?;
        ensure!(told.contains("Invalid password"), "{formatted:?}: {told}");
        ensure!(!told.contains(OTHER), "{told}");
        ensure!(
            fs::read(&volume)? == before,
            "it was written to: {formatted:?}"
        );
    }
    order.vm.disks[1].luks = luks(KEY, Formatted::Done);
    order
        .settle(&carrier, &tools, "it runs again", is_as_asked)
        .await?;
    Ok(())
}

/// What the first step that fails is told.
async fn refused(carrier: &Carrier, order: &Order, tools: &Tools) -> Result<String> {
    wait::until("a refusal", DEADLINE, async || {
        let steps = order.plan(carrier, tools).await.unwrap_or_default();
        for step in steps {
            if let Err(error) = order.apply(carrier, tools, step).await {
                return Look::Holds(format!("{error:#}"));
            }
        }
        Look::NotYet("nothing has failed".to_owned())
    })
    .await
}

#[tokio::test]
async fn an_encrypted_disk_comes_to_a_running_guest_and_goes_with_its_key() -> Result<()> {
    let (carrier, mut order) = carrier("luksplug").await?;
    let tools = carrier.tools().await?;
    order.vm.seed.user_data = Secret(TELLER.into());
    order
        .settle(&carrier, &tools, "the guest runs", is_as_asked)
        .await?;
    let first = order.vm.disks[0].clone();
    let mut disk = encrypted(&order);
    let volume = blank(&carrier, &disk)?;
    disk.source = DiskSource::File {
        path: volume.display().to_string(),
    };
    order.vm.disks.push(disk.clone());
    order
        .settle(&carrier, &tools, "it is formatted", |looked| {
            looked.formatted == [disk.volume] && looked.guest == Guest::Running
        })
        .await?;
    has(&carrier, &order, &[&first]).await?;
    disk.luks = luks(KEY, Formatted::Done);
    order.vm.disks[1] = disk.clone();
    order
        .settle(&carrier, &tools, "it is there", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first, &disk]).await?;
    let found = find_key(&carrier, KEY)?;
    ensure!(found.is_empty(), "the key is in {found:?}");
    order.vm.disks.pop();
    order
        .settle(&carrier, &tools, "it is gone", is_as_asked)
        .await?;
    has(&carrier, &order, &[&first]).await?;
    let secrets = carrier.run("virsh -q secret-list | wc -l")?;
    ensure!(secrets.trim() == "1", "{secrets}");
    ensure!(
        !contains(&fs::read(&volume)?, "marked by"),
        "it is in clear"
    );
    Ok(())
}

/// Formats until the volume is done, or until it has failed.
async fn format(carrier: &Carrier, tools: &Tools, order: &FormatOrder) -> Result<()> {
    let begin =
        |tools: Tools, order: FormatOrder| async move { Ok(tools.formatter.format(&order).await?) };
    carrier.inside(begin(tools.clone(), order.clone())).await?;
    wait::until("the end of formatting", DEADLINE, async || {
        match stage(carrier, tools, order).await {
            Ok(Some(FormatStage::Done) | None) => Look::Holds(()),
            other => Look::NotYet(format!("{other:?}")),
        }
    })
    .await?;
    // A failure is told to whoever asks again.
    carrier.inside(begin(tools.clone(), order.clone())).await
}

async fn stage(
    carrier: &Carrier,
    tools: &Tools,
    order: &FormatOrder,
) -> Result<Option<FormatStage>> {
    let (tools, at) = (tools.clone(), (order.place, order.grant));
    let formats = carrier.inside(async move { Ok(tools.formatter.formats().await?) });
    Ok(formats.await?.get(&at).map(|of| of.stage))
}

#[tokio::test]
async fn formatting_that_is_cut_off_anywhere_is_done_anew_and_what_is_done_is_left_alone()
-> Result<()> {
    let (carrier, order) = carrier("lukscut").await?;
    let mut disk = encrypted(&order);
    disk.size = Bytes(512 << 20);
    let volume = blank(&carrier, &disk)?;
    let format_order = FormatOrder {
        vm: order.vm.vm,
        name: disk.name.clone(),
        place: disk.volume,
        grant: disk.grant,
        initiator: disk.initiator.clone(),
        source: DiskSource::File {
            path: volume.display().to_string(),
        },
        key: Secret(KEY.into()),
        payload: disk.size,
    };
    let file = File::options().read(true).write(true).open(&volume)?;
    let head = || -> Result<Vec<u8>> {
        let mut head = vec![0; 4096];
        file.read_exact_at(&mut head, 0)?;
        Ok(head)
    };
    let is_whole = || -> Result<()> {
        ensure!(head()?.starts_with(b"LUKS"), "no header");
        ensure!(holds(&volume, KEY, (0, 0, disk.size.0))?, "not all zeros");
        Ok(())
    };

    // While it is being written.
    let tools = carrier.tools().await?;
    let (hands, of) = (tools.clone(), format_order.clone());
    let begun = carrier.inside(async move { Ok(hands.formatter.format(&of).await?) });
    begun.await?;
    wait::until("a part of it", DEADLINE, async || {
        match stage(&carrier, &tools, &format_order).await {
            Ok(Some(FormatStage::Running { percent })) if percent > 0 => Look::Holds(Ok(())),
            Ok(Some(FormatStage::Running { .. })) => Look::NotYet("nothing yet".to_owned()),
            other => Look::Holds(Err(format!("{other:?}"))),
        }
    })
    .await?
    .map_err(anyhow::Error::msg)?;
    let (hands, at) = (tools.clone(), (disk.volume, disk.grant));
    let stopped = carrier.inside(async move { Ok(hands.formatter.stop(at.0, at.1).await?) });
    stopped.await?;
    ensure!(
        head()? == vec![0; 4096],
        "a header, and not all of the rest"
    );
    ensure!(holds(&volume, KEY, (0, 0, 1)).is_err(), "it opens");
    let tools = carrier.tools().await?;
    format(&carrier, &tools, &format_order).await?;
    is_whole()?;

    // What is done is not done again.
    let before = fs::read(&volume)?;
    let tools = carrier.tools().await?;
    format(&carrier, &tools, &format_order).await?;
    ensure!(fs::read(&volume)? == before, "it was written again");

    // Before its head was written.
    file.write_all_at(&[0; 4096], 0)?;
    let tools = carrier.tools().await?;
    format(&carrier, &tools, &format_order).await?;
    is_whole()?;
    ensure!(head()? != before[..4096], "the same header");

    // Something else than zeros, though no header: whose it is, nobody knows.
    file.write_all_at(b"data", 0)?;
    let before = fs::read(&volume)?;
    let tools = carrier.tools().await?;
    let told = format(&carrier, &tools, &format_order).await.err();
    let told = told.context("it was formatted")?.to_string();
    ensure!(told.contains("does not begin with zeros"), "{told}");
    ensure!(fs::read(&volume)? == before, "it was written to");

    // A volume without room for the header.
    file.set_len(disk.size.0)?;
    let Err(told) = format(&carrier, &tools, &format_order).await else {
        bail!("it was formatted");
    };
    ensure!(
        told.to_string().contains("are needed with the header"),
        "{told}"
    );
    Ok(())
}
