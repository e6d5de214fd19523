//! Machines of a lab, for real: namespaces, cables, libvirt, QEMU, the SAN's file system and tgtd.
//! Needs root and the packages of a lab.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dc_lab::address::Network;
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::images::{BuiltImage, GuestImage};
use dc_lab::inventory::HostRole;
use dc_lab::lab::{Lab, Owner};
use dc_lab::machine::{Machine, MachineSpec, inhabitants};
use dc_lab::process::{self, Identity};
use dc_lab::progress::run;
use dc_lab::wait::{self, Look};
use dc_lab::wires::{GATEWAY_V4, OUTSIDE_V4, Outside};
use dc_lab::{san, teardown};

const DEADLINE: Duration = Duration::from_secs(120);

/// A lab of this test alone, taken away also when the test fails.
struct TestLab(Lab);

impl TestLab {
    fn new(name: &str) -> Result<Self> {
        apt::ensure(Packages::All)?;
        let name = format!("b-{name}-{}", std::process::id()).parse()?;
        Ok(Self(Lab::open_or_create(
            &name,
            Owner::Test(Identity::own()?),
        )?))
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if self.0.folder().exists()
            && let Err(error) = teardown::remove(&self.0)
        {
            eprintln!("{error:#}");
        }
    }
}

fn compute() -> MachineSpec {
    MachineSpec::new("compute-1", 11, HostRole::Compute)
}

fn storage() -> MachineSpec {
    MachineSpec::new("storage-1", 21, HostRole::Storage)
}

fn gateway() -> MachineSpec {
    MachineSpec::new("gateway-1", 31, HostRole::Gateway)
}

/// What of this computer a lab could leave behind. Tests and labs beside this one may come and go,
/// so only what bears this lab's mark is compared.
fn traces(lab: &Lab) -> Result<BTreeSet<String>> {
    let mark = format!("dc{}-", lab.index());
    let folder = lab.folder().display().to_string();
    let about_us = |text: &str| text.contains(&mark) || text.contains(&folder);
    let mut found = BTreeSet::new();
    for (what, text) in [
        ("link", run(Command::new("ip").args(["-o", "link"]))?),
        (
            "namespace",
            run(Command::new("ip").args(["netns", "list"]))?,
        ),
        ("mount", fs::read_to_string("/proc/self/mounts")?),
        (
            "loop",
            run(Command::new("losetup").args(["--list", "--output", "NAME,BACK-FILE"]))?,
        ),
    ] {
        let lines = text.lines().filter(|line| about_us(line));
        found.extend(lines.map(|line| format!("{what} {line}")));
    }
    for process in teardown::processes_of(lab) {
        let line = fs::read_to_string(format!("/proc/{}/cmdline", process.pid));
        found.insert(format!(
            "process {}",
            line.unwrap_or_default().replace('\0', " ")
        ));
    }
    Ok(found)
}

fn inside(machine: &Machine, line: &str) -> Result<String> {
    Ok(run(machine.command("sh").args(["-c", line]))?
        .trim()
        .to_owned())
}

/// Starts the tiny image on a compute machine as a guest named `guest`, without the agent.
fn start_guest(machine: &Machine, image: &BuiltImage) -> Result<Identity> {
    let disk = machine.folder("test")?.join("guest.raw");
    fs::copy(&image.path, &disk)?;
    let xml = machine.folder("test")?.join("guest.xml");
    let domain = format!(
        "<domain type='qemu'><name>guest</name>\
         <uuid>0b9cbb9e-59f6-4b43-9d8e-0a7a5d1fd6d1</uuid><memory unit='MiB'>128</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64'>hvm</type></os><features><acpi/>\
         <tcg><tb-cache unit='MiB'>32</tb-cache></tcg></features><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/>\
         <source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <serial type='pty'><log file='/var/log/libvirt/guest.log'/></serial></devices></domain>",
        disk.display()
    );
    fs::write(&xml, domain)?;
    run(machine
        .command("virsh")
        .args(["--quiet", "define"])
        .arg(&xml))?;
    run(machine.command("virsh").args(["--quiet", "start", "guest"]))?;
    let pid = inside(machine, "cat /run/libvirt/qemu/guest.pid")?.parse()?;
    Identity::of(pid).context("QEMU has ended")
}

fn guest_state(machine: &Machine) -> Result<String> {
    inside(machine, "virsh --quiet domstate guest")
}

async fn guest_is_ready(machine: &Machine) -> Result<()> {
    wait::until("the guest's ready line", DEADLINE, async || {
        let log = machine.path("/var/log/libvirt/guest.log");
        match fs::read_to_string(log) {
            Ok(text) if text.contains("dc-tiny: ready") => Look::Holds(()),
            Ok(text) => Look::NotYet(text),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
    .await
}

#[tokio::test]
async fn machines_are_joined_do_their_part_and_leave_nothing() -> Result<()> {
    let lab = TestLab::new("join")?;
    let lab = &lab.0;
    let before = traces(lab)?;
    let compute = Machine::ensure(lab, &compute()).await?;
    let storage = Machine::ensure(lab, &storage()).await?;
    let gateway = Machine::ensure(lab, &gateway()).await?;

    // Each is a machine of its own.
    assert_eq!(
        inside(&compute, "hostname; cat /etc/hostname")?,
        "compute-1\ncompute-1"
    );
    let ids = |what: &str| -> Result<BTreeSet<String>> {
        [&compute, &storage, &gateway]
            .iter()
            .map(|m| inside(m, &format!("cat {what}")))
            .collect()
    };
    assert_eq!(ids("/etc/machine-id")?.len(), 3);
    assert_eq!(ids("/proc/sys/kernel/random/boot_id")?.len(), 3);
    let links = inside(&compute, "ls /sys/class/net | tr '\\n' ' '")?;
    assert_eq!(links, "lo mgmt overlay storage");
    assert_eq!(
        inside(&compute, "cat /proc/sys/net/bridge/bridge-nf-call-iptables")?,
        "0"
    );

    // The three networks join them, the overlay with room for VXLAN; management reaches us.
    for network in Network::ALL {
        inside(
            &compute,
            &format!("ping -c 1 -W 5 {}", storage.address(network)),
        )?;
    }
    inside(
        &compute,
        &format!(
            "ping -c 1 -W 5 -M do -s 1572 {}",
            gateway.address(Network::Overlay)
        ),
    )?;
    let address = compute.address(Network::Management).to_string();
    run(Command::new("ping").args(["-c", "1", "-W", "5", &address]))?;

    // Compute: libvirt. Storage: reflinks and an empty tgtd that compute can reach.
    assert_eq!(inside(&compute, "virsh --quiet list --all")?, "");
    inside(
        &compute,
        "virsh domcapabilities --virttype qemu --machine pc-q35-7.2",
    )?;
    let pool = san::pool_folder(lab, "storage-1");
    let clone = format!(
        "cd {} && echo x >a && cp --reflink=always a b && cat b",
        pool.display()
    );
    assert_eq!(inside(&storage, &clone)?, "x");
    assert!(
        !pool.join("a").exists(),
        "the pool is mounted in its machine alone"
    );
    assert_eq!(
        inside(&storage, "tgtadm --lld iscsi --op show --mode target")?,
        ""
    );
    let portal = storage.address(Network::Storage);
    inside(&compute, &format!("busybox nc -w 5 {portal} 3260 -e true"))?;

    // Gateway: a way out.
    let outside = Outside::ensure(lab)?;
    outside.ensure_web_server()?;
    inside(
        &gateway,
        &format!("ip address add {GATEWAY_V4}/24 dev ext && ip link set ext up"),
    )?;
    wait::until("the outside to answer", DEADLINE, async || {
        Look::from_attempt(inside(
            &gateway,
            &format!("busybox wget -q -O - http://{OUTSIDE_V4}/"),
        ))
    })
    .await?;
    run(outside
        .command("ping")
        .args(["-c", "1", "-W", "5", &GATEWAY_V4.to_string()]))?;

    // A second time changes nothing.
    let again = Machine::ensure(lab, compute.spec()).await?;
    assert_eq!(again.pid(), compute.pid());

    let inhabitants = [&compute, &storage, &gateway]
        .map(Machine::inhabitants)
        .concat();
    for machine in [compute, storage, gateway] {
        machine.stop().await?;
    }
    assert!(inhabitants.iter().all(|process| !process.is_alive()));
    let left: Vec<_> = traces(lab)?
        .into_iter()
        .filter(|line| line.starts_with("loop"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    teardown::remove(lab)?;
    assert_eq!(traces(lab)?, before);
    assert!(!lab.folder().exists());
    Ok(())
}

#[tokio::test]
async fn a_guest_outlives_libvirtd_and_ends_with_the_power() -> Result<()> {
    let image = GuestImage::Tiny.ensure(&Cache::from_env()?)?;
    let lab = TestLab::new("guest")?;
    let machine = Machine::ensure(&lab.0, &compute()).await?;
    let boot_id = inside(&machine, "cat /proc/sys/kernel/random/boot_id")?;
    let qemu = start_guest(&machine, &image)?;
    guest_is_ready(&machine).await?;
    assert!(machine.inhabitants().contains(&qemu));
    let mut console = machine.guest_console("guest")?;
    console.find_shell(DEADLINE).await?;
    assert_eq!(console.probe("tcp 127.0.0.1 80").await?, "open");

    machine.stop_libvirtd()?;
    machine.ensure_libvirtd().await?;
    assert_eq!(guest_state(&machine)?, "running");
    machine.kill_libvirtd()?;
    machine.ensure_libvirtd().await?;
    assert_eq!(guest_state(&machine)?, "running");
    assert!(qemu.is_alive());

    run(machine
        .command("touch")
        .args(["/run/volatile", "/var/lib/kept"]))?;
    let spec = machine.power_cut()?;
    assert!(!qemu.is_alive());
    assert_eq!(inhabitants::of_machine(&lab.0, "compute-1"), []);
    assert!(Machine::find(&lab.0, &spec)?.is_none());

    let machine = Machine::ensure(&lab.0, &spec).await?;
    assert_eq!(
        guest_state(&machine)?,
        "shut off",
        "the domain is defined, and not running"
    );
    assert_eq!(
        inside(&machine, "ls /run/volatile /var/lib/kept 2>/dev/null; true")?,
        "/var/lib/kept"
    );
    assert_ne!(
        inside(&machine, "cat /proc/sys/kernel/random/boot_id")?,
        boot_id
    );
    assert_eq!(
        fs::metadata("/var/lib/kept").ok().map(|_| ()),
        None,
        "our own /var is untouched"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_crash_left_of_a_machine_is_found_and_taken_away() -> Result<()> {
    let image = GuestImage::Tiny.ensure(&Cache::from_env()?)?;
    let lab = TestLab::new("crash")?;
    let before = traces(&lab.0)?;
    let machine = Machine::ensure(&lab.0, &compute()).await?;
    let storage = Machine::ensure(&lab.0, &storage()).await?;
    let qemu = start_guest(&machine, &image)?;

    // The machine's own process and libvirtd die; the guest alone is left, with no record of it.
    let holder = Identity::of(machine.pid()).context("no holder")?;
    machine.kill_libvirtd()?;
    process::stop_identity(holder, Duration::ZERO)?;
    ensure!(qemu.is_alive(), "the guest should have outlived the others");
    assert_eq!(machine.inhabitants(), [qemu]);

    // A new life of the machine does not share it with the old one.
    let machine = Machine::ensure(&lab.0, &compute()).await?;
    assert!(!qemu.is_alive());
    let qemu = start_guest(&machine, &image)?;
    machine.kill_libvirtd()?;
    process::stop_identity(
        Identity::of(machine.pid()).context("no holder")?,
        Duration::ZERO,
    )?;

    let storage_holder = Identity::of(storage.pid()).context("no holder")?;
    process::stop_identity(storage_holder, Duration::ZERO)?;
    teardown::remove(&lab.0)?;
    assert!(!qemu.is_alive());
    assert_eq!(traces(&lab.0)?, before);
    Ok(())
}

#[tokio::test]
async fn the_pool_survives_a_power_cut_and_tgtd_comes_back_empty() -> Result<()> {
    let lab = TestLab::new("san")?;
    let machine = Machine::ensure(&lab.0, &storage()).await?;
    let pool = san::pool_folder(&lab.0, "storage-1").display().to_string();
    inside(
        &machine,
        &format!("echo kept >{pool}/file && truncate -s 1350G {pool}/land && sync"),
    )?;
    let target = "tgtadm --lld iscsi --op new --mode target --tid 1 -T iqn.2026-11.test:t";
    inside(&machine, target)?;

    machine.kill_tgtd()?;
    machine.ensure_tgtd().await?;
    assert_eq!(
        inside(&machine, "tgtadm --lld iscsi --op show --mode target")?,
        ""
    );

    let spec = machine.power_cut()?;
    let machine = Machine::ensure(&lab.0, &spec).await?;
    assert_eq!(inside(&machine, &format!("cat {pool}/file"))?, "kept");
    machine.stop().await
}
