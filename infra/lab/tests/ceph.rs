//! A real Ceph on a storage machine. Needs root and the packages of a lab with Ceph.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use dc_lab::apt::{self, Packages};
use dc_lab::ceph::{AGENT_USER, Ceph, CephSpec, Daemon, POOL};
use dc_lab::inventory::HostRole;
use dc_lab::lab::{Lab, Owner};
use dc_lab::machine::{Machine, MachineSpec};
use dc_lab::process::Identity;
use dc_lab::progress::run;
use dc_lab::{remains, teardown};

/// A lab of this test alone, taken away also when the test fails.
struct TestLab(Lab);

impl TestLab {
    fn new(name: &str) -> Result<Self> {
        apt::ensure(Packages::AllWithCeph)?;
        let name = format!("b-{name}-{}", std::process::id()).parse()?;
        let owner = Owner::Test(Identity::own()?);
        Ok(Self(Lab::open_or_create(&name, owner)?))
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

async fn machine(lab: &Lab) -> Result<Machine> {
    let spec = MachineSpec::new("storage-1", 21, HostRole::Storage);
    Machine::ensure(lab, &spec).await
}

/// As the agent's user, so that what it may do is tried too.
fn rbd(ceph: &Ceph, line: &str) -> Result<String> {
    let mut command = ceph.command("rbd");
    command.args(["--id", AGENT_USER]);
    Ok(run(command.args(line.split(' ')))?.trim().to_owned())
}

fn io(ceph: &Ceph, line: &str) -> Result<String> {
    let mut command = ceph.command("qemu-io");
    let conf = ceph.configuration();
    let image = format!("rbd:{POOL}/one:id={AGENT_USER}:conf={}", conf.display());
    run(command.args(["-f", "raw", "-c", line, &image]))
}

#[tokio::test]
async fn a_cluster_keeps_its_data_over_restarts_and_a_power_cut_and_leaves_nothing() -> Result<()> {
    let lab = TestLab::new("ceph")?;
    let spec = CephSpec { size_gib: 20 };
    let machine = machine(&lab.0).await?;
    assert!(Ceph::find(&machine)?.is_none());
    let ceph = Ceph::ensure(&machine, &spec).await?;
    rbd(&ceph, &format!("create {POOL}/one --size 64M"))?;
    io(&ceph, "write -P 7 0 8M")?;
    let health = ceph.ask(&["health"])?;
    ensure!(health["status"] == "HEALTH_OK", "{health}");

    // A second time changes nothing, and nothing of it is in the computer's own /etc.
    let before = machine.inhabitants();
    Ceph::ensure(&machine, &spec).await?;
    assert_eq!(machine.inhabitants(), before);
    assert!(!std::path::Path::new("/etc/ceph/ceph.conf").exists());

    // Each daemon dies and comes back.
    for daemon in [Daemon::Osd, Daemon::Manager, Daemon::Monitor] {
        ceph.kill_daemon(daemon)?;
        ceph.ensure_daemon(daemon).await?;
        io(&ceph, "read -P 7 0 8M")?;
    }

    let spec_of_machine = machine.power_cut()?;
    let machine = Machine::ensure(&lab.0, &spec_of_machine).await?;
    let ceph = Ceph::ensure(&machine, &spec).await?;
    assert!(io(&ceph, "read -P 7 0 8M")?.contains("read 8388608"));
    let found = Ceph::find(&machine)?.context("it is up")?;
    assert_eq!(rbd(&found, &format!("ls {POOL}"))?, "one");

    // Stopped in order, and started again.
    machine.stop().await?;
    let machine = Machine::ensure(&lab.0, &spec_of_machine).await?;
    let ceph = Ceph::ensure(&machine, &spec).await?;
    io(&ceph, "read -P 7 0 8M")?;

    // No key is in any process's arguments.
    let key = run(ceph
        .command("ceph")
        .args(["auth", "get-key", "client.admin"]))?;
    let arguments = run(Command::new("ps").args(["-eo", "args"]))?;
    assert!(!arguments.contains(key.trim()), "the key is shown");

    teardown::remove(&lab.0)?;
    assert_eq!(remains::find(&lab.0)?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn what_was_cut_off_while_it_was_made_is_made_again() -> Result<()> {
    let lab = TestLab::new("ceph-cut")?;
    let spec = CephSpec { size_gib: 20 };
    let machine = machine(&lab.0).await?;
    // As a crash leaves it: data that nobody finished.
    let folder = machine.folder("ceph")?;
    for half in ["monitor", "osd"] {
        std::fs::create_dir_all(folder.join(half))?;
        std::fs::write(folder.join(half).join("keyring"), "half")?;
    }
    let ceph = Ceph::ensure(&machine, &spec).await?;
    rbd(&ceph, &format!("create {POOL}/one --size 1M"))?;
    // The lab's own end, with nothing stopped before it.
    teardown::remove(&lab.0)?;
    assert_eq!(remains::find(&lab.0)?, Vec::<String>::new());
    Ok(())
}
