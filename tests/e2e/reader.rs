//! Reads objects over one connection: a start of kubectl for each look at an object that is waited
//! for takes the processors away from the guests that are waited for.

use std::path::Path;
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;
use tokio::runtime::Handle;

/// May be asked from anywhere: the runtime's own threads do the work.
pub struct Reader {
    client: Client,
    runtime: Handle,
}

impl Reader {
    pub async fn open(kubeconfig: &Path) -> Result<Self> {
        // Several crates bring rustls; one provider for all of them.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(kubeconfig)?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await?;
        Ok(Self {
            client: Client::try_from(config)?,
            runtime: Handle::current(),
        })
    }

    /// The object, or nothing when there is none. `kind` is called as kubectl calls it.
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>> {
        let api = self.api(kind, namespace)?;
        let name = name.to_owned();
        let found = self.wait(async move { api.get_opt(&name).await })?;
        found.map(to_json).transpose()
    }

    pub fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        let api = self.api(kind, namespace)?;
        let found = self.wait(async move { api.list(&Default::default()).await })?;
        found.into_iter().map(to_json).collect()
    }

    /// Those of all namespaces, or of a kind that has none.
    pub fn list_all(&self, kind: &str) -> Result<Vec<Value>> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource(kind)?);
        let found = self.wait(async move { api.list(&Default::default()).await })?;
        found.into_iter().map(to_json).collect()
    }

    pub fn has_namespace(&self, name: &str) -> Result<bool> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource("namespace")?);
        let name = name.to_owned();
        let found = self.wait(async move { api.get_opt(&name).await })?;
        Ok(found.is_some())
    }

    fn api(&self, kind: &str, namespace: &str) -> Result<Api<DynamicObject>> {
        let kind = resource(kind)?;
        Ok(Api::namespaced_with(self.client.clone(), namespace, &kind))
    }

    fn wait<T: Send + 'static>(
        &self,
        asks: impl Future<Output = Result<T, kube::Error>> + Send + 'static,
    ) -> Result<T> {
        let (says, answer) = mpsc::channel();
        self.runtime.spawn(async move { says.send(asks.await) });
        let answer = answer.recv().context("the runtime has ended")?;
        answer.context("the API server")
    }
}

fn to_json(object: DynamicObject) -> Result<Value> {
    Ok(serde_json::to_value(object)?)
}

fn resource(kind: &str) -> Result<ApiResource> {
    let (group, version, kind) = match kind {
        "vm" => (dc_crds::GROUP, dc_crds::VERSION, "VirtualMachine"),
        "volume" => (dc_crds::GROUP, dc_crds::VERSION, "Volume"),
        "volumesnapshot" => (dc_crds::GROUP, dc_crds::VERSION, "VolumeSnapshot"),
        "backup" => (dc_crds::GROUP, dc_crds::VERSION, "Backup"),
        "restoreproof" => (dc_crds::GROUP, dc_crds::VERSION, "RestoreProof"),
        "configmap" => ("", "v1", "ConfigMap"),
        "event" => ("events.k8s.io", "v1", "Event"),
        "host" => (dc_crds::GROUP, dc_crds::VERSION, "Host"),
        "subnet" => (dc_crds::GROUP, dc_crds::VERSION, "Subnet"),
        "namespace" => ("", "v1", "Namespace"),
        other => bail!("no test has read a {other} yet: name its kind here"),
    };
    Ok(ApiResource::from_gvk(&GroupVersionKind::gvk(
        group, version, kind,
    )))
}
