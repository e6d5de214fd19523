//! Simulated hosts: the real agent over fakes, all of them in one process.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::address::Port;
use crate::control_plane::{ControlPlane, http, look_alive};
use crate::images::GuestImage;
use crate::inventory::{self, ImageEntry, Size, Storage};
use crate::join;
use crate::kubectl::Kubectl;
use crate::lab::Lab;
use crate::process::{self, Ensured, Restart, Spec};
use crate::wait;

pub const PROCESS: &str = "simulated-agents";

/// Who applies the lab's own objects, to server-side apply.
pub const FIELD_MANAGER: &str = "lab";

const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Where `/metrics` of all simulated agents is.
pub fn http_url(lab: &Lab) -> String {
    format!("http://{}", lab.addresses().loopback(Port::SimulatedAgents))
}

/// Makes the Host objects and runs an agent for each. The operator has to be running.
pub async fn ensure(plane: &ControlPlane, agent: &Path, size: Size) -> Result<Ensured> {
    let lab = plane.lab();
    let kubectl = plane.kubectl()?;
    let hosts = size.hosts();
    kubectl.apply_text(
        &inventory::render_hosts(&hosts, Storage::Iscsi).to_string(),
        FIELD_MANAGER,
    )?;
    let joins = lab.subfolder("joins")?;
    let names: Vec<String> = hosts.into_iter().map(|host| host.name).collect();
    join::fetch(&kubectl, &names, &joins).await?;
    let state = lab.subfolder("simulated")?;
    let pools = size.pools().into_iter().flat_map(|pool| ["--pool", pool]);
    let spec = Spec::new(PROCESS, agent)
        .arg("simulate")
        .args(["--joins".to_owned(), joins.display().to_string()])
        .args(["--state".to_owned(), state.display().to_string()])
        .args([
            "--http".to_owned(),
            lab.addresses().loopback(Port::SimulatedAgents).to_string(),
        ])
        // The agents read the folder when they start.
        .depends_on(names)
        .args(pools)
        .restart(Restart::Always);
    let ensured = process::ensure(lab, &spec)?;
    wait_ready(lab).await?;
    Ok(ensured)
}

/// Images under the names that the province's manifests use. The fakes fetch nothing and believe
/// any checksum.
pub fn ensure_images(kubectl: &Kubectl, size: Size) -> Result<()> {
    let images = GuestImage::ALL.map(|image| {
        let entry = ImageEntry {
            name: image.name().to_owned(),
            file: format!("{}.{}", image.name(), image.format().name()),
            sha256: "0".repeat(64),
            format: image.format(),
        };
        inventory::render_image(&entry, &size.pools())
    });
    kubectl.apply_text(&inventory::list(images.into()).to_string(), FIELD_MANAGER)
}

async fn wait_ready(lab: &Lab) -> Result<()> {
    let client = http::plain()?;
    let healthz = format!("{}/healthz", http_url(lab));
    wait::until(
        "the simulated agents to answer",
        READY_DEADLINE,
        async || look_alive(lab, PROCESS, async || http::probe(&client, &healthz).await).await,
    )
    .await
}
