//! The programs of the control plane: built once from the Go module proxy, as `infra/cluster` pins
//! them, and kept in the [`Cache`]. Each is an entry of its own, so an interrupted build goes on
//! where it stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, digest};
use crate::lab::work_tree;
use crate::progress;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    Etcd,
    Etcdctl,
    Etcdutl,
    KubeApiserver,
    KubeControllerManager,
    Kubectl,
    Helm,
    /// The identity provider: only where the departments' API is wanted.
    Dex,
    /// The server of backups: only where backups are wanted.
    RestServer,
}

impl Tool {
    /// The control plane's. The quick ones first, so that a broken tool chain shows early.
    pub const ALL: [Self; 7] = [
        Self::Etcd,
        Self::Etcdctl,
        Self::Etcdutl,
        Self::Kubectl,
        Self::Helm,
        Self::KubeControllerManager,
        Self::KubeApiserver,
    ];

    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Etcdutl => "etcdutl",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Helm => "helm",
            Self::Dex => "dex",
            Self::RestServer => "rest-server",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Etcdctl => "go.etcd.io/etcd/etcdctl/v3",
            Self::Etcdutl => "go.etcd.io/etcd/etcdutl/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Helm => "helm.sh/helm/v4/cmd/helm",
            Self::Dex => "github.com/dexidp/dex/cmd/dex",
            Self::RestServer => "github.com/restic/rest-server/cmd/rest-server",
        }
    }

    fn module_dir(self) -> PathBuf {
        let cluster = work_tree().join("infra/cluster");
        match self {
            Self::Helm => cluster.join("helm"),
            Self::Dex => cluster.join("dex"),
            Self::RestServer => cluster.join("rest-server"),
            _ => cluster,
        }
    }
}

/// Where each tool lies.
#[derive(Debug, Clone)]
pub struct Toolbox {
    paths: BTreeMap<Tool, PathBuf>,
}

impl Toolbox {
    /// All tools, at the pinned versions.
    pub fn ensure(cache: &Cache) -> Result<Self> {
        Self::ensure_some(cache, &Tool::ALL)
    }

    /// What is needed beside a cluster that is given, without Go if possible: what the cache has,
    /// else what the machine has and is new enough; only then it is built.
    pub fn ensure_for_given_cluster(cache: &Cache) -> Result<Self> {
        let mut paths = BTreeMap::new();
        for tool in [Tool::Kubectl, Tool::Helm, Tool::Etcd] {
            let there = match find_cached(cache, tool)? {
                Some(path) => Some(path),
                None => find_in_path(tool.program()).filter(|path| is_new_enough(tool, path)),
            };
            let path = match there {
                Some(path) => path,
                None => ensure_tool(cache, tool).with_context(|| {
                    let program = tool.program();
                    format!("PATH has no {program} that is new enough, and none can be built")
                })?,
            };
            paths.insert(tool, path);
        }
        Ok(Self { paths })
    }

    fn ensure_some(cache: &Cache, tools: &[Tool]) -> Result<Self> {
        let mut paths = BTreeMap::new();
        for tool in tools {
            paths.insert(*tool, ensure_tool(cache, *tool)?);
        }
        Ok(Self { paths })
    }

    pub fn path(&self, tool: Tool) -> Result<&Path> {
        let path = self.paths.get(&tool).map(PathBuf::as_path);
        path.with_context(|| format!("{} is not used with a given cluster", tool.program()))
    }
}

pub fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// Where a tool is built, from what, and under which name it is kept.
struct Recipe {
    dir: PathBuf,
    link_flags: String,
    entry: String,
}

fn recipe(tool: Tool) -> Result<Recipe> {
    let dir = tool.module_dir();
    let (go_mod, go_sum) = (read(&dir.join("go.mod"))?, read(&dir.join("go.sum"))?);
    let link_flags = link_flags(tool, &go_mod)?;
    let key = digest([tool.package(), &go_mod, &go_sum, &link_flags]);
    let entry = format!("{}-{key}", tool.program());
    Ok(Recipe {
        dir,
        link_flags,
        entry,
    })
}

/// The kind of the cache's entries of tools.
const SHELF: &str = "bin";

fn find_cached(cache: &Cache, tool: Tool) -> Result<Option<PathBuf>> {
    let place = cache.find(SHELF, &recipe(tool)?.entry);
    Ok(place.map(|place| place.join(tool.program())))
}

/// One tool, at the pinned version.
pub fn ensure_tool(cache: &Cache, tool: Tool) -> Result<PathBuf> {
    let Recipe {
        dir,
        link_flags,
        entry,
    } = recipe(tool)?;
    let place = cache.get_or_make(SHELF, &entry, |place| {
        let what = match tool {
            Tool::KubeApiserver => "building kube-apiserver (about 4 minutes when cold)".to_owned(),
            Tool::KubeControllerManager | Tool::Kubectl | Tool::Helm | Tool::Dex => {
                format!("building {} (about 1 minute when cold)", tool.program())
            }
            Tool::Etcd | Tool::Etcdctl | Tool::Etcdutl | Tool::RestServer => {
                format!("building {}", tool.program())
            }
        };
        let step = progress::step(what);
        build(tool, &dir, &link_flags, &place.join(tool.program()))?;
        step.done("built");
        Ok(())
    })?;
    Ok(place.join(tool.program()))
}

/// Whether a tool of the machine does what is asked of it here. `kubectl create token` came with
/// 1.24; Helm 2 is another program; any etcd that is still packaged speaks the v3 API.
fn is_new_enough(tool: Tool, path: &Path) -> bool {
    let args: &[&str] = match tool {
        Tool::Kubectl => &["version", "--client", "--output=json"],
        Tool::Helm => &["version", "--template={{.Version}}"],
        _ => return true,
    };
    let said = progress::run(Command::new(path).args(args)).unwrap_or_default();
    match tool {
        Tool::Kubectl => kubectl_minor(&said).is_some_and(|minor| minor >= 24),
        _ => !said.starts_with("v2") && said.starts_with('v'),
    }
}

/// The minor version, which some distributions write with a plus sign.
fn kubectl_minor(version: &str) -> Option<u32> {
    let version: serde_json::Value = serde_json::from_str(version).ok()?;
    version
        .pointer("/clientVersion/minor")?
        .as_str()?
        .trim_end_matches('+')
        .parse()
        .ok()
}

fn build(tool: Tool, dir: &Path, link_flags: &str, out: &Path) -> Result<()> {
    if find_in_path("go").is_none() {
        bail!("go is not in PATH; install Go 1.26 or later to build the control plane");
    }
    let mut go = Command::new("go");
    go.current_dir(dir)
        .env("CGO_ENABLED", cgo(tool))
        .args(["build", "-trimpath", "-ldflags"]);
    go.arg(link_flags).arg("-o").arg(out).arg(tool.package());
    progress::run(&mut go).map(drop)
}

/// Static binaries, but for Dex: one of its storages does not compile without cgo.
fn cgo(tool: Tool) -> &'static str {
    match tool {
        Tool::Dex => "1",
        _ => "0",
    }
}

/// Kubernetes takes its version from the linker; without it the server calls itself v0.0.0.
fn link_flags(tool: Tool, go_mod: &str) -> Result<String> {
    let mut flags = "-s -w".to_owned();
    if tool.package().starts_with("k8s.io/kubernetes/") {
        let version = required_version(go_mod, "k8s.io/kubernetes")?;
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
        for (name, value) in [
            ("gitVersion", version),
            ("gitMajor", major),
            ("gitMinor", minor),
        ] {
            flags.push_str(&format!(" -X k8s.io/component-base/version.{name}={value}"));
        }
    }
    Ok(flags)
}

fn required_version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    let mut words = go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require "));
    words
        .find_map(|line| {
            line.strip_prefix(module)?
                .strip_prefix(' ')?
                .split_whitespace()
                .next()
        })
        .with_context(|| format!("go.mod does not require {module}"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_kubernetes_version_is_linked_in() {
        let go_mod = read(&Tool::Kubectl.module_dir().join("go.mod")).unwrap();
        let flags = link_flags(Tool::Kubectl, &go_mod).unwrap();
        assert!(flags.contains("version.gitVersion=v1."), "{flags}");
        assert!(flags.contains("version.gitMajor=1 "), "{flags}");
        assert_eq!(link_flags(Tool::Etcd, &go_mod).unwrap(), "-s -w");
    }

    #[test]
    fn the_minor_version_of_kubectl_is_read() {
        let said = r#"{"clientVersion": {"major": "1", "minor": "20+"}}"#;
        assert_eq!(kubectl_minor(said), Some(20));
        assert_eq!(kubectl_minor("error"), None);
    }

    #[test]
    fn every_tool_is_pinned_by_a_tool_line() {
        for tool in Tool::ALL.into_iter().chain([Tool::Dex, Tool::RestServer]) {
            let go_mod = read(&tool.module_dir().join("go.mod")).unwrap();
            assert!(go_mod.contains(tool.package()), "{tool:?}");
        }
    }
}
