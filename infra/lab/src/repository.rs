//! The BackupRepository of a lab: its departments can back up from the first minute on.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::backups::{LOGIN_SECRET, Server};
use crate::kubectl::Kubectl;
use crate::operator::RECOVERY_KEY;
use crate::simulated::FIELD_MANAGER;

/// Its name.
pub const NAME: &str = "main";

/// Where it lies.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    Server(&'a Server),
    /// Of simulated hosts, which keep it in memory.
    Memory,
}

/// Makes it, or puts it right. The chart has to be installed.
pub fn ensure(kubectl: &Kubectl, place: Place<'_>) -> Result<()> {
    kubectl.apply_text(&render(place)?.to_string(), FIELD_MANAGER)
}

fn render(place: Place<'_>) -> Result<Value> {
    let mut spec = json!({"recoveryKey": RECOVERY_KEY});
    match place {
        Place::Memory => spec["folder"] = json!({"path": "/backups"}),
        Place::Server(Server { url, ca }) => {
            let ca = fs::read_to_string(ca)
                .with_context(|| format!("cannot read the CA {}", ca.display()))?;
            spec["rest"] = json!({"url": url, "caBundle": ca, "loginSecret": LOGIN_SECRET});
        }
    }
    Ok(json!({
        "apiVersion": "dc.sonla.gov.vn/v1alpha1",
        "kind": "BackupRepository",
        "metadata": {"name": NAME},
        "spec": spec,
    }))
}
