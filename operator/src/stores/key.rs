//! What is reconciled: a kind and a name.

use std::fmt;
use std::sync::Arc;

/// The kinds that have a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Department,
    Host,
    Zone,
    Pool,
    Image,
    Class,
    System,
    Subnet,
    Volume,
    Snapshot,
    Vm,
    Request,
    Approval,
    Policy,
    Repository,
    BackupPolicy,
    Backup,
    Restore,
    MachineRestore,
    Proof,
    /// The network of a department, by the department's name: not an object of its own.
    Network,
    /// The record of what a department holds: no object, by the department's name.
    Showback,
}

impl Kind {
    /// As in the API; a label of metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Department => "Department",
            Kind::Host => "Host",
            Kind::Zone => "Zone",
            Kind::Pool => "StoragePool",
            Kind::Image => "Image",
            Kind::Class => "MachineClass",
            Kind::System => "InformationSystem",
            Kind::Subnet => "Subnet",
            Kind::Volume => "Volume",
            Kind::Snapshot => "VolumeSnapshot",
            Kind::Vm => "VirtualMachine",
            Kind::Request => "ResourceRequest",
            Kind::Approval => "Approval",
            Kind::Policy => "RequestPolicy",
            Kind::Repository => "BackupRepository",
            Kind::BackupPolicy => "BackupPolicy",
            Kind::Backup => "Backup",
            Kind::Restore => "Restore",
            Kind::MachineRestore => "MachineRestore",
            Kind::Proof => "RestoreProof",
            Kind::Network => "Network",
            Kind::Showback => "Showback",
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    /// Empty for kinds of the cluster.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl Key {
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// A key of the cluster's scope.
    #[must_use]
    pub fn global(kind: Kind, name: &str) -> Self {
        Self::new(kind, "", name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.is_empty() {
            true => write!(f, "{} {}", self.kind.name(), self.name),
            false => write!(f, "{} {}/{}", self.kind.name(), self.namespace, self.name),
        }
    }
}
