//! The agents of a lab's machines: what each is told of its host, and its life as a daemon there.
//!
//! The agent is started as production's systemd would start it, with a configuration file and a
//! one-time join file in the machine's own folder. Ending a machine is [`Machine`]'s business.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::address::Network;
use crate::cache::{digest, write_whole};
use crate::ceph::{self, Ceph};
use crate::images::{BuiltImage, GuestImage};
use crate::inventory::{HostRole, ImageEntry};
use crate::join;
use crate::lab::Lab;
use crate::machine::{Machine, MachineSpec};
use crate::operator::{Agents, Replica};
use crate::process::{self, Ensured, Restart};
use crate::{san, wires};

/// Where an agent's `/metrics` and `/healthz` are, on its management address.
const HTTP_PORT: u16 = 9464;

/// What a machine says it has, whatever this computer has: the classes of the province's machines
/// are sized for real hosts, while the guests behind them here are small and mostly idle.
const MACHINE_VCPUS: u32 = 32;
const MACHINE_MEMORY: &str = "128Gi";

/// The daemon's name within its machine.
const DAEMON: &str = "agent";

/// The pool that a machine's agent works with.
#[derive(Debug, Clone, Copy)]
pub enum Pool<'a> {
    /// The machine's own file system, behind its tgtd.
    Folder {
        name: &'a str,
    },
    /// The same, for the machines of a compute host alone.
    Directory {
        name: &'a str,
    },
    Ceph {
        name: &'a str,
        ceph: &'a Ceph,
    },
}

pub fn http_url(lab: &Lab, machine: &MachineSpec) -> String {
    let host = lab.addresses().host(Network::Management, machine.number);
    format!("http://{host}:{HTTP_PORT}")
}

/// Starts the machine's agent, or keeps the one that runs as it should. `joins` holds the join
/// files; a host that has joined needs none.
pub fn ensure(
    machine: &Machine,
    pool: Option<Pool<'_>>,
    program: &Path,
    joins: &Path,
) -> Result<Ensured> {
    let folder = machine.folder("agent")?;
    let join_file = folder.join("join.json");
    let fetched = join::file(joins, machine.name());
    if fetched.is_file() {
        write_whole(&join_file, &fs::read(&fetched)?)?;
    }
    let config = serde_norway::to_string(&render_config(machine, pool, &folder, &join_file)?)?;
    let config_file = folder.join("agent.yaml");
    write_whole(&config_file, config.as_bytes())?;
    let spec = machine
        .daemon(DAEMON, program)
        .args([
            "run".to_owned(),
            "--config".to_owned(),
            config_file.display().to_string(),
        ])
        .depends_on([digest([config])])
        .restart(Restart::Always);
    process::ensure(machine.lab(), &spec)
}

/// Ends the agent without warning; guests must not notice.
pub fn kill(machine: &Machine) -> Result<()> {
    process::kill(machine.lab(), &process_name(machine))
}

/// Ends the agent in order; guests must not notice either.
pub fn stop(machine: &Machine) -> Result<()> {
    process::stop(machine.lab(), &process_name(machine))
}

pub fn process_name(machine: &Machine) -> String {
    machine.daemon(DAEMON, "").name
}

fn render_config(
    machine: &Machine,
    pool: Option<Pool<'_>>,
    folder: &Path,
    join_file: &Path,
) -> Result<Value> {
    let lab = machine.lab();
    let address = |network: Network| machine.address(network).to_string();
    let roles: Vec<&str> = machine
        .spec()
        .roles
        .iter()
        .map(|role| role.name())
        .collect();
    let operators = [Replica::First, Replica::Standby]
        .map(|replica| replica.agents_address(lab, Agents::OnMachines));
    let mut config = json!({
        "host": machine.name(),
        "operators": operators.map(|address| address.to_string()),
        "state_dir": folder.join("state"),
        "join_file": join_file,
        "http": format!("{}:{HTTP_PORT}", address(Network::Management)),
        "roles": roles,
        "accelerator": "tcg",
        "addresses": {
            "management": address(Network::Management),
            "storage": address(Network::Storage),
            "overlay": address(Network::Overlay),
        },
        "vcpus": MACHINE_VCPUS,
        "memory": MACHINE_MEMORY,
    });
    if let Some(pool) = pool {
        config["pools"] = json!([render_pool(machine, pool)]);
        config["images_dir"] = json!(images_folder(machine)?);
    }
    for role in &machine.spec().roles {
        match role {
            HostRole::Compute => config["libvirt_uri"] = json!("qemu:///system"),
            HostRole::Storage => {
                pool.context("a storage host needs a pool")?;
                config["portal"] =
                    json!({ "address": address(Network::Storage), "port": san::PORTAL_PORT });
                // tgt's own default socket, in the machine's private /run.
                config["tgt"] = json!({});
            }
            HostRole::Gateway => {
                config["edge"] = json!({
                    "interface": wires::EXTERNAL_INTERFACE,
                    "ipv4": format!("{}/24", wires::GATEWAY_V4),
                    "ipv6": format!("{}/64", wires::GATEWAY_V6),
                    "gateway_v4": wires::OUTSIDE_V4,
                    "gateway_v6": wires::OUTSIDE_V6,
                });
            }
        }
    }
    Ok(config)
}

fn render_pool(machine: &Machine, pool: Pool<'_>) -> Value {
    let path = san::pool_folder(machine.lab(), machine.name());
    match pool {
        Pool::Folder { name } => json!({ "name": name, "path": path }),
        Pool::Directory { name } => json!({ "name": name, "driver": "directory", "path": path }),
        Pool::Ceph {
            name,
            ceph: cluster,
        } => json!({
            "name": name,
            "driver": "rbd",
            "ceph": {
                "conf": cluster.configuration(),
                "user": ceph::AGENT_USER,
                "pool": ceph::POOL,
            },
        }),
    }
}

fn images_folder(machine: &Machine) -> Result<PathBuf> {
    machine.folder("images")
}

/// Puts an image into the images folder of a machine with a pool. The file's name carries the start of
/// its checksum: an image never changes under its name.
pub fn ensure_image(
    machine: &Machine,
    image: GuestImage,
    built: &BuiltImage,
) -> Result<ImageEntry> {
    let start = built.sha256.get(..12).unwrap_or(&built.sha256);
    let entry = ImageEntry {
        name: image.name().to_owned(),
        file: format!("{}-{start}.{}", image.name(), built.format.name()),
        sha256: built.sha256.clone(),
        format: built.format,
    };
    let place = images_folder(machine)?.join(&entry.file);
    // A second name costs nothing; across file systems only a copy will do.
    if !place.exists() && fs::hard_link(&built.path, &place).is_err() {
        let beside = place.with_extension("copying");
        fs::copy(&built.path, &beside)
            .and_then(|_| fs::rename(&beside, &place))
            .with_context(|| format!("cannot copy {} to the lab", built.path.display()))?;
    }
    Ok(entry)
}
