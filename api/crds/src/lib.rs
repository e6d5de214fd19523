//! The custom resources of `dc.sonla.gov.vn/v1alpha1`: their shape, the rules one object can show
//! (CEL), conditions and reasons. No client.

pub mod backup;
pub mod backup_policy;
pub mod certificate;
pub mod condition;
pub mod definitions;
pub mod department;
pub mod host;
pub mod image;
pub mod lease;
pub mod machine_class;
pub mod machine_restore;
pub mod pool;
pub mod proof;
pub mod quota;
pub mod request;
pub mod restore;
pub mod snapshot;
pub mod subnet;
pub mod system;
pub mod usage;
pub mod vm;
pub mod volume;
pub mod zone;

pub use backup::{
    Backup, BackupRepository, BackupRepositorySpec, BackupRepositoryStatus, BackupSpec,
    BackupStatus,
};
pub use backup_policy::{BackupPolicy, BackupPolicySpec, BackupPolicyStatus};
pub use certificate::{ErasureCertificate, ErasureCertificateSpec};
pub use condition::{Condition, ConditionStatus};
pub use department::{Department, DepartmentSpec, DepartmentStatus};
pub use host::{Host, HostSpec, HostStatus};
pub use image::{Image, ImageSpec, ImageStatus};
pub use machine_class::{MachineClass, MachineClassSpec, MachineClassStatus};
pub use machine_restore::{MachineRestore, MachineRestoreSpec, MachineRestoreStatus};
pub use pool::{StoragePool, StoragePoolSpec, StoragePoolStatus};
pub use proof::{RestoreProof, RestoreProofSpec, RestoreProofStatus};
pub use request::{
    Approval, ApprovalSpec, ApprovalStatus, RequestPolicy, RequestPolicySpec, RequestPolicyStatus,
    ResourceRequest, ResourceRequestSpec, ResourceRequestStatus,
};
pub use restore::{Restore, RestoreSpec, RestoreStatus};
pub use snapshot::{VolumeSnapshot, VolumeSnapshotSpec, VolumeSnapshotStatus};
pub use subnet::{Subnet, SubnetSpec, SubnetStatus};
pub use system::{InformationSystem, InformationSystemSpec, InformationSystemStatus};
pub use usage::{UsageRecord, UsageRecordSpec, UsageRecordStatus};
pub use vm::{VirtualMachine, VirtualMachineSpec, VirtualMachineStatus};
pub use volume::{Volume, VolumeSpec, VolumeStatus};
pub use zone::{Zone, ZoneSpec, ZoneStatus};

pub const GROUP: &str = "dc.sonla.gov.vn";
pub const VERSION: &str = "v1alpha1";

/// Kept on an object until everything it holds on hosts and in the ledger is given back.
/// Put there at creation by a MutatingAdmissionPolicy of the chart.
pub const FINALIZER: &str = "dc.sonla.gov.vn/release";
/// The grant that an object was built for: an annotation, written by the operator alone.
pub const GRANT: &str = "dc.sonla.gov.vn/grant";
/// The department that owns a namespace: a label of the namespace.
pub const DEPARTMENT_LABEL: &str = "dc.sonla.gov.vn/department";
/// What a machine in the sandbox of a proof has to show, as JSON: an annotation, which counts in the
/// operator's namespace alone.
pub const PROBES: &str = "dc.sonla.gov.vn/probes";
/// The proof that an object of the sandbox is for, as `<namespace>.<name>`: an annotation.
pub const PROOF: &str = "dc.sonla.gov.vn/proof";
/// The MachineRestore that built a machine, by its uid: an annotation.
pub const RESTORED_BY: &str = "dc.sonla.gov.vn/restored-by";
/// Who set a volume to be erased: written by the API server itself, by a policy of the chart.
pub const ERASE_ORDERED_BY: &str = "dc.sonla.gov.vn/erase-ordered-by";
