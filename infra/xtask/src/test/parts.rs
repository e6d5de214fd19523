//! The parts of the tests: what each runs, and what it needs of the machine.

use std::collections::BTreeSet;
use std::fmt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;
use dc_lab::cargo;
use dc_lab::progress;
use serde_json::Value;

use super::tally::{self, Tally};

/// Beside each other they begin in this order: the longest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Formatting, lints, and what the compiler does not see.
    Lint,
    /// The pure crates: no root, no network, seconds.
    Pure,
    /// All of it, with guests as probes.
    E2e,
    /// The operator against the real API server.
    Cluster,
    /// Volumes against real tgt.
    Storage,
    /// The agent against real libvirt and QEMU.
    Host,
    /// The unit tests of all crates, and the lab itself.
    Unit,
    /// The departments' API against the real API server and a real identity provider.
    Api,
    /// Backups against stock restic and its server.
    Backup,
    /// Zones and subnets against real nftables.
    Network,
}

/// What must be on the machine before a part can run; each has all that comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    Nothing,
    /// libvirt's headers, to build what links it.
    Headers,
    ControlPlane,
    Machines,
    MachinesWithCeph,
}

/// The crates that cannot do I/O, and those that only carry data.
const PURE: &[&str] = &[
    "dc-types",
    "dc-crds",
    "dc-proto",
    "dc-operator-core",
    "dc-agent-core",
];

impl Part {
    pub const ALL: [Self; 10] = [
        Self::Lint,
        Self::Pure,
        Self::E2e,
        Self::Cluster,
        Self::Storage,
        Self::Host,
        Self::Unit,
        Self::Api,
        Self::Backup,
        Self::Network,
    ];

    /// Whether it compiles more than the tests that all other parts run, so that it is best done
    /// before them and alone.
    pub fn compiles(self) -> bool {
        matches!(self, Self::Lint | Self::Pure)
    }

    pub fn needs(self) -> Needs {
        match self {
            Self::Pure => Needs::Nothing,
            Self::Lint => Needs::Headers,
            Self::Cluster | Self::Api => Needs::ControlPlane,
            // dc-host's unit tests try the real tools where they can.
            Self::Unit | Self::Network | Self::Backup | Self::E2e => Needs::Machines,
            Self::Host | Self::Storage => Needs::MachinesWithCeph,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Lint => "lint",
            Self::Pure => "pure",
            Self::Unit => "unit",
            Self::Cluster => "cluster",
            Self::Api => "api",
            Self::Host => "host",
            Self::Network => "network",
            Self::Storage => "storage",
            Self::Backup => "backup",
            Self::E2e => "e2e",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Runs a part; `heading` stands before each line of its output.
pub fn run(part: Part, heading: &str) -> Result<Tally> {
    match part {
        Part::Lint => lint(),
        Part::Pure => {
            let mut command = cargo::command();
            command.args(["test", "--no-fail-fast"]);
            PURE.iter().for_each(|name| {
                command.args(["--package", name]);
            });
            tally::run_tests(&mut command, heading)
        }
        Part::Unit => unit(heading),
        Part::Cluster
        | Part::Api
        | Part::Host
        | Part::Network
        | Part::Storage
        | Part::Backup
        | Part::E2e => suite(part, heading),
    }
}

/// Builds the tests of all parts.
pub fn build() -> Result<Tally> {
    let mut command = tests();
    command.arg("--no-run");
    let status = command.status().context("cannot run cargo")?;
    Ok(match status.success() {
        true => Tally::default(),
        false => Tally::one(false),
    })
}

/// Heaps of Go programs grow by this much, in percent, before they are swept. Some fifty API servers
/// live here for a minute each, and there is more memory than processors.
const GO_HEAP_GROWTH: &str = "400";

/// Of the whole workspace: cargo builds a crate anew for each set of features, and the set is that
/// of the packages that are named.
fn tests() -> Command {
    let mut command = cargo::command();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    command.env("GOGC", GO_HEAP_GROWTH);
    command
}

fn lint() -> Result<Tally> {
    let mut format = cargo::command();
    format.args(["fmt", "--all", "--check"]);
    let mut clippy = cargo::command();
    clippy.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]);
    let mut total = Tally::default();
    for (what, mut command) in [("formatting", format), ("clippy", clippy)] {
        total += checked(what, command.status().is_ok_and(|status| status.success()));
    }
    let tidy = crate::tidy::run();
    if let Err(error) = &tidy {
        progress::note(format!("{error:#}"));
    }
    total += checked("tidy", tidy.is_ok());
    Ok(total)
}

fn checked(what: &str, passed: bool) -> Tally {
    let word = if passed { "ok" } else { "FAILED" };
    progress::note(format!("{what}: {word}"));
    Tally::one(passed)
}

/// Every test that is not of a suite; those of the pure crates are quick, and among them.
fn unit(heading: &str) -> Result<Tally> {
    let mut command = tests();
    command.args(["--lib", "--bins"]);
    for package in packages()? {
        if package.name != SUITES {
            for test in package.tests {
                command.args(["--test", &test]);
            }
        }
    }
    tally::run_tests(&mut command, heading)
}

/// The crate whose test targets are the parts that need the machine.
const SUITES: &str = "dc-tests";

fn suite(part: Part, heading: &str) -> Result<Tally> {
    let suites = packages()?
        .into_iter()
        .find(|package| package.name == SUITES);
    if !suites.is_some_and(|package| package.tests.contains(part.name())) {
        progress::note(format!("{SUITES} has no test target {part}"));
        return Ok(Tally::one(false));
    }
    let mut command = tests();
    command.args(["--test", part.name()]);
    tally::run_tests(&mut command, heading)
}

struct Package {
    name: String,
    tests: BTreeSet<String>,
}

fn packages() -> Result<Vec<Package>> {
    let mut command: Command = cargo::command();
    let answer =
        progress::run(command.args(["metadata", "--no-deps", "--offline", "--format-version=1"]))?;
    let metadata: Value = serde_json::from_str(&answer).context("cargo metadata is not JSON")?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = list(&metadata["packages"])
        .into_iter()
        .map(|package| Package {
            name: text(&package["name"]),
            tests: list(&package["targets"])
                .into_iter()
                .filter(|target| list(&target["kind"]).contains(&Value::from("test")))
                .map(|target| text(&target["name"]))
                .collect(),
        });
    Ok(packages.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pure_crate_is_one_of_the_workspace() {
        let names: BTreeSet<_> = packages().unwrap().into_iter().map(|p| p.name).collect();
        for pure in PURE {
            assert!(names.contains(*pure), "{pure}");
        }
    }

    #[test]
    fn the_parts_are_called_as_the_command_line_calls_them() {
        for part in Part::ALL {
            let called = part.to_possible_value().unwrap();
            assert_eq!(called.get_name(), part.name());
        }
    }
}
