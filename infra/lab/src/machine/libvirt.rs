//! libvirtd of a compute machine: its configuration, start, and end.
//!
//! Guests are children of nobody: QEMU runs detached, so libvirtd may be stopped, killed and
//! started again without touching them.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;

use super::{Machine, daemon_name};
use crate::console::{Console, Pty};
use crate::process::{self, Ensured};
use crate::progress;
use crate::wait::{self, Look};

const DAEMON: &str = "libvirtd";
const SOCKET: &str = "/run/libvirt/libvirt-sock";
/// A second on an idle machine; it asks QEMU for its capabilities the first time.
const DEADLINE: Duration = Duration::from_secs(60);

/// No security driver and no control groups: the lab's machines are namespaces, not hosts that
/// must be kept apart from hostile guests. No QEMU namespace of its own: it would hide the
/// machine's devices. Logs go to files, which saves a virtlogd per machine.
const QEMU_CONF: &str = "\
security_driver = \"none\"
user = \"root\"
group = \"root\"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = []
namespaces = []
stdio_handler = \"file\"
max_core = 0
";

pub(super) async fn ensure(machine: &Machine) -> Result<Ensured> {
    ensure_user(machine)?;
    write_configuration(machine)?;
    let spec = machine.daemon(DAEMON, "/usr/sbin/libvirtd").args([
        "--config",
        "/etc/libvirt/libvirtd.conf",
        "--pid-file",
        "/run/libvirtd.pid",
    ]);
    let ensured = process::ensure(machine.lab(), &spec)?;
    wait_until_it_answers(machine).await?;
    Ok(ensured)
}

/// libvirt's QEMU driver wants Debian's user for guests to exist, even where guests run as root.
/// The package that would make it also starts services of its own on this computer, so it is not
/// installed; the machine has an /etc of its own to have the user in.
fn ensure_user(machine: &Machine) -> Result<()> {
    const NAME: &str = "libvirt-qemu";
    /// The ids that Debian has allocated for it.
    const LINES: [(&str, &str); 2] = [
        (
            "/etc/passwd",
            "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
        ),
        ("/etc/group", "libvirt-qemu:x:64055:\n"),
    ];
    for (file, line) in LINES {
        let path = machine.path(file);
        let mut text = fs::read_to_string(&path)?;
        if !text
            .lines()
            .any(|line| line.split(':').next() == Some(NAME))
        {
            text.push_str(line);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn write_configuration(machine: &Machine) -> Result<()> {
    let dir = machine.path("/etc/libvirt");
    for folder in [&dir, &machine.path("/var/log/libvirt")] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    // Each host needs an identity: libvirt refuses to migrate between two with the same one.
    let host_uuid = Uuid::new_v5(&machine.lab().id(), machine.name().as_bytes());
    let libvirtd = format!(
        "unix_sock_dir = \"/run/libvirt\"\n\
         unix_sock_rw_perms = \"0700\"\n\
         auth_unix_rw = \"none\"\n\
         listen_tls = 0\n\
         listen_tcp = 0\n\
         host_uuid = \"{host_uuid}\"\n\
         log_outputs = \"3:stderr\"\n"
    );
    fs::write(dir.join("libvirtd.conf"), libvirtd)?;
    fs::write(dir.join("qemu.conf"), QEMU_CONF)?;
    Ok(())
}

async fn wait_until_it_answers(machine: &Machine) -> Result<()> {
    let name = daemon_name(machine.name(), DAEMON);
    wait::until(
        &format!("libvirt on {}", machine.name()),
        DEADLINE,
        async || {
            let mut virsh = machine.command_async("virsh");
            virsh
                .args(["--quiet", "--connect", "qemu:///system", "version"])
                .kill_on_drop(true);
            match virsh.output().await {
                Ok(output) if output.status.success() => Look::Holds(()),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                    match process::running(machine.lab(), &name) {
                        Ok(None) => Look::Never(anyhow::anyhow!(
                            "libvirtd has ended: {}",
                            process::tail(machine.lab(), &name)
                        )),
                        _ => Look::NotYet(said),
                    }
                }
                Err(error) => Look::Never(error.into()),
            }
        },
    )
    .await
}

pub(super) fn kill(machine: &Machine) -> Result<()> {
    process::kill(machine.lab(), &daemon_name(machine.name(), DAEMON))
}

pub(super) fn stop(machine: &Machine) -> Result<()> {
    process::stop(machine.lab(), &daemon_name(machine.name(), DAEMON))
}

pub(super) fn open_console(machine: &Machine, domain: &str) -> Result<Console<Pty>> {
    let mut ask = machine.command("virsh");
    ask.args([
        "--quiet",
        "--connect",
        "qemu:///system",
        "ttyconsole",
        domain,
    ]);
    let terminal = progress::run(&mut ask)?;
    let terminal = machine.path(terminal.trim());
    let pty =
        Pty::open(&terminal).with_context(|| format!("cannot open {}", terminal.display()))?;
    Ok(Console::new(pty))
}

pub(super) fn uri_from_outside(machine: &Machine) -> String {
    format!("qemu:///system?socket={}", machine.path(SOCKET).display())
}
