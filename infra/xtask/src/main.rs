//! The project's own commands.
//!
//! `cargo xtask up` makes the embedded data centre, `down` takes it away, `test` tests all of it.
//! Nothing here links libvirt: what does is built by `up` and `test` themselves, after they have
//! installed what it needs.

mod bench;
mod lab;
mod manifests;
mod state;
mod status;
mod test;
mod tidy;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use dc_lab::lab::{LabName, work_tree};
use serde::{Deserialize, Serialize};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The commands of this project", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the embedded data centre, or bring it to its wanted state.
    Up(UpArgs),
    /// Take the data centre away: nothing of it stays on this machine.
    Down(Name),
    /// Say how the data centre stands.
    Status {
        /// For programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        name: Name,
    },
    /// Call kubectl with the data centre's kubeconfig.
    Kubectl {
        #[command(flatten)]
        name: Name,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Join a guest's serial console (leave it with Ctrl and ]).
    Console {
        #[command(flatten)]
        name: Name,
        /// NAMESPACE/NAME of the virtual machine.
        vm: String,
    },
    /// Run a command on one of the machines, a shell if none is given.
    Shell {
        #[command(flatten)]
        name: Name,
        /// Such as compute-1; outside is the world beyond the gateway.
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Test: everything, or the named parts.
    Test { parts: Vec<test::Part> },
    /// Write the generated files anew: kinds, roles, the kinds' reference, the province's manifests.
    Gen,
    /// Look for what the compiler does not see.
    Tidy,
    /// Measure what is to be fast.
    #[command(subcommand)]
    Bench(bench::Bench),
}

#[derive(Debug, Clone, Args)]
struct Name {
    /// Which lab; several may stand side by side.
    #[arg(long, default_value = "sonla")]
    name: LabName,
}

#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    #[command(flatten)]
    name: Name,
    /// Which machines of the province are to run.
    #[arg(long, value_enum, default_value_t = Wave::First)]
    wave: Wave,
    /// Machines in namespaces with real guests, or simulated hosts.
    #[arg(long, value_enum, default_value_t = Hosts::Real)]
    hosts: Hosts,
    /// Use this cluster instead of building and starting one.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// What volumes are kept on.
    #[arg(long, value_enum, default_value_t = Storage::Iscsi)]
    storage: Storage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wave {
    /// The eight systems that move first.
    First,
    /// Every system of the province.
    All,
    /// Departments and systems, but no machines.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hosts {
    Real,
    Fake,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// The lab's own SAN node.
    Iscsi,
    /// A Ceph cluster on the storage machine.
    Rbd,
}

impl Storage {
    fn of_lab(self) -> dc_lab::inventory::Storage {
        match self {
            Self::Iscsi => dc_lab::inventory::Storage::Iscsi,
            Self::Rbd => dc_lab::inventory::Storage::Rbd,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    // The chain of causes is for people; where in this program it arose is not.
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Up(args) => up::run(&args).await,
        Command::Down(Name { name }) => lab::take_down(&name),
        Command::Status { json, name } => status::run(&name.name, json),
        Command::Kubectl { name, args } => lab::run_kubectl(&name.name, &args),
        Command::Console { name, vm } => lab::run_console(&name.name, &vm),
        Command::Shell {
            name,
            host,
            command,
        } => lab::run_shell(&name.name, &host, &command),
        Command::Test { parts } => test::run(&parts),
        Command::Gen => generate(),
        Command::Bench(bench) => bench::run(&bench).await,
        Command::Tidy => tidy::run(),
    }
}

fn generate() -> Result<()> {
    let files = xtask::generate::all(&work_tree())?;
    let changed = xtask::generate::write(&work_tree(), &files)?;
    println!("{} generated files, {changed} changed", files.len());
    // Made by the API itself, of the types of its bodies; a test of it proves it current.
    let mut api = dc_lab::cargo::command();
    api.args(["run", "--quiet", "--package", "dc-api", "--", "openapi"]);
    let document = dc_lab::progress::run(&mut api)?;
    std::fs::write(work_tree().join("docs/openapi.json"), document)?;
    Ok(())
}
