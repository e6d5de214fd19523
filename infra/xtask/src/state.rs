//! What `up` remembers of a lab for `status`, `kubectl` and the next `up`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use dc_lab::cache::write_whole;
use dc_lab::lab::Lab;
use serde::{Deserialize, Serialize};

use crate::{Hosts, Storage, UpArgs, Wave};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub hosts: Hosts,
    pub wave: Wave,
    #[serde(default = "first_storage")]
    pub storage: Storage,
    /// The cluster that was given, if one was.
    pub given_cluster: Option<PathBuf>,
    /// The administrator's kubeconfig and the kubectl to use it with, once there is a cluster.
    pub kubeconfig: Option<PathBuf>,
    pub kubectl: Option<PathBuf>,
}

/// What labs stood on before there was a choice.
fn first_storage() -> Storage {
    Storage::Iscsi
}

impl State {
    pub fn read(lab: &Lab) -> Result<Option<Self>> {
        let path = lab.folder().join("state.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .with_context(|| format!("{} is damaged", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub fn write(&self, lab: &Lab) -> Result<()> {
        write_whole(
            &lab.folder().join("state.json"),
            &serde_json::to_vec_pretty(self)?,
        )
    }

    fn stands_on_the_same(&self, other: &Self) -> bool {
        self.hosts == other.hosts
            && self.storage == other.storage
            && self.given_cluster == other.given_cluster
    }

    /// The state after `up` was asked for again: what the lab stands on cannot change under it.
    pub fn for_up(lab: &Lab, args: &UpArgs) -> Result<Self> {
        let given_cluster = match &args.kubeconfig {
            None => None,
            Some(given) => {
                let absolute = given.canonicalize();
                Some(absolute.with_context(|| format!("cannot read {}", given.display()))?)
            }
        };
        let asked = Self {
            hosts: args.hosts,
            wave: args.wave,
            storage: args.storage,
            given_cluster,
            kubeconfig: None,
            kubectl: None,
        };
        match Self::read(lab)? {
            None => Ok(asked),
            Some(old) if !old.stands_on_the_same(&asked) => {
                bail!(
                    "the lab {name} stands on {:?} hosts with {:?} storage and {}; take it down \
                     first (cargo xtask down --name {name}), or give the new one another name",
                    old.hosts,
                    old.storage,
                    match &old.given_cluster {
                        Some(given) => format!("the cluster of {}", given.display()),
                        None => "a cluster of its own".to_owned(),
                    },
                    name = lab.name(),
                )
            }
            Some(old) => Ok(Self {
                kubeconfig: old.kubeconfig,
                kubectl: old.kubectl,
                ..asked
            }),
        }
    }
}
