//! The agent's configuration file (YAML): what this host is, where things lie, whom to dial.
//!
//! ```yaml
//! host: compute-1                   # the name of the Host object
//! operators: ["10.10.0.1:7443"]     # where operators listen; the leader is found from any
//! join_file: /etc/dc/join.json      # needed until the host has joined
//! state_dir: /var/lib/dc-agent      # ledger, identity; readable by root alone
//! http: 127.0.0.1:7480              # /metrics, /healthz, /readyz
//! roles: [compute]                  # of compute, storage, gateway; as the Host object says
//! accelerator: kvm                  # kvm or tcg; never probed
//! addresses:                        # this host's own, on the networks that join hosts
//!   management: 10.10.0.11
//!   storage: 10.20.0.11
//!   overlay: 10.30.0.11
//! vcpus: 64                         # optional, in place of what the kernel says
//! memory: 256Gi                     # optional, in place of what the kernel says
//! boot_id_file: /run/boot-id        # optional, in place of the kernel's own
//! # compute:
//! libvirt_uri: qemu:///system
//! seed_dir: /var/lib/dc-agent/seeds         # readable by QEMU
//! console_dir: /var/log/dc-agent/consoles   # writable by QEMU
//! # storage:
//! pools: [{name: san, path: /srv/san}]      # reflink file systems; driver: iscsi when not said
//! portal: {address: 10.20.0.12, port: 3260}
//! tgt: {socket: /run/tgtd/tgt.sock, number: 0}
//! images_dir: /srv/images                   # where images of source `file` lie
//! # a pool for the machines of this host alone is {name: own, driver: directory, path: /srv/own};
//! # a compute host may have one, and needs neither portal nor tgt for it, nor the role storage
//! # a pool of Ceph: {name: big, driver: rbd, ceph: {conf: /etc/dc/ceph.conf, user: dc-agent,
//! # pool: dc}}; a storage host needs neither portal nor tgt for it
//! # gateway:
//! edge: {interface: ext0, ipv4: 203.0.113.2/24, gateway_v4: 203.0.113.1}
//! ```
//!
//! Unknown keys are refused. What a role needs must be there; what no role of the host uses may
//! stay. Everything is checked before anything is touched.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dc_agent_core::{EdgeView, Folders, HostAddresses, HostView, PoolConfig};
use dc_host::{TgtControl, ToolsConfig};
use dc_types::plan::Portal;
use dc_types::report::{Accelerator, Role};
use dc_types::{Bytes, HostName, MiB, PoolName};
use serde::Deserialize;
use thiserror::Error;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the configuration is not as it should be: {0}")]
    Form(serde_norway::Error),
    #[error("configuration: {key} {what}")]
    Value { key: &'static str, what: String },
    #[error("cannot read the boot id from {path}: {source}")]
    BootId {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// The kernel's own; changes at every boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file, as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub host: HostName,
    pub operators: Vec<String>,
    #[serde(default)]
    pub join_file: Option<PathBuf>,
    pub state_dir: PathBuf,
    pub http: SocketAddr,
    pub roles: Vec<Role>,
    pub accelerator: Accelerator,
    pub addresses: HostAddresses,
    #[serde(default)]
    pub vcpus: Option<u32>,
    #[serde(default)]
    pub memory: Option<String>,
    #[serde(default)]
    pub boot_id_file: Option<PathBuf>,
    #[serde(default)]
    pub libvirt_uri: Option<String>,
    #[serde(default)]
    pub seed_dir: Option<PathBuf>,
    #[serde(default)]
    pub console_dir: Option<PathBuf>,
    #[serde(default)]
    pub pools: Vec<PoolPlace>,
    #[serde(default)]
    pub portal: Option<Portal>,
    #[serde(default)]
    pub tgt: Option<TgtPlace>,
    #[serde(default)]
    pub images_dir: Option<PathBuf>,
    #[serde(default)]
    pub edge: Option<EdgeView>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolPlace {
    pub name: PoolName,
    #[serde(default)]
    pub driver: PoolDriver,
    /// Of a pool in a folder.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Of a pool of Ceph.
    #[serde(default)]
    pub ceph: Option<CephPlace>,
}

/// A pool of a Ceph cluster, and whom the agent works as there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CephPlace {
    pub conf: PathBuf,
    /// Without the leading `client.`; its keyring is where `conf` says.
    pub user: String,
    pub pool: String,
}

/// Who opens a pool's volumes to machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolDriver {
    /// The target daemon.
    #[default]
    Iscsi,
    /// This host's own QEMU.
    Directory,
    /// Ceph, to whom the agent gives keys for.
    Rbd,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TgtPlace {
    /// `TGT_IPC_SOCKET` of tgtd; tgt's own default when absent.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// The number after tgtd's `-C`.
    #[serde(default)]
    pub number: u16,
}

/// What of a host's size is said rather than looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeOverride {
    pub vcpus: Option<u32>,
    pub memory: Option<MiB>,
}

/// The configuration, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: Arc<HostView>,
    pub operators: Vec<String>,
    pub join_file: Option<PathBuf>,
    pub http: SocketAddr,
    pub size: SizeOverride,
    pub tools: ToolsConfig,
}

impl Settings {
    /// Reads and checks the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        let config = parse(&text)?;
        let boot_id_file = config
            .boot_id_file
            .clone()
            .unwrap_or_else(|| PathBuf::from(BOOT_ID));
        let boot_id =
            std::fs::read_to_string(&boot_id_file).map_err(|source| ConfigError::BootId {
                path: boot_id_file,
                source,
            })?;
        check(config, boot_id.trim().to_owned())
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    serde_norway::from_str(text).map_err(ConfigError::Form)
}

fn wrong<T>(key: &'static str, what: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value {
        key,
        what: what.into(),
    })
}

fn check(config: Config, boot_id: String) -> Result<Settings, ConfigError> {
    if config.operators.is_empty() {
        return wrong("operators", "is empty: name at least one host:port");
    }
    if let Some(bad) = config.operators.iter().find(|o| !is_host_port(o)) {
        return wrong("operators", format!("{bad:?} is not host:port"));
    }
    if config.roles.is_empty() {
        return wrong("roles", "is empty: name compute, storage or gateway");
    }
    if boot_id.is_empty() {
        return wrong("boot_id_file", "is an empty file");
    }
    check_roles(&config)?;
    let memory = match config.memory.as_deref().map(str::parse::<Bytes>) {
        None => None,
        Some(Ok(bytes)) => Some(bytes.to_mib()),
        Some(Err(error)) => return wrong("memory", error.to_string()),
    };
    let size = SizeOverride {
        vcpus: config.vcpus,
        memory,
    };
    let Config {
        host,
        operators,
        join_file,
        state_dir,
        http,
        roles,
        accelerator,
        addresses,
        vcpus: _,
        memory: _,
        boot_id_file: _,
        libvirt_uri,
        seed_dir,
        console_dir,
        pools,
        portal,
        tgt,
        images_dir,
        edge,
    } = config;
    absolute("state_dir", &state_dir)?;
    let folder = |key, given: Option<PathBuf>, default: &str| {
        let path = given.unwrap_or_else(|| state_dir.join(default));
        absolute(key, &path).map(|()| path)
    };
    let folders = Folders {
        images: folder("images_dir", images_dir, "images")?,
        seeds: folder("seed_dir", seed_dir, "seeds")?,
        consoles: folder("console_dir", console_dir, "consoles")?,
        state: state_dir,
    };
    let host = Arc::new(HostView {
        name: host,
        roles,
        accelerator,
        addresses,
        portal,
        pools: check_pools(pools)?,
        edge,
        folders,
        boot_id,
    });
    Ok(Settings {
        tools: ToolsConfig {
            host: host.clone(),
            libvirt_uri,
            tgt: tgt.map(|TgtPlace { socket, number }| TgtControl { socket, number }),
        },
        host,
        operators,
        join_file,
        http,
        size,
    })
}

/// What each role needs.
fn check_roles(config: &Config) -> Result<(), ConfigError> {
    let has = |role| config.roles.contains(&role);
    if has(Role::Compute) && config.libvirt_uri.is_none() {
        return wrong("libvirt_uri", "is missing: a compute host needs it");
    }
    if has(Role::Storage) && config.pools.is_empty() {
        return wrong("pools", "is empty: a storage host needs at least one");
    }
    let by = |driver| config.pools.iter().find(|pool| pool.driver == driver);
    if let Some(pool) = by(PoolDriver::Iscsi)
        && has(Role::Storage)
    {
        let needs = |key| {
            let name = &pool.name;
            wrong(
                key,
                format!("is missing: pool {name} is opened over iSCSI and needs it"),
            )
        };
        if config.portal.is_none() {
            return needs("portal");
        }
        if config.tgt.is_none() {
            return needs("tgt");
        }
    }
    if let Some(pool) = by(PoolDriver::Directory)
        && !has(Role::Compute)
    {
        return wrong(
            "roles",
            format!(
                "has no compute, and only machines of this host can open the volumes of pool {}",
                pool.name
            ),
        );
    }
    if let Some(pool) = by(PoolDriver::Rbd)
        && !has(Role::Storage)
    {
        return wrong(
            "roles",
            format!("has no storage, and pool {} serves other hosts", pool.name),
        );
    }
    if has(Role::Gateway) && config.edge.is_none() {
        return wrong("edge", "is missing: a gateway host needs it");
    }
    Ok(())
}

fn check_pools(pools: Vec<PoolPlace>) -> Result<BTreeMap<PoolName, PoolConfig>, ConfigError> {
    let mut out = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for PoolPlace {
        name,
        driver,
        path,
        ceph,
    } in pools
    {
        let config = match (driver, path, ceph) {
            (PoolDriver::Iscsi, Some(folder), None) => PoolConfig::Iscsi { folder },
            (PoolDriver::Directory, Some(folder), None) => PoolConfig::Directory { folder },
            (PoolDriver::Rbd, None, Some(CephPlace { conf, user, pool })) => {
                check_ceph_name("ceph.user", &user)?;
                check_ceph_name("ceph.pool", &pool)?;
                PoolConfig::Rbd { conf, user, pool }
            }
            (PoolDriver::Iscsi | PoolDriver::Directory, ..) => {
                return wrong("pools", format!("{name} needs a path, and no ceph"));
            }
            (PoolDriver::Rbd, ..) => {
                return wrong("pools", format!("{name} needs ceph, and no path"));
            }
        };
        let place = place_of(&config);
        absolute("pools", &place.0)?;
        if !paths.insert(place.clone()) {
            return wrong("pools", format!("{} is named twice", place.0.display()));
        }
        if out.insert(name.clone(), config).is_some() {
            return wrong("pools", format!("{name} is named twice"));
        }
    }
    Ok(out)
}

/// What no two pools may share: a folder, or a pool of a cluster.
fn place_of(config: &PoolConfig) -> (PathBuf, String) {
    match config {
        PoolConfig::Iscsi { folder } | PoolConfig::Directory { folder } => {
            (folder.clone(), String::new())
        }
        PoolConfig::Rbd {
            conf,
            user: _,
            pool,
        } => (conf.clone(), pool.clone()),
    }
}

/// Such names become part of users' rights: nothing may end them early.
fn check_ceph_name(key: &'static str, name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match !name.is_empty() && name.bytes().all(plain) {
        true => Ok(()),
        false => wrong(
            key,
            format!("{name:?} is not of letters, digits, _, . and -"),
        ),
    }
}

fn absolute(key: &'static str, path: &Path) -> Result<(), ConfigError> {
    if path.is_absolute() {
        Ok(())
    } else {
        wrong(key, format!("{} is not an absolute path", path.display()))
    }
}

fn is_host_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTE: &str = "
host: compute-1
operators: ['10.10.0.1:7443']
state_dir: /var/lib/dc-agent
http: 127.0.0.1:7480
roles: [compute]
accelerator: tcg
addresses: {management: 10.10.0.11, storage: 10.20.0.11, overlay: 10.30.0.11}
libvirt_uri: qemu:///system
";

    fn settings(text: &str) -> Result<Settings, String> {
        parse(text)
            .and_then(|config| check(config, "b1".into()))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn a_compute_host_needs_little_and_gets_the_rest() {
        let settings = settings(COMPUTE).unwrap();
        assert_eq!(settings.host.name.as_str(), "compute-1");
        let seeds = &settings.host.folders.seeds;
        assert_eq!(seeds, Path::new("/var/lib/dc-agent/seeds"));
        assert_eq!(settings.size, SizeOverride::default());
    }

    #[test]
    fn a_compute_host_may_have_a_pool_of_its_own_without_a_target_daemon() {
        let own = "pools: [{name: own, driver: directory, path: /srv/own}]\nroles:";
        let settings = settings(&COMPUTE.replace("roles:", own)).unwrap();
        let config = PoolConfig::Directory {
            folder: "/srv/own".into(),
        };
        assert_eq!(settings.host.pools.values().collect::<Vec<_>>(), [&config]);
        let gateway = COMPUTE.replace("roles: [compute]", "roles: [gateway]");
        let error = self::settings(&gateway.replace("roles:", own)).unwrap_err();
        assert!(error.contains("no compute"), "{error}");
    }

    #[test]
    fn every_key_of_the_documentation_is_understood() {
        let doc = include_str!("config.rs");
        let yaml: String = doc
            .lines()
            .skip_while(|line| *line != "//! ```yaml")
            .skip(1)
            .take_while(|line| *line != "//! ```")
            .map(|line| format!("{}\n", line.strip_prefix("//! ").unwrap_or("")))
            .collect();
        let settings = settings(&yaml).unwrap();
        assert_eq!(settings.size.memory, Some(MiB(256 << 10)));
        assert!(settings.tools.tgt.is_some());
        assert!(settings.host.edge.is_some());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (change, expected) in [
            (("accelerator: tcg", ""), "accelerator"),
            (("accelerator: tcg", "accelerator: auto"), "auto"),
            (("libvirt_uri: qemu:///system", ""), "libvirt_uri"),
            (("roles: [compute]", "roles: [compute, storage]"), "pools"),
            (
                (
                    "roles:",
                    "pools: [{name: p, driver: nfs, path: /p}]\nroles:",
                ),
                "nfs",
            ),
            (
                (
                    "roles: [compute]",
                    "pools: [{name: p, driver: rbd, path: /p}]\nroles: [storage]",
                ),
                "needs ceph",
            ),
            (
                (
                    "roles:",
                    "pools: [{name: p, driver: rbd, ceph: {conf: /c, user: u, pool: p}}]\nroles:",
                ),
                "no storage",
            ),
            (
                (
                    "roles: [compute]",
                    "pools: [{name: p, driver: rbd, ceph: {conf: /c, user: 'a b', pool: p}}]\n\
                     roles: [storage]",
                ),
                "ceph.user",
            ),
            (("roles: [compute]", "roles: [compute, gateway]"), "edge"),
            (("roles: [compute]", "roles: []"), "roles"),
            (("10.10.0.1:7443", "10.10.0.1"), "host:port"),
            (("/var/lib/dc-agent", "var/lib"), "absolute"),
            (("host: compute-1", "host: Compute_1"), "DNS label"),
            (("host: compute-1", "hots: compute-1"), "hots"),
            (("roles:", "memory: 5 GB\nroles:"), "size"),
        ] {
            let error = settings(&COMPUTE.replace(change.0, change.1)).unwrap_err();
            assert!(error.contains(expected), "{change:?}: {error}");
        }
    }
}
