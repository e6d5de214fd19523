//! A backup of a real guest, tried: a copy of it boots without a network, and shows that it has come
//! up; a damaged one does not, and the proof says what is damaged.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use dc_lab::backups;
use dc_lab::repository::{self, Place};
use dc_lab::wait::{self, Look};
use serde_json::{Value, json};

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::objects::text;
use crate::ripe;

const MACHINE: &str = "y-app-2";
const BACKUP: &str = "tried";
/// What the guest says when it is up.
const UP: &str = "dc-tiny: ready";

pub fn a_copy_boots(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let storage = centre.storage()?;
        let server = backups::ensure(storage, &[HEALTH.to_owned()]).await?;
        backups::ensure_secret(centre.lab(), &centre.kubectl)?;
        repository::ensure(&centre.kubectl, Place::Server(&server))?;
        apply(
            centre,
            "Backup",
            BACKUP,
            json!({"vm": MACHINE, "repository": repository::NAME}),
        )?;
        let backup = ripe::ready(centre, "backup", HEALTH, BACKUP, DEADLINE).await?;

        reaches_nothing(centre).await?;
        let proven = prove(centre, "shown", UP, "Proven").await?;
        sums_are_restics(centre, &backup, &proven)?;
        verified(centre, "shown")?;
        let told = ripe::object(
            centre,
            "backup",
            HEALTH,
            BACKUP,
            "to be proven",
            DEADLINE,
            |b| text(b, "/status/provenBy").as_deref() == Some("shown"),
        );
        told.await?;

        let pack = damage(&backups::folder(storage)?.join(HEALTH).join("data"))?;
        let failed = prove(centre, "damaged", UP, "Failed").await?;
        let verdict = &failed["status"]["evidence"];
        ensure!(verdict["reason"] == "RepositoryDamaged", "{verdict}");
        let message = text(verdict, "/message").unwrap_or_default();
        ensure!(message.contains(&pack), "{message} does not name {pack}");
        verified(centre, "damaged")?;

        centre.delete("backup", HEALTH, BACKUP)?;
        ripe::gone(centre, "backup", HEALTH, BACKUP, DEADLINE).await?;
        for proof in ["shown", "damaged"] {
            centre.delete("restoreproof", HEALTH, proof)?;
            ripe::gone(centre, "restoreproof", HEALTH, proof, DEADLINE).await?;
        }
        centre
            .kubectl
            .run(&["delete", "backuprepository", repository::NAME])?;
        ripe::ready(centre, "vm", HEALTH, MACHINE, DEADLINE)
            .await
            .map(drop)
    })
}

fn apply(centre: &Centre, kind: &str, name: &str, spec: Value) -> Result<()> {
    centre.apply(vec![json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": HEALTH}, "spec": spec,
    })])
}

async fn prove(centre: &Centre, name: &str, console: &str, state: &str) -> Result<Value> {
    let spec = json!({"backup": BACKUP, "probes": {"console": console}});
    apply(centre, "RestoreProof", name, spec)?;
    let what = format!("to be {state}");
    let is = |proof: &Value| text(proof, "/status/state").as_deref() == Some(state);
    ripe::object(centre, "restoreproof", HEALTH, name, &what, DEADLINE, is).await
}

/// One that waits for what never comes is looked at while it runs, and goes with its proof.
async fn reaches_nothing(centre: &Centre) -> Result<()> {
    let held = prove(centre, "held", "nothing shows this", "Probing").await?;
    let sandbox = text(&held, "/status/trial/sandbox").context("it has no sandbox")?;
    let namespace = dc_lab::operator::NAMESPACE;
    let vm = centre.get("vm", namespace, &sandbox)?;
    ensure!(vm["spec"]["interfaces"] == json!([]), "{vm}");
    let host = text(&vm, "/status/host").context("it is on no host")?;
    let id = text(&vm, "/metadata/uid").context("it has no uid")?;
    let log = centre.machine(&host)?.folder("agent")?;
    let log = log.join("state/consoles").join(format!("{id}.log"));
    let line = wait::until("the copy to come up", DEADLINE, async || {
        let said = fs::read(&log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        match said.lines().find(|line| line.contains(UP)) {
            Some(line) => Look::Holds(line.to_owned()),
            None => Look::NotYet(said),
        }
    })
    .await?;
    ensure!(!line.contains("eth") && !line.contains("10."), "{line}");
    ensure!(line.contains("vda="), "{line}");
    centre.delete("restoreproof", HEALTH, "held")?;
    ripe::gone(centre, "restoreproof", HEALTH, "held", DEADLINE).await?;
    ensure!(centre.find("vm", namespace, &sandbox)?.is_none());
    ensure!(
        centre
            .find("volume", namespace, &format!("{sandbox}-0"))?
            .is_none()
    );
    ensure!(!log.exists(), "{} is left", log.display());
    Ok(())
}

/// What the evidence says of the bytes, stock restic says as well.
fn sums_are_restics(centre: &Centre, backup: &Value, proven: &Value) -> Result<()> {
    let id = text(backup, "/status/snapshotId").context("it has no snapshot")?;
    let volume = &proven["status"]["evidence"]["trial"]["volumes"][0];
    let file = text(volume, "/file").context("it has no file")?;
    let said = text(volume, "/sha256").context("it was not compared")?;
    let key = centre.lab().folder().join("recovery-keys/lab");
    let mut password = Command::new(&centre.programs.operator);
    password
        .args(["recovery-key", "password", "--key"])
        .arg(key);
    password.args(["--repository", repository::NAME, "--department", HEALTH]);
    let place = backups::folder(centre.storage()?)?.join(HEALTH);
    let script = "set -o pipefail; restic --no-cache --no-lock dump \"$1\" \"/$2\" | sha256sum";
    let mut restic = Command::new("bash");
    restic.args(["-c", script, "restic", &id, &file]);
    restic.env("RESTIC_REPOSITORY", place);
    restic.env("RESTIC_PASSWORD", run(&mut password)?.trim());
    let found = run(&mut restic)?;
    ensure!(
        found.split_whitespace().next() == Some(&*said),
        "{found} is not {said}"
    );
    Ok(())
}

fn verified(centre: &Centre, proof: &str) -> Result<()> {
    let mut verify = Command::new(&centre.programs.operator);
    verify.args(["certificate", "verify", &format!("{HEALTH}/{proof}")]);
    verify.arg("--kubeconfig").arg(centre.plane.kubeconfig());
    verify.args(["--namespace", dc_lab::operator::NAMESPACE]);
    let said = run(&mut verify)?;
    ensure!(said.contains("is what the operator signed"), "{said}");
    Ok(())
}

fn run(command: &mut Command) -> Result<String> {
    let done = command.output()?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    if !done.status.success() {
        let error = String::from_utf8_lossy(&done.stderr);
        bail!(
            "{:?}: {}: {said}{error}",
            command.get_program(),
            done.status
        );
    }
    Ok(said)
}

/// Changes a byte of the largest pack; answers with its name.
fn damage(data: &Path) -> Result<String> {
    let mut packs: Vec<(u64, PathBuf)> = Vec::new();
    for folder in fs::read_dir(data)? {
        for pack in fs::read_dir(folder?.path())? {
            let pack = pack?;
            packs.push((pack.metadata()?.len(), pack.path()));
        }
    }
    let (length, largest) = packs.into_iter().max().context("there are no packs")?;
    // The server makes its files read-only; root writes them all the same.
    let pack = File::options().read(true).write(true).open(&largest)?;
    let mut byte = [0];
    pack.read_exact_at(&mut byte, length / 2)?;
    pack.write_all_at(&[byte[0] ^ 1], length / 2)?;
    let name = largest.file_name().context("a pack has a name")?;
    Ok(name.to_string_lossy().into_owned())
}
