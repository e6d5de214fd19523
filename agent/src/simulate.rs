//! Simulated hosts: the real agent over fakes, many in one process.
//!
//! Every join file `<host>.json` of a folder is a host; so is every host that has joined before and
//! has state. Its roles are those of the join file; without any, its name says them: `storage-…`
//! and `gateway-…`, all else carries machines. What the fakes remember is gone when the process
//! ends, as if each host had lost its machine: the agents then make everything again.
//!
//! `GET /knobs` shows what was called how often, `POST /knobs` sets or clears rules:
//! `{"host":"compute-1","call":"tgt.*","rule":{"action":{"fail":{"message":"no"}},"times":1}}`;
//! without a rule the pattern is cleared, without a host all hosts are meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::routing::get;
use dc_agent_core::{EdgeView, Folders, HostAddresses, HostView, PoolConfig};
use dc_host::backup::FakeRepositories;
use dc_host::{Fakes, Knobs, Rule};
use dc_proto::join::JoinFile;
use dc_types::plan::Portal;
use dc_types::report::{Accelerator, Role};
use dc_types::{HostName, PoolName};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::agent::{Agent, Operator, Parts};
use crate::config::SizeOverride;
use crate::disk::Durability;
use crate::identity::IdentityStore;
use crate::keeper::{KeeperError, Place};
use crate::metrics::Metrics;

#[derive(Debug, Error)]
pub enum SimulateError {
    #[error("cannot list {path}: {source}")]
    List { path: PathBuf, source: io::Error },
    #[error("the join file {path} does not read: {source}")]
    Join {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("the join file {path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds no join file, and no host has state: there is nothing to simulate")]
    Nothing { path: PathBuf },
    #[error("host {host}: {source}")]
    Start { host: HostName, source: KeeperError },
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    pub joins: PathBuf,
    /// Where ledgers and identities are kept; nowhere when absent.
    pub state: Option<PathBuf>,
    /// The pools of every storage host.
    pub pools: Vec<PoolName>,
    /// Directory pools, by the host that has one.
    pub folders: BTreeMap<HostName, PoolName>,
    /// In addition to those of the join files.
    pub operators: Vec<String>,
}

/// One simulated host.
pub struct Simulated {
    pub agent: Agent,
    pub fakes: Fakes,
}

/// Starts an agent for every host there is.
pub fn start(options: &Options, metrics: &Metrics) -> Result<Vec<Simulated>, SimulateError> {
    let hosts = find(options)?;
    if hosts.is_empty() {
        return Err(SimulateError::Nothing {
            path: options.joins.clone(),
        });
    }
    // What one host backs up, another restores.
    let repositories = FakeRepositories::default();
    hosts
        .into_values()
        .enumerate()
        .map(|(number, host)| start_one(number, host, options, metrics, &repositories))
        .collect()
}

struct Found {
    name: HostName,
    roles: Vec<Role>,
    operators: Vec<String>,
}

/// Hosts by their join files and by their state.
fn find(options: &Options) -> Result<BTreeMap<HostName, Found>, SimulateError> {
    let mut hosts = BTreeMap::new();
    for path in list(&options.joins)? {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file = read_join(&path)?;
        let found = Found {
            roles: roles_of(&file.host, file.roles),
            operators: vec![file.operator],
            name: file.host,
        };
        hosts.insert(found.name.clone(), found);
    }
    let operators: BTreeSet<String> = hosts.values().flat_map(|h| h.operators.clone()).collect();
    let kept = options.state.as_deref().map_or(Ok(Vec::new()), list)?;
    for path in kept {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.and_then(|name| HostName::new(name).ok()) else {
            continue;
        };
        hosts.entry(name.clone()).or_insert_with(|| Found {
            roles: roles_of(&name, Vec::new()),
            operators: operators.iter().cloned().collect(),
            name,
        });
    }
    Ok(hosts)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, SimulateError> {
    let error = |source| SimulateError::List {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(error))
        .collect()
}

fn read_join(path: &Path) -> Result<JoinFile, SimulateError> {
    let bytes = std::fs::read(path).map_err(|source| SimulateError::Read {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| SimulateError::Join {
        path: path.to_owned(),
        source,
    })
}

fn roles_of(host: &HostName, said: Vec<Role>) -> Vec<Role> {
    if !said.is_empty() {
        return said;
    }
    let role = match host.as_str().split('-').next() {
        Some("storage") => Role::Storage,
        Some("gateway") => Role::Gateway,
        _ => Role::Compute,
    };
    vec![role]
}

fn start_one(
    number: usize,
    found: Found,
    options: &Options,
    metrics: &Metrics,
    repositories: &FakeRepositories,
) -> Result<Simulated, SimulateError> {
    let name = found.name.clone();
    let host = Arc::new(view(number, &found, options));
    let fakes = Fakes {
        repositories: repositories.clone(),
        ..Fakes::new(&host)
    };
    let place = options
        .state
        .as_ref()
        .map_or(Place::Memory, |state| Place::Disk {
            folder: state.join(name.as_str()),
            durability: Durability::Unsynced,
        });
    let join_file = options.joins.join(format!("{name}.json"));
    let mut addresses = found.operators;
    addresses.extend(options.operators.iter().cloned());
    let agent = Agent::start(Parts {
        tools: fakes.tools(),
        size: SizeOverride::default(),
        operator: Some(Operator {
            addresses,
            identity: IdentityStore::new(name.clone(), place.clone(), Some(join_file)),
        }),
        place,
        metrics: metrics.clone(),
        host,
    });
    let agent = agent.map_err(|source| SimulateError::Start { host: name, source })?;
    Ok(Simulated { agent, fakes })
}

/// What a simulated host says of itself. Its addresses lie in 198.18.0.0/15 (RFC 2544, for
/// benchmarks), so that they are nobody's.
fn view(number: usize, found: &Found, options: &Options) -> HostView {
    let own = u32::try_from(number + 1).unwrap_or(1) & 0x1_ffff;
    let address = IpAddr::V4(Ipv4Addr::from_bits(0xc612_0000 + own));
    let has = |role| found.roles.contains(&role);
    let folder = |what: &str| {
        PathBuf::from("/simulated")
            .join(found.name.as_str())
            .join(what)
    };
    let iscsi = options.pools.iter().filter(|_| has(Role::Storage));
    let iscsi = iscsi.map(|p| {
        let folder = folder(p.as_str());
        (p.clone(), PoolConfig::Iscsi { folder })
    });
    let own = options.folders.get(&found.name).map(|p| {
        let folder = folder(p.as_str());
        (p.clone(), PoolConfig::Directory { folder })
    });
    HostView {
        name: found.name.clone(),
        roles: found.roles.clone(),
        accelerator: Accelerator::Tcg,
        addresses: HostAddresses {
            management: address,
            storage: address,
            overlay: address,
        },
        portal: has(Role::Storage).then_some(Portal {
            address,
            port: 3260,
        }),
        pools: iscsi.chain(own).collect(),
        edge: has(Role::Gateway).then(|| EdgeView {
            interface: "ext0".to_owned(),
            ipv4: None,
            ipv6: None,
            gateway_v4: None,
            gateway_v6: None,
        }),
        folders: Folders {
            state: folder("state"),
            images: folder("images"),
            seeds: folder("seeds"),
            consoles: folder("consoles"),
        },
        // The fakes begin anew with every process, as after a reboot.
        boot_id: uuid::Uuid::new_v4().to_string(),
    }
}

/// What is posted to `/knobs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// All hosts when absent.
    #[serde(default)]
    pub host: Option<HostName>,
    /// A call, `tool.*` or `*`.
    pub call: String,
    /// Clears the pattern when absent.
    #[serde(default)]
    pub rule: Option<Rule>,
}

#[derive(Serialize)]
struct Counts {
    host: HostName,
    calls: BTreeMap<String, u64>,
}

type Hosts = Arc<BTreeMap<HostName, Knobs>>;

/// The page that turns the fakes' knobs.
pub fn knobs_page(hosts: &[Simulated]) -> Router {
    let hosts = hosts.iter();
    let knobs = hosts.map(|host| (host.agent.host.clone(), host.fakes.knobs.clone()));
    Router::new()
        .route("/knobs", get(show).post(turn))
        .with_state(Arc::new(knobs.collect()))
}

async fn show(State(hosts): State<Hosts>) -> Json<Vec<Counts>> {
    let counts = hosts.iter().map(|(host, knobs)| Counts {
        host: host.clone(),
        calls: knobs.counts(),
    });
    Json(counts.collect())
}

async fn turn(State(hosts): State<Hosts>, Json(turn): Json<Turn>) -> (StatusCode, String) {
    let Turn { host, call, rule } = turn;
    let meant: Vec<&Knobs> = match &host {
        None => hosts.values().collect(),
        Some(host) => match hosts.get(host) {
            Some(knobs) => vec![knobs],
            None => return (StatusCode::NOT_FOUND, format!("no host {host} here\n")),
        },
    };
    for knobs in &meant {
        match &rule {
            Some(rule) => knobs.set(call.clone(), rule.clone()),
            None => knobs.clear(&call),
        }
    }
    (StatusCode::OK, format!("{} hosts\n", meant.len()))
}
