//! A person's request for a rebuild and its answer: ConfigMap `dc-ledger-rebuild`.

use std::collections::BTreeMap;
use std::time::Duration;

use dc_types::HostName;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const NAME: &str = "dc-ledger-rebuild";
const REQUEST: &str = "request";
const BY: &str = "by";
const REPORT: &str = "report";

#[derive(Debug, Error)]
pub enum RequestError {
    #[error("ConfigMap {NAME} cannot be read or written")]
    Api(#[from] kube::Error),
    #[error("ConfigMap {NAME} does not read: delete it and give the command again")]
    Form(#[from] serde_json::Error),
}

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Hosts that are certain to be off for good.
    pub without: Vec<HostName>,
    /// How long to wait for hosts.
    pub wait: Duration,
}

/// How it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub incarnation: u64,
    pub hosts: Vec<String>,
    /// Keys written.
    pub claims: usize,
    pub disagreements: Vec<String>,
    /// Why nothing was done, if so.
    pub failed: Option<String>,
}

impl Report {
    #[must_use]
    pub fn failed(why: String) -> Self {
        Self {
            failed: Some(why),
            ..Self::default()
        }
    }
}

#[derive(Clone)]
pub struct Requests {
    maps: Api<ConfigMap>,
}

impl Requests {
    #[must_use]
    pub fn new(client: &Client, namespace: &str) -> Self {
        Self {
            maps: Api::namespaced(client.clone(), namespace),
        }
    }

    /// Puts a request in the place of any earlier one.
    pub async fn ask(&self, request: &Request) -> Result<(), RequestError> {
        self.remove().await?;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                REQUEST.to_owned(),
                serde_json::to_string(request)?,
            )])),
            ..ConfigMap::default()
        };
        self.maps.create(&PostParams::default(), &map).await?;
        Ok(())
    }

    /// The answer, once there is one.
    pub async fn report(&self) -> Result<Option<Report>, RequestError> {
        let map = self.maps.get_opt(NAME).await?;
        let report = map.and_then(|map| map.data?.remove(REPORT));
        Ok(report.map(|json| serde_json::from_str(&json)).transpose()?)
    }

    /// A request that nobody has taken up; from now on it is ours. Of two operators one gets it.
    pub async fn take(&self, me: &str) -> Result<Option<Request>, RequestError> {
        let Some(mut map) = self.maps.get_opt(NAME).await? else {
            return Ok(None);
        };
        let data = map.data.get_or_insert_default();
        let Some(request) = data.get(REQUEST) else {
            return Ok(None);
        };
        let request = serde_json::from_str(request)?;
        if data.contains_key(BY) {
            return Ok(None);
        }
        data.insert(BY.to_owned(), me.to_owned());
        // With the resource version that was read: another's taking it is a conflict.
        match self.maps.replace(NAME, &PostParams::default(), &map).await {
            Ok(_) => Ok(Some(request)),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the answer beside the request, if it is still that one.
    pub async fn answer(&self, request: &Request, report: &Report) -> Result<(), RequestError> {
        let Some(mut map) = self.maps.get_opt(NAME).await? else {
            return Ok(());
        };
        let data = map.data.get_or_insert_default();
        if data.get(REQUEST) != Some(&serde_json::to_string(request)?) {
            return Ok(());
        }
        data.insert(REPORT.to_owned(), serde_json::to_string(report)?);
        self.maps
            .replace(NAME, &PostParams::default(), &map)
            .await?;
        Ok(())
    }

    async fn remove(&self) -> Result<(), RequestError> {
        match self.maps.delete(NAME, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
