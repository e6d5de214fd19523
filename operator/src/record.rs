//! What must be true of the ledger, kept outside of it: ConfigMap `dc-ledger`.
//!
//! An operator that starts cannot see from an empty or restored etcd that there was more before.
//! So each leader writes down, before it does anything, which incarnation and cluster it found and
//! how far the ledger had come.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use thiserror::Error;

use crate::ledger::Known;

const NAME: &str = "dc-ledger";
const INCARNATION: &str = "incarnation";
const CLUSTER: &str = "etcdClusterId";
const REVISION: &str = "revision";

#[derive(Debug, Error)]
pub enum RecordError {
    #[error("ConfigMap {namespace}/dc-ledger cannot be read or written")]
    Api {
        namespace: String,
        #[source]
        source: kube::Error,
    },
    #[error(
        "ConfigMap {namespace}/dc-ledger has no number under {key:?}: it says which ledger is the \
         right one; restore it, or delete it to take the ledger as it is"
    )]
    Value {
        namespace: String,
        key: &'static str,
    },
}

#[derive(Clone)]
pub struct Record {
    client: Client,
    namespace: String,
}

impl Record {
    #[must_use]
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// What is known; nothing, when no ledger was ever made for this cluster.
    pub async fn read(&self) -> Result<Known, RecordError> {
        let found = self.api().get_opt(NAME).await;
        let Some(map) = found.map_err(|source| self.failed(source))? else {
            return Ok(Known::default());
        };
        let data = map.data.unwrap_or_default();
        Ok(Known {
            incarnation: self.number(&data, INCARNATION)?,
            cluster_id: self.number(&data, CLUSTER)?,
            revision: self.number(&data, REVISION)?,
        })
    }

    pub async fn write(&self, known: Known) -> Result<(), RecordError> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": NAME, "namespace": self.namespace },
            "data": {
                INCARNATION: known.incarnation.to_string(),
                CLUSTER: known.cluster_id.to_string(),
                REVISION: known.revision.to_string(),
            },
        });
        let ours = PatchParams::apply("dc-operator").force();
        self.api()
            .patch(NAME, &ours, &Patch::Apply(&map))
            .await
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    fn number(
        &self,
        data: &BTreeMap<String, String>,
        key: &'static str,
    ) -> Result<u64, RecordError> {
        let value = data.get(key).and_then(|value| value.parse().ok());
        value.ok_or_else(|| RecordError::Value {
            namespace: self.namespace.clone(),
            key,
        })
    }

    fn api(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn failed(&self, source: kube::Error) -> RecordError {
        RecordError::Api {
            namespace: self.namespace.clone(),
            source,
        }
    }
}
