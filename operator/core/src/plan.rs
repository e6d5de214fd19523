//! What a look at one object decides: the value that a controller carries out.

use std::collections::BTreeMap;

use dc_crds::{ERASE_ORDERED_BY, Volume, VolumeSpec};
use dc_types::plan::{Item, ItemKey};
use dc_types::{HostName, ObjectRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

use crate::backup_policy::NewBackup;
use crate::proof::NewProof;
use crate::proof::sandbox::{NewObject, OldObject};
use crate::txn::Txn;
use crate::volume::erasure::Unsigned;
use crate::words::{Fact, Standing};

/// Whether the object may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hold {
    #[default]
    Keep,
    /// Nothing of it is left: our finalizer comes off.
    LetGo,
}

/// A volume that something else asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewVolume {
    pub name: String,
    pub maker: Maker,
    pub spec: VolumeSpec,
    /// Who had the machine say that it is to be erased.
    pub ordered_by: Option<String>,
}

/// Who has a volume made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maker {
    /// By a template: deleted with the machine, and known to be its own by the machine's uid.
    Machine(ObjectRef),
    /// It stays when the Restore is deleted.
    Restore(ObjectRef),
}

impl NewVolume {
    #[must_use]
    pub fn object(&self) -> Volume {
        let Self {
            name,
            maker,
            spec,
            ordered_by,
        } = self;
        let mut volume = Volume::new(name, spec.clone());
        let (Maker::Machine(of) | Maker::Restore(of)) = maker;
        volume.metadata.namespace = Some(of.namespace.clone());
        volume.metadata.annotations = ordered_by
            .as_ref()
            .map(|by| BTreeMap::from([(ERASE_ORDERED_BY.to_owned(), by.clone())]));
        if let Maker::Machine(vm) = maker {
            volume.metadata.owner_references = Some(vec![OwnerReference {
                api_version: format!("{}/{}", dc_crds::GROUP, dc_crds::VERSION),
                kind: "VirtualMachine".to_owned(),
                name: vm.name.clone(),
                uid: vm.uid.to_string(),
                controller: Some(true),
                block_owner_deletion: None,
            }]);
        }
        volume
    }
}

/// Nothing is left to choose when it is carried out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Taken off the boards before anything else, so that what is about to be released is not sent
    /// again.
    pub uncarry: Vec<(HostName, ItemKey)>,
    /// Carried out next; then the object is looked at again.
    pub txn: Option<Txn>,
    /// Signed and made at the API server before the transaction; made once, however often it is
    /// tried.
    pub certify: Option<Box<Unsigned>>,
    /// Volumes that a machine's templates or a restore ask for and that are not there.
    pub make: Vec<NewVolume>,
    /// Backups that a policy has due.
    pub begin: Vec<NewBackup>,
    /// Proofs that a policy has due.
    pub prove: Vec<NewProof>,
    /// What of a proof's sandbox is to be made, and what is to go.
    pub try_out: Vec<NewObject>,
    pub remove: Vec<OldObject>,
    /// What hosts are to carry for it.
    pub carry: Vec<(HostName, Item)>,
    pub hold: Hold,
    /// When it would be decided otherwise, if nothing else changes.
    pub again_at: Option<Timestamp>,
    /// What was found, the most important first. Empty: as asked.
    pub found: Vec<Fact>,
    /// What is told in a condition of its own, and says nothing of whether the object is ready.
    pub aside: Vec<Fact>,
}

impl Plan {
    #[must_use]
    pub fn found(fact: Fact) -> Self {
        Self {
            found: vec![fact],
            ..Self::default()
        }
    }

    #[must_use]
    pub fn all_found(found: Vec<Fact>) -> Self {
        Self {
            found,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn claim(txn: Txn) -> Self {
        Self {
            txn: Some(txn),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn let_go() -> Self {
        Self {
            hold: Hold::LetGo,
            ..Self::default()
        }
    }

    /// What it found alone.
    #[must_use]
    pub fn without_txn(self) -> Self {
        Self::all_found(self.found)
    }

    /// How the object stands; settled when nothing was found.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.found.first().map_or(Standing::Settled, Fact::standing)
    }
}
