//! A guest's life by its object: stopped, started, restarted.

use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::cast::{self, HEALTH};
use crate::centre::{Centre, DEADLINE};
use crate::guest::{Guest, started_at};
use crate::objects::text;
use crate::ripe;

const NAME: &str = "y-app-2";

pub fn stop_start_restart(centre: &Arc<Centre>) -> Result<()> {
    cast::ensure(centre)?;
    centre.block_on(async {
        let first = Guest::open(centre, HEALTH, NAME).await?.boot().await?;
        let was = centre.get("vm", HEALTH, NAME)?;

        centre.patch("vm", HEALTH, NAME, &json!({ "powerState": "Stopped" }))?;
        let stopped = ripe::state(centre, HEALTH, NAME, "Stopped", DEADLINE).await?;
        let how = text(&stopped, "/status/lastStop");
        ensure!(how.as_deref() == Some("Clean"), "it was stopped: {how:?}");

        centre.patch("vm", HEALTH, NAME, &json!({ "powerState": "Running" }))?;
        ripe::ready(centre, "vm", HEALTH, NAME, DEADLINE).await?;
        let mut guest = Guest::open(centre, HEALTH, NAME).await?;
        let second = guest.boot().await?;
        ensure!(first.id != second.id, "it was not started anew: {second:?}");
        let now = centre.get("vm", HEALTH, NAME)?;
        for kept in [
            "/status/instanceId",
            "/status/interfaces",
            "/status/machineType",
        ] {
            ensure!(
                was.pointer(kept) == now.pointer(kept),
                "{kept} changed by a stop: {was}, {now}"
            );
        }
        // Its console ends with it.
        drop(guest);

        let started = started_at(&now);
        centre.patch("vm", HEALTH, NAME, &json!({ "restart": "because of e2e" }))?;
        let again = "to have been restarted";
        ripe::object(centre, "vm", HEALTH, NAME, again, DEADLINE, |vm| {
            dc_lab::status::condition(vm, "Ready") == Some("True") && started_at(vm) != started
        })
        .await?;
        let third = Guest::open(centre, HEALTH, NAME).await?.boot().await?;
        ensure!(second.id != third.id, "it was not restarted: {third:?}");
        Ok(())
    })
}
