//! What the embedded data centre is made of, as objects: its hosts, its pool, its images.
//!
//! In production these are the platform administrators' own manifests; here the lab knows them,
//! since it makes the machines and builds the images. The province's manifests name the pool and
//! the images by the names given here.

use serde_json::{Value, json};

use crate::images::{BuiltImage, GuestImage};

/// The pool that volumes of the lab are on.
pub const POOL: &str = "san";

const API_VERSION: &str = "dc.sonla.gov.vn/v1alpha1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRole {
    Compute,
    Storage,
    Gateway,
}

impl HostRole {
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Storage => "storage",
            Self::Gateway => "gateway",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    pub name: String,
    pub role: HostRole,
}

/// How many hosts of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub compute: usize,
    pub storage: usize,
    pub gateway: usize,
}

impl Size {
    /// The machines of one lab: two to migrate between, a SAN node, a way out.
    pub const MACHINES: Self = Self {
        compute: 2,
        storage: 1,
        gateway: 1,
    };

    /// Room for every system of the province on simulated hosts.
    pub const SIMULATED: Self = Self {
        compute: 16,
        storage: 1,
        gateway: 1,
    };

    pub fn hosts(self) -> Vec<HostEntry> {
        let Self {
            compute,
            storage,
            gateway,
        } = self;
        let of = |role: HostRole, count: usize| {
            (1..=count).map(move |n| HostEntry {
                name: format!("{}-{n}", role.name()),
                role,
            })
        };
        of(HostRole::Compute, compute)
            .chain(of(HostRole::Storage, storage))
            .chain(of(HostRole::Gateway, gateway))
            .collect()
    }
}

/// The manifests of hosts and pool, as one Kubernetes list.
pub fn render_hosts(hosts: &[HostEntry]) -> Value {
    let mut items: Vec<Value> = hosts
        .iter()
        .map(|host| {
            json!({
                "apiVersion": API_VERSION,
                "kind": "Host",
                "metadata": { "name": host.name },
                "spec": { "roles": [host.role.name()] },
            })
        })
        .collect();
    if let Some(storage) = hosts.iter().find(|host| host.role == HostRole::Storage) {
        items.push(json!({
            "apiVersion": API_VERSION,
            "kind": "StoragePool",
            "metadata": { "name": POOL },
            "spec": { "driver": { "iscsi": { "host": storage.name } } },
        }));
    }
    list(items)
}

/// The manifest of an image that lies in the storage host's images folder.
pub fn render_image(image: GuestImage, built: &BuiltImage, file: &str) -> Value {
    json!({
        "apiVersion": API_VERSION,
        "kind": "Image",
        "metadata": { "name": image.name() },
        "spec": {
            "source": { "file": file },
            "sha256": built.sha256,
            "format": built.format.name(),
            "pools": [POOL],
        },
    })
}

pub fn list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_on_the_storage_host() {
        let rendered = render_hosts(&Size::MACHINES.hosts());
        let items = rendered["items"].as_array().unwrap();
        let names: Vec<_> = items.iter().map(|item| &item["metadata"]["name"]).collect();
        assert_eq!(
            names,
            ["compute-1", "compute-2", "storage-1", "gateway-1", "san"]
        );
        assert_eq!(items[4]["spec"]["driver"]["iscsi"]["host"], "storage-1");
    }
}
