//! The control plane of a lab: etcd, kube-apiserver, kube-controller-manager, and the ledger.
//!
//! What runs and answers is kept, what has died is started again on the same data. With a given
//! cluster only the ledger is ours.

pub mod api_server;
pub mod controller_manager;
pub mod etcd;
pub mod http;
mod test_lab;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::cache::Cache;
use crate::kubeconfig;
use crate::kubectl::Kubectl;
use crate::lab::Lab;
use crate::pki::{self, Pair, Pki};
use crate::process;
use crate::toolbox::{Tool, Toolbox};
use crate::wait::Look;

pub use etcd::{Durability, Etcd, Role};
pub use test_lab::{TestControlPlane, test_lab};

/// A control plane that answers.
#[derive(Debug, Clone)]
pub struct ControlPlane {
    lab: Lab,
    tools: Toolbox,
    kubeconfig: PathBuf,
    ledger: Etcd,
    store: Option<Etcd>,
}

impl ControlPlane {
    /// Starts what does not run, and waits until all of it answers.
    pub async fn ensure(lab: &Lab, durability: Durability) -> Result<Self> {
        let tools = Toolbox::ensure(&Cache::from_env()?)?;
        let pki = pki(lab)?;
        let store = Etcd::new(lab, &tools, Role::Store, durability);
        let ledger = Etcd::new(lab, &tools, Role::Ledger, durability);
        store.ensure().await?;
        ledger.ensure().await?;
        api_server::ensure(lab, &tools, &pki, &store).await?;
        let url = api_server::url(lab);
        let kubeconfig = lab.folder().join("kubeconfig");
        kubeconfig::write_for_certificate(&kubeconfig, &url, &pki.ca, "admin", &pki.admin)?;
        let of_manager = lab.folder().join("pki/controller-manager.kubeconfig");
        let manager = &pki.controller_manager;
        kubeconfig::write_for_certificate(&of_manager, &url, &pki.ca, "manager", manager)?;
        controller_manager::ensure(lab, &tools, &pki, &of_manager).await?;
        Ok(Self {
            lab: lab.clone(),
            tools,
            kubeconfig,
            ledger,
            store: Some(store),
        })
    }

    /// Takes a cluster that is there already; only the ledger is started.
    pub async fn ensure_beside(lab: &Lab, given: &Path) -> Result<Self> {
        let tools = Toolbox::ensure_for_given_cluster(&Cache::from_env()?)?;
        let ledger = Etcd::new(lab, &tools, Role::Ledger, Durability::Synced);
        ledger.ensure().await?;
        let kubeconfig = given
            .canonicalize()
            .with_context(|| format!("cannot read {}", given.display()))?;
        let this = Self {
            lab: lab.clone(),
            tools,
            kubeconfig,
            ledger,
            store: None,
        };
        let ready = this.kubectl()?.run(&["get", "--raw", "/readyz"]);
        ready.with_context(|| format!("the cluster of {} does not answer", given.display()))?;
        Ok(this)
    }

    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    pub fn tools(&self) -> &Toolbox {
        &self.tools
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn kubectl(&self) -> Result<Kubectl> {
        Ok(Kubectl::new(
            self.tools.path(Tool::Kubectl)?,
            &self.kubeconfig,
        ))
    }

    pub fn ledger(&self) -> &Etcd {
        &self.ledger
    }

    /// The API server's own etcd; none with a given cluster.
    pub fn store(&self) -> Option<&Etcd> {
        self.store.as_ref()
    }
}

/// The lab's certificates, made where they are missing.
pub fn pki(lab: &Lab) -> Result<Pki> {
    let names = [
        "localhost",
        "kubernetes",
        "kubernetes.default.svc",
        "127.0.0.1",
    ];
    Pki::ensure(&lab.subfolder("pki")?, &names.map(str::to_owned))
}

/// The certificate of a server on one of the lab's machines, and the CA that has signed it.
pub fn server_pair(
    lab: &Lab,
    file: &str,
    name: &str,
    server_names: &[String],
) -> Result<(Pair, PathBuf)> {
    pki::ensure_server(&lab.subfolder("pki")?, file, name, server_names)
}

/// One look at a daemon that is starting: a failed probe means "not yet" as long as the process
/// lives, and "never" with the end of its log once it has died.
pub async fn look_alive(
    lab: &Lab,
    name: &str,
    mut probe: impl AsyncFnMut() -> Result<()>,
) -> Look<()> {
    match probe().await {
        Ok(()) => Look::Holds(()),
        Err(error) => match process::running(lab, name) {
            Ok(Some(_)) => Look::NotYet(format!("{error:#}; {}", process::tail(lab, name))),
            Ok(None) => Look::Never(anyhow!("{name} has ended; {}", process::tail(lab, name))),
            Err(error) => Look::Never(error),
        },
    }
}
