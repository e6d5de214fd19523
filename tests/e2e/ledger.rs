//! The ledger lost or put back to an older state, under running guests.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dc_lab::control_plane::http;
use dc_lab::operator::{self, Replica};
use dc_lab::progress;
use dc_lab::wait::{self, Look};
use serde_json::Value;

use crate::cast::{self, FINANCE, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::objects::{Wish, text};
use crate::{kills, ripe};

/// Made after the snapshot: the restored ledger has never heard of it.
const LATE: &str = "late";

pub fn restored(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let snapshot = centre.lab().folder().join("ledger-then.db");
        centre.plane.ledger().save_snapshot(&snapshot)?;
        centre.apply(vec![late().render()])?;
        ripe::ready(centre, "vm", HEALTH, LATE, DEADLINE).await?;
        lose_and_rebuild(centre, || centre.plane.ledger().restore_snapshot(&snapshot)).await?;
        centre.delete("vm", HEALTH, LATE)?;
        ripe::gone(centre, "vm", HEALTH, LATE, DEADLINE).await
    })
}

pub fn wiped(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(lose_and_rebuild(centre, || centre.plane.ledger().wipe()))
}

fn late() -> Wish {
    Wish::tiny(HEALTH, LATE, "internal")
}

async fn lose_and_rebuild(centre: &Centre, lose: impl Fn() -> Result<()>) -> Result<()> {
    let boots = cast::boots(centre).await?;
    let before = holdings(centre)?;
    let incarnation = incarnation(centre)?;

    lose()?;
    centre.plane.ledger().ensure().await?;
    let refused = wait::until(
        "the operator to refuse the ledger",
        DEADLINE,
        async || match readyz(centre).await {
            Err(error) => Look::Holds(format!("{error:#}")),
            Ok(()) => Look::NotYet("it says that it is ready".to_owned()),
        },
    )
    .await?;

    progress::note(format!("  refused: {refused}"));
    let said = progress::run(&mut rebuild(centre))?;
    progress::note(format!("  rebuilt: {}", said.trim()));
    operator::wait_ready(centre.lab(), Replica::First).await?;
    let now = self::incarnation(centre)?;
    ensure!(
        now > incarnation,
        "the incarnation was {incarnation} and is {now}"
    );
    for (department, name, _) in &before {
        ripe::ready(centre, "vm", department, name, DEADLINE).await?;
    }
    let after = holdings(centre)?;
    ensure!(
        before == after,
        "what machines hold changed: {before:#?} {after:#?}"
    );
    let boots_now = cast::boots(centre).await?;
    cast::assert_undisturbed(&boots, &boots_now, "the ledger's loss")?;
    kills::each_runs_once(centre)?;
    newcomer_takes_from_nobody(centre, now).await
}

/// A machine made after the loss gets an address that nobody has.
async fn newcomer_takes_from_nobody(centre: &Centre, incarnation: u64) -> Result<()> {
    const NAME: &str = "newcomer";
    centre.apply(vec![Wish::tiny(HEALTH, NAME, "internal").render()])?;
    let newcomer = ripe::ready(centre, "vm", HEALTH, NAME, DEADLINE).await?;
    let epoch = text(&newcomer, "/status/epoch").unwrap_or_default();
    ensure!(
        epoch.starts_with(&format!("{incarnation}.")),
        "its claim {epoch} is not of incarnation {incarnation}"
    );
    let mut seen = BTreeSet::new();
    for vm in centre.kubectl.list("virtualmachines.dc.sonla.gov.vn")? {
        let interfaces = vm.pointer("/status/interfaces").and_then(Value::as_array);
        for card in interfaces.into_iter().flatten() {
            let mac = text(card, "/mac").context("a card without a MAC")?;
            ensure!(seen.insert(mac.clone()), "{mac} is given twice");
            let department = text(&vm, "/metadata/namespace").unwrap_or_default();
            for family in ["/ipv4", "/ipv6"] {
                let address = text(card, family).context("a card without an address")?;
                let held = format!("{department} {address}");
                ensure!(seen.insert(held.clone()), "{held} is given twice");
            }
        }
    }
    centre.delete("vm", HEALTH, NAME)?;
    ripe::gone(centre, "vm", HEALTH, NAME, DEADLINE).await
}

async fn readyz(centre: &Centre) -> Result<()> {
    let url = format!("{}/readyz", Replica::First.http_url(centre.lab()));
    http::probe(&http::plain()?, &url).await
}

/// What every machine holds that a lost ledger must not change.
fn holdings(centre: &Centre) -> Result<Vec<(String, String, Value)>> {
    let mut held = Vec::new();
    for vm in centre.kubectl.list("virtualmachines.dc.sonla.gov.vn")? {
        let name = |field| text(&vm, field).unwrap_or_default();
        let holds: Vec<&Value> = ["/status/host", "/status/instanceId", "/status/interfaces"]
            .into_iter()
            .filter_map(|field| vm.pointer(field))
            .collect();
        held.push((
            name("/metadata/namespace"),
            name("/metadata/name"),
            serde_json::to_value(holds)?,
        ));
    }
    ensure!(
        !held.is_empty(),
        "there is no machine in {HEALTH} and {FINANCE}"
    );
    Ok(held)
}

/// Which ledger is the right one, as the operator keeps it outside of the ledger.
fn incarnation(centre: &Centre) -> Result<u64> {
    let record = centre.get("configmap", "dc-system", "dc-ledger")?;
    let incarnation = text(&record, "/data/incarnation").context("no incarnation is kept")?;
    incarnation.parse().context(incarnation)
}

/// The command of the administrator, with the administrator's rights.
fn rebuild(centre: &Centre) -> Command {
    let mut command = Command::new(&centre.programs.operator);
    command
        .args(["ledger", "rebuild", "--kubeconfig"])
        .arg(centre.plane.kubeconfig());
    command
}
