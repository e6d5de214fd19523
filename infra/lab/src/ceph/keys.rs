//! The cluster's identity and its keyrings. Keys go from file to file, never by arguments.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use super::{AGENT_USER, Ceph, exists};
use crate::cache::write_whole;
use crate::progress;

pub(super) const MONITOR_KEYRING: &str = "monitor.keyring";
const ADMIN_KEYRING: &str = "client.admin.keyring";

/// The cluster's id, made once.
pub(super) fn ensure_identity(ceph: &Ceph) -> Result<Uuid> {
    let path = ceph.file("cluster-id");
    if !exists(&path)? {
        write_whole(&path, Uuid::new_v4().to_string().as_bytes())?;
    }
    let text = fs::read_to_string(&path)?;
    text.trim()
        .parse()
        .with_context(|| format!("{} is damaged", path.display()))
}

/// The keys that a cluster begins with: the monitor's own, and the administrator's in it.
pub(super) fn ensure_first(ceph: &Ceph) -> Result<()> {
    let (monitor, admin) = (ceph.file(MONITOR_KEYRING), ceph.file(ADMIN_KEYRING));
    if exists(&monitor)? {
        return Ok(());
    }
    let everything = ["mon", "osd", "mgr"].map(|part| ["--cap", part, "allow *"]);
    generate(&admin, "client.admin", everything.as_flattened())?;
    let beside = monitor.with_extension("making");
    generate(&beside, "mon.", &["--cap", "mon", "allow *"])?;
    let mut import = Command::new("ceph-authtool");
    progress::run(import.arg(&beside).arg("--import-keyring").arg(&admin))?;
    fs::rename(&beside, &monitor).context("cannot keep the monitor's keyring")
}

fn generate(keyring: &Path, name: &str, caps: &[&str]) -> Result<()> {
    let mut command = Command::new("ceph-authtool");
    command.arg("--create-keyring").arg(keyring);
    command.args(["--gen-key", "--name", name]).args(caps);
    progress::run(&mut command).map(drop)
}

/// The keyring of a daemon or user, made by the monitor if need be, and kept in the folder under
/// the name that the configuration gives it.
pub(super) fn ensure_user(ceph: &Ceph, name: &str, caps: &[&str]) -> Result<()> {
    let mut command = ceph.command("ceph");
    command.args(["--connect-timeout", "60", "auth", "get-or-create", name]);
    let keyring = progress::run(command.args(caps))?;
    write_whole(&ceph.file(&format!("{name}.keyring")), keyring.as_bytes())
}

/// What the agent's work takes: it makes users for grants, blocks clients, and asks each OSD how far
/// it is. Whoever may make users may do anything: that is why the keyring stays on the storage host.
pub(super) fn ensure_agent(ceph: &Ceph) -> Result<()> {
    let caps = ["mon", "allow *", "mgr", "allow r", "osd", "allow *"];
    ensure_user(ceph, &format!("client.{AGENT_USER}"), &caps)
}

/// Makes the OSD known to the monitor, and its keyring. Told again, it is the same OSD.
pub(super) fn ensure_osd(ceph: &Ceph) -> Result<OsdIdentity> {
    let file = ceph.file("osd-id");
    if !exists(&file)? {
        write_whole(&file, Uuid::new_v4().to_string().as_bytes())?;
    }
    let uuid: Uuid = fs::read_to_string(&file)?.trim().parse()?;
    let secret = ceph.file("osd-secret.json");
    if !exists(&secret)? {
        let key = progress::run(Command::new("ceph-authtool").arg("--gen-print-key"))?;
        let text = serde_json::json!({ "cephx_secret": key.trim() });
        write_whole(&secret, text.to_string().as_bytes())?;
    }
    let mut command = ceph.command("ceph");
    command.args(["osd", "new", &uuid.to_string(), "-i"]);
    let said = progress::run(command.arg(&secret))?;
    let number: u32 = said
        .trim()
        .parse()
        .with_context(|| format!("the monitor numbers the OSD {said:?}"))?;
    write_osd_keyring(ceph, number, &fs::read(&secret)?)?;
    Ok(OsdIdentity { number, uuid })
}

pub(super) struct OsdIdentity {
    pub number: u32,
    pub uuid: Uuid,
}

fn write_osd_keyring(ceph: &Ceph, number: u32, secret: &[u8]) -> Result<()> {
    let secret: serde_json::Value = serde_json::from_slice(secret)?;
    let Some(key) = secret["cephx_secret"].as_str() else {
        bail!("the secret of the OSD is damaged");
    };
    let text = format!("[osd.{number}]\n\tkey = {key}\n");
    write_whole(
        &ceph.file(&format!("osd.{number}.keyring")),
        text.as_bytes(),
    )
}

/// Runs what makes a daemon's data, with nothing to read.
pub(super) fn run_quietly(command: &mut Command) -> Result<()> {
    progress::run(command.stdin(Stdio::null())).map(drop)
}
