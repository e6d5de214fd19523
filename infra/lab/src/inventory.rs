//! What the embedded data centre is made of, as objects: its hosts, its pools, its images.
//!
//! In production these are the platform administrators' own manifests; here the lab knows them,
//! since it makes the machines and builds the images. The province's manifests name the pools and
//! the images by the names given here.

use serde_json::{Value, json};

use crate::images::DiskFormat;

/// The pool of each storage host, in their order: the province's own SAN, and the SOC's.
pub const POOLS: [&str; 2] = ["san-1", "soc-1"];

/// Directory pools of compute hosts, in their order.
pub const FOLDERS: [&str; 1] = ["local-1"];

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

/// What the volumes of every storage host lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// The host's own file system, behind tgt.
    Iscsi,
    /// A Ceph cluster.
    Rbd,
}

impl Storage {
    /// The name of its driver.
    pub fn name(self) -> &'static str {
        match self {
            Self::Iscsi => "iscsi",
            Self::Rbd => "rbd",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    pub name: String,
    pub role: HostRole,
    /// The pool it holds: a storage host its own, a compute host a folder of its.
    pub pool: Option<&'static str>,
}

/// How many hosts of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub compute: usize,
    pub storage: usize,
    pub gateway: usize,
    /// How many of the compute hosts have a directory pool.
    pub folders: usize,
}

impl Size {
    /// The machines of one lab: two to migrate between, a SAN node, a way out.
    pub const MACHINES: Self = Self {
        compute: 2,
        storage: 1,
        gateway: 1,
        folders: 1,
    };

    /// Room for every system of the province on simulated hosts.
    pub const SIMULATED: Self = Self {
        compute: 16,
        storage: 2,
        gateway: 1,
        folders: 0,
    };

    pub fn hosts(self) -> Vec<HostEntry> {
        let Self {
            compute,
            storage,
            gateway,
            folders,
        } = self;
        let of = |role: HostRole, count: usize| {
            (0..count).map(move |index| HostEntry {
                name: format!("{}-{}", role.name(), index + 1),
                role,
                pool: match role {
                    HostRole::Storage => POOLS.get(index).copied(),
                    HostRole::Compute => FOLDERS.get(index).copied().filter(|_| index < folders),
                    HostRole::Gateway => None,
                },
            })
        };
        of(HostRole::Compute, compute)
            .chain(of(HostRole::Storage, storage))
            .chain(of(HostRole::Gateway, gateway))
            .collect()
    }

    /// The pools of the storage hosts.
    pub fn pools(self) -> Vec<&'static str> {
        let hosts = self.hosts();
        let storage = hosts.iter().filter(|host| host.role == HostRole::Storage);
        storage.filter_map(|host| host.pool).collect()
    }

    /// The directory pools.
    pub fn folders(self) -> Vec<&'static str> {
        let hosts = self.hosts();
        let compute = hosts.iter().filter(|host| host.role == HostRole::Compute);
        compute.filter_map(|host| host.pool).collect()
    }
}

/// The manifests of hosts and pools, as one Kubernetes list.
pub fn render_hosts(hosts: &[HostEntry], storage: Storage) -> Value {
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
    items.extend(hosts.iter().filter_map(|host| {
        let pool = host.pool?;
        let driver = match host.role {
            HostRole::Storage => storage.name(),
            HostRole::Compute | HostRole::Gateway => "directory",
        };
        Some(json!({
            "apiVersion": API_VERSION,
            "kind": "StoragePool",
            "metadata": { "name": pool },
            "spec": {
                "class": match pool { "soc-1" => "soc", _ => "standard" },
                "driver": { driver: { "host": host.name } },
            },
        }))
    }));
    list(items)
}

/// An image as its object states it: where the storage hosts find it, and how to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageEntry {
    pub name: String,
    /// Below each storage host's images folder.
    pub file: String,
    pub sha256: String,
    pub format: DiskFormat,
}

pub fn render_image(image: &ImageEntry, pools: &[&str]) -> Value {
    let ImageEntry {
        name,
        file,
        sha256,
        format,
    } = image;
    json!({
        "apiVersion": API_VERSION,
        "kind": "Image",
        "metadata": { "name": name },
        "spec": {
            "source": { "file": file },
            "sha256": sha256,
            "format": format.name(),
            "pools": pools,
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
    fn each_pool_is_on_a_storage_host_of_its_own() {
        let rendered = render_hosts(&Size::SIMULATED.hosts(), Storage::Iscsi);
        let items = rendered["items"].as_array().unwrap();
        let pools = items.iter().filter(|item| item["kind"] == "StoragePool");
        let placed: Vec<_> = pools
            .map(|pool| {
                (
                    &pool["metadata"]["name"],
                    &pool["spec"]["driver"]["iscsi"]["host"],
                )
            })
            .map(|(pool, host)| (pool.as_str().unwrap(), host.as_str().unwrap()))
            .collect();
        assert_eq!(placed, [("san-1", "storage-1"), ("soc-1", "storage-2")]);
    }

    #[test]
    fn a_lab_of_machines_has_a_pool_for_all_and_a_folder_of_one_host() {
        assert_eq!(Size::MACHINES.pools(), ["san-1"]);
        assert_eq!(Size::MACHINES.folders(), ["local-1"]);
        let rendered = render_hosts(&Size::MACHINES.hosts(), Storage::Rbd);
        let items = rendered["items"].as_array().unwrap();
        let driver = |name: &str| {
            let pool = items
                .iter()
                .find(|item| item["kind"] == "StoragePool" && item["metadata"]["name"] == name);
            pool.unwrap()["spec"]["driver"].clone()
        };
        assert_eq!(driver("san-1"), json!({ "rbd": { "host": "storage-1" } }));
        let folder = json!({ "directory": { "host": "compute-1" } });
        assert_eq!(driver("local-1"), folder);
    }
}
