//! Boots the images that we build, with plain QEMU: needs root (the build) and the packages of a
//! lab. No machine, no libvirt: what fails here fails because of the image. All boot from BIOS; from
//! UEFI a machine of the end-to-end tests boots Debian, and its cloud-init is looked at there.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::console::{Console, PROMPT};
use dc_lab::images::seed::Seed;
use dc_lab::images::{BuiltImage, GuestImage};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Generous: Debian takes half a minute on two idle processors, and these are not idle.
const BOOT: Duration = Duration::from_secs(400);
const ANSWER: Duration = Duration::from_secs(60);

/// A guest under QEMU; killed when dropped.
struct Guest {
    qemu: Child,
    console: Console<UnixStream>,
    monitor: UnixStream,
    _dir: TempDir,
}

impl Guest {
    async fn boot(image: &BuiltImage, seed: Option<&Seed>, memory_mib: u32) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        // We listen and QEMU connects: the first line cannot be missed.
        let serial = UnixListener::bind(dir.path().join("serial"))?;
        let monitor = UnixListener::bind(dir.path().join("monitor"))?;
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            // What it has translated once it keeps: with a fourth of this, Debian takes a fifth more of
            // a processor to boot.
            "tcg,tb-size=256",
            "-smp",
            "2",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args(["-m", &memory_mib.to_string()])
        .args(["-serial", &socket(dir.path(), "serial")])
        .args(["-monitor", &socket(dir.path(), "monitor")])
        .args([
            "-drive",
            &drive(&image.path, image.format.name(), "snapshot=on"),
        ])
        .args(["-netdev", "user,id=n0,restrict=on,ipv4=on,ipv6=on"])
        .args([
            "-device",
            "virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:00:00:01",
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
        if let Some(seed) = seed {
            let path = dir.path().join("seed");
            seed.write_disk(&path)?;
            qemu.args(["-drive", &drive(&path, "raw", "readonly=on")]);
        }
        let disk = dir.path().join("disk");
        std::fs::File::create(&disk)?.set_len(64 << 20)?;
        qemu.args(["-drive", &drive(&disk, "raw", "cache=none")]);
        let qemu = qemu.spawn().context("cannot start QEMU")?;
        let (serial, _) = timeout(ANSWER, serial.accept())
            .await
            .context("QEMU is silent")??;
        let (monitor, _) = timeout(ANSWER, monitor.accept())
            .await
            .context("QEMU is silent")??;
        Ok(Self {
            qemu,
            console: Console::new(serial),
            monitor,
            _dir: dir,
        })
    }

    /// Presses the power button and waits for the machine to be off.
    async fn power_off(mut self) -> Result<()> {
        self.monitor.write_all(b"system_powerdown\n").await?;
        // The console is read meanwhile: a guest stalls on one that nobody reads.
        let status = timeout(BOOT, async {
            let (status, ()) = tokio::join!(self.qemu.wait(), self.console.read_to_end());
            status
        });
        let status = status.await.with_context(|| {
            format!(
                "the guest does not heed the power button:\n{}",
                self.console.tail()
            )
        })??;
        anyhow::ensure!(status.success(), "QEMU ended with {status}");
        Ok(())
    }
}

fn socket(dir: &Path, name: &str) -> String {
    format!("unix:{}", dir.join(name).display())
}

fn drive(path: &Path, format: &str, more: &str) -> String {
    format!("file={},format={format},if=virtio,{more}", path.display())
}

fn seed(user_data: &str) -> Seed {
    Seed {
        meta_data: "instance-id: i-1\nlocal-hostname: web-1\n".to_owned(),
        user_data: user_data.to_owned(),
        network_config: "version: 2
ethernets:
  nic0:
    match: {macaddress: \"52:54:00:00:00:01\"}
    set-name: eth0
    mtu: 1400
    addresses: [10.9.1.2/24, \"fd00:9:1::2/64\"]
    nameservers: {addresses: [10.9.1.1]}
    routes:
    - to: default
      via: 10.9.1.1
    - to: \"::/0\"
      via: fd00:9:1::1
"
        .to_owned(),
    }
}

fn built(image: GuestImage) -> Result<BuiltImage> {
    apt::ensure(Packages::All)?;
    image.ensure(&Cache::from_env()?)
}

#[tokio::test]
async fn the_tiny_image_applies_its_seed_serves_and_powers_off() -> Result<()> {
    let image = built(GuestImage::Tiny)?;
    assert!(image.size_bytes <= 32 << 20);
    let user_data = "#cloud-config
department: a01
runcmd:
- echo one \"two  three\" > /tmp/out
- [sh, -c, \"echo 'it''s' $0 >> /tmp/out\", word]
- |
  for n in 1 2; do
    echo line $n >> /tmp/out
  done
";
    let mut guest = Guest::boot(&image, Some(&seed(user_data)), 128).await?;
    let console = &mut guest.console;
    console.wait_for("dc-tiny: starting", BOOT).await?;
    let ready = console.line_after("dc-tiny: ready", BOOT).await?;
    for wanted in [
        "hostname=web-1",
        "eth0=10.9.1.2/24",
        "eth0=fd00:9:1::2/64",
        "=64MiB",
    ] {
        assert!(ready.contains(wanted), "{wanted} is missing in {ready}");
    }
    let done = console
        .line_after("dc-tiny: user-data done, ", ANSWER)
        .await?;
    assert_eq!(done, "result 0");
    let out = console.run("cat /tmp/out", ANSWER).await?;
    assert_eq!(out, "one two  three\nits word\nline 1\nline 2");

    let routes = console
        .run("ip route; ip -6 route; ip link show eth0", ANSWER)
        .await?;
    for wanted in [
        "default via 10.9.1.1",
        "default via fd00:9:1::1",
        "mtu 1400",
    ] {
        assert!(routes.contains(wanted), "{wanted} is missing in {routes}");
    }
    let page = console
        .run("wget -q -O - http://[fd00:9:1::2]:8080/", ANSWER)
        .await?;
    assert_eq!(page, "hostname: web-1\ndepartment: a01\ninstance: i-1");
    for port in [80, 8080, 5432, 7] {
        assert_eq!(
            console.probe(&format!("tcp 10.9.1.2 {port}")).await?,
            "open"
        );
    }
    assert_eq!(console.probe("tcp 10.9.1.2 81").await?, "refused");
    assert_eq!(console.probe("ping 10.9.1.77").await?, "timeout");
    let web = console.probe("http http://10.9.1.2/").await?;
    assert_eq!(web, "open: hostname: web-1");
    assert_eq!(
        console.run("echo hi | nc -w 2 10.9.1.2 7", ANSWER).await?,
        "hi"
    );

    let wrote = console
        .run("counter write /dev/vdc 12; counter check /dev/vdc", ANSWER)
        .await?;
    assert!(wrote.contains("counter wrote 11, done"), "{wrote}");
    assert!(wrote.ends_with("counter last=11 gaps=0"), "{wrote}");
    guest.power_off().await
}

#[tokio::test]
async fn the_tiny_image_without_a_seed_asks_by_dhcp() -> Result<()> {
    let image = built(GuestImage::Tiny)?;
    let mut guest = Guest::boot(&image, None, 128).await?;
    let console = &mut guest.console;
    console.wait_for("dc-tiny: no seed", BOOT).await?;
    let ready = console.line_after("dc-tiny: ready", BOOT).await?;
    assert!(ready.contains("eth0=10.0.2.15/24"), "{ready}");
    console.wait_for(PROMPT, ANSWER).await?;
    guest.power_off().await
}

#[tokio::test]
async fn the_debian_image_boots_from_bios() -> Result<()> {
    let image = built(GuestImage::Debian)?;
    let mut guest = Guest::boot(&image, None, 512).await?;
    // Boot loader, kernel, initramfs and the root file system have been found; all that comes after
    // is the same from UEFI.
    for line in ["Linux version", "Welcome to"] {
        guest.console.wait_for(line, BOOT).await?;
    }
    Ok(())
}
