//! `cargo xtask bench`: what is fast enough, measured; never a test's assertion.
//!
//! Each bench prints what it measured and ends with lines for `docs/performance.md`.

mod control_plane;
mod guest;
mod metrics;
mod place;
mod storage;

use anyhow::Result;
use clap::{Args, Subcommand};
use dc_lab::lab::LabName;

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The pure placement at 1,000 hosts.
    Place,
    /// The storage drivers' verbs beside `cp --reflink`, `rbd` and `qemu-img convert`; needs root and
    /// some 10 GB of disk.
    Storage {
        /// Only this one: directory, iscsi or rbd.
        #[arg(long)]
        driver: Option<String>,
    },
    /// From create to Running on simulated hosts, and what it costs the API server and the operator.
    ControlPlane(ControlPlaneArgs),
    /// From apply to the guest's first serial line, against raw `virsh create`, on a lab that is up.
    Guest {
        #[arg(long, default_value = "sonla")]
        name: LabName,
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
}

#[derive(Debug, Clone, Args)]
pub struct ControlPlaneArgs {
    /// Simulated compute hosts.
    #[arg(long, default_value_t = 200)]
    hosts: usize,
    /// Machines to create, each with one volume.
    #[arg(long, default_value_t = 300)]
    vms: usize,
    /// Departments they belong to, in turns: each carries a network on the hosts of its machines.
    #[arg(long, default_value_t = 110)]
    departments: usize,
    /// Machines created a second.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Seconds to look at the idle control plane afterwards.
    #[arg(long, default_value_t = 60)]
    idle: u64,
}

pub async fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Place => place::run(),
        Bench::Storage { driver } => storage::run(driver.as_deref()),
        Bench::ControlPlane(args) => control_plane::run(args).await,
        Bench::Guest { name, rounds } => guest::run(name, *rounds).await,
    }
}
