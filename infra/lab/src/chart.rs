//! Our chart in a cluster: installed, and its kinds really served.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::control_plane::ControlPlane;
use crate::helm;
use crate::kubectl::Kubectl;
use crate::lab::work_tree;
use crate::toolbox::Tool;
use crate::wait::{self, Look};

/// Where the operator and its service account live.
pub const NAMESPACE: &str = "dc-system";
/// The kinds of the chart, as (apiVersion's) kinds.
const KINDS: [&str; 17] = [
    "Department",
    "Host",
    "Zone",
    "StoragePool",
    "Image",
    "MachineClass",
    "InformationSystem",
    "Subnet",
    "Volume",
    "VirtualMachine",
    "RequestPolicy",
    "ResourceRequest",
    "Approval",
    "BackupRepository",
    "BackupPolicy",
    "Backup",
    "Restore",
];
const SERVED_DEADLINE: Duration = Duration::from_secs(120);

/// Installs or updates the chart; the operator runs as a process of the lab, not as a pod.
pub async fn ensure(plane: &ControlPlane) -> Result<()> {
    let kubectl = plane.kubectl()?;
    let chart: PathBuf = work_tree().join("charts/datacenter");
    let release = helm::Release {
        name: "datacenter",
        namespace: NAMESPACE,
        chart: &chart,
        values: &[("operator.deploy", "false"), ("api.deploy", "false")],
    };
    helm::ensure(
        plane.tools().path(Tool::Helm)?,
        &kubectl,
        plane.lab(),
        &release,
    )?;
    for kind in KINDS {
        served(&kubectl, kind).await?;
    }
    Ok(())
}

/// A definition is Established before its kind can be written: server-side apply and the policies
/// learn of it a little later, and refuse it until then. So a write is tried that changes nothing.
async fn served(kubectl: &Kubectl, kind: &str) -> Result<()> {
    let object = format!(
        r#"{{"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": "{kind}", "metadata": {{"name": "served"}}}}"#
    );
    wait::until(
        &format!("kind {kind} to be served"),
        SERVED_DEADLINE,
        async || match kubectl.dry_run(&object) {
            Err(error) if !is_judged(&error) => Look::NotYet(format!("{error:#}")),
            Ok(()) | Err(_) => Look::Holds(()),
        },
    )
    .await
}

/// Whether the API server has judged the object itself: such an answer names what is wrong with it.
fn is_judged(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("is invalid") || text.contains("is forbidden: ValidatingAdmissionPolicy")
}
