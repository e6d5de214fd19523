//! `cargo xtask up`: from a fresh machine to running guests.
//!
//! Each step looks at what is there and does what is missing, so the command may be run twice, or
//! again after it was interrupted anywhere, and ends in the same state.

use anyhow::{Context, Result, bail};
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::cargo::{self, Programs};
use dc_lab::control_plane::{ControlPlane, Durability};
use dc_lab::images::{BuiltImage, GuestImage};
use dc_lab::inventory::{HostRole, Size};
use dc_lab::lab::{Lab, Owner};
use dc_lab::machine::Machine;
use dc_lab::operator::{self, Agents, Replica};
use dc_lab::process::Ensured;
use dc_lab::progress;
use dc_lab::toolbox::{Tool, Toolbox};
use dc_lab::{api, backups, chart, dex, machines, repository, simulated};

use crate::state::State;
use crate::{Hosts, Storage, UpArgs, manifests, status};

pub async fn run(args: &UpArgs) -> Result<()> {
    if args.hosts == Hosts::Fake && args.storage == Storage::Rbd {
        bail!("simulated hosts have a storage of their own: leave --storage out");
    }
    if !nix_is_root() {
        bail!("the lab makes namespaces, mounts and bridges: run this as root");
    }
    let lab = Lab::open_or_create(&args.name.name, Owner::Person)?;
    let _lock = lab.lock()?;
    let mut state = State::for_up(&lab, args)?;
    state.write(&lab)?;

    apt::ensure(match (args.hosts, args.storage) {
        (Hosts::Real, Storage::Iscsi) => Packages::All,
        (Hosts::Real, Storage::Rbd) => Packages::AllWithCeph,
        (Hosts::Fake, _) => Packages::Core,
    })?;
    build_tools(&state)?;
    let programs = build_programs()?;
    let images = build_images(args.hosts)?;
    let plane = start_control_plane(&lab, &mut state).await?;
    install_chart(&plane).await?;
    start_operator(&plane, &programs, args.hosts).await?;
    start_api(&plane, &programs).await?;
    match args.hosts {
        Hosts::Real => {
            let (size, storage) = (Size::MACHINES, args.storage.of_lab());
            let machines = machines::ensure(&plane, &programs, size, storage, &images).await?;
            start_backups(&plane, &machines).await?;
        }
        Hosts::Fake => start_simulated(&plane, &programs).await?,
    }
    manifests::apply(&plane.kubectl()?, args.wave)
        .await
        .with_context(|| format!("the logs are in {}", lab.logs_dir().display()))?;
    status::print(&format!("\n{}", status::render(&status::read(lab.name())?)))
}

fn nix_is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn build_tools(state: &State) -> Result<()> {
    let cache = Cache::from_env()?;
    match &state.given_cluster {
        None => Toolbox::ensure(&cache),
        Some(_) => Toolbox::ensure_for_given_cluster(&cache),
    }
    .context("the control plane's programs are missing")
    .map(drop)
}

fn build_programs() -> Result<Programs> {
    let step = progress::step("building the operator, the agent and the API");
    let programs = cargo::build_programs()?;
    step.done("built");
    Ok(programs)
}

/// Simulated hosts clone images that nobody boots: nothing is built for them.
fn build_images(hosts: Hosts) -> Result<Vec<(GuestImage, BuiltImage)>> {
    let mut built = Vec::new();
    if hosts == Hosts::Real {
        let cache = Cache::from_env()?;
        for image in GuestImage::ALL {
            built.push((image, image.ensure(&cache)?));
        }
    }
    Ok(built)
}

async fn start_control_plane(lab: &Lab, state: &mut State) -> Result<ControlPlane> {
    let step = progress::step("starting the control plane");
    let plane = match &state.given_cluster {
        None => ControlPlane::ensure(lab, Durability::Synced).await?,
        Some(given) => ControlPlane::ensure_beside(lab, given).await?,
    };
    state.kubeconfig = Some(plane.kubeconfig().to_owned());
    state.kubectl = Some(plane.tools().path(Tool::Kubectl)?.to_owned());
    state.write(lab)?;
    step.done("it answers");
    Ok(plane)
}

async fn install_chart(plane: &ControlPlane) -> Result<()> {
    let step = progress::step("installing the chart: kinds, roles, policies");
    chart::ensure(plane).await?;
    step.done("installed");
    Ok(())
}

async fn start_simulated(plane: &ControlPlane, programs: &Programs) -> Result<()> {
    let step = progress::step("starting the simulated hosts");
    simulated::ensure(plane, &programs.agent, Size::SIMULATED).await?;
    simulated::ensure_images(&plane.kubectl()?, Size::SIMULATED)?;
    repository::ensure(&plane.kubectl()?, repository::Place::Memory)?;
    step.done("they answer");
    Ok(())
}

/// For the departments of the province's manifests, and any others that there are.
async fn start_backups(plane: &ControlPlane, machines: &[Machine]) -> Result<()> {
    let mut storage = machines
        .iter()
        .filter(|machine| machine.spec().roles.contains(&HostRole::Storage));
    let Some(machine) = storage.next() else {
        return Ok(());
    };
    let step = progress::step("starting the server of backups");
    let mut departments = manifests::departments()?;
    for department in plane.kubectl()?.list("departments.dc.sonla.gov.vn")? {
        let name = department["metadata"]["name"].as_str();
        departments.extend(name.map(str::to_owned));
    }
    let server = backups::ensure(machine, &departments).await?;
    let kubectl = plane.kubectl()?;
    backups::ensure_secret(plane.lab(), &kubectl)?;
    repository::ensure(&kubectl, repository::Place::Server(&server))?;
    step.done("it answers");
    Ok(())
}

async fn start_api(plane: &ControlPlane, programs: &Programs) -> Result<()> {
    let step = progress::step("starting the identity provider and the departments' API");
    let dex = dex::ensure(plane).await?;
    api::ensure(plane, &programs.api, &dex, &[]).await?;
    step.done("they answer");
    Ok(())
}

async fn start_operator(plane: &ControlPlane, programs: &Programs, hosts: Hosts) -> Result<()> {
    let agents = match hosts {
        Hosts::Real => Agents::OnMachines,
        Hosts::Fake => Agents::Local,
    };
    let step = progress::step("starting the operator");
    let ensured = operator::ensure(plane, &programs.operator, Replica::First, agents).await?;
    step.done(match ensured {
        Ensured::Kept(_) => "it runs already",
        Ensured::Started(_) => "started",
        Ensured::Restarted(_) => "restarted, it was built anew",
    });
    Ok(())
}
