//! The project's vocabulary: ids, units, and the values that operator and agents exchange.
//!
//! Nothing here does I/O or knows Kubernetes. What the operator asks of a host is in [`plan`],
//! what a host answers is in [`report`], what the ledger holds is in [`claim`]. The wire form of
//! the first two is in `dc-proto`; the ledger and the agent's disk use the serde form.

pub mod claim;
pub mod epoch;
pub mod ids;
pub mod net;
pub mod plan;
pub mod report;
pub mod service;
pub mod size;

pub use epoch::{Epoch, Sequence, Term};
pub use ids::{
    DepartmentName, HostName, ImageUid, InstanceId, ObjectRef, ObjectUid, PoolName, RunId,
    SnapshotId, SubnetUid,
};
pub use net::{Mac, Vni};
pub use service::{PortRange, Protocol, Service};
pub use size::{Bytes, MiB};
