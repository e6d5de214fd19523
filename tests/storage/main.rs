//! The storage reconciler on a real reflink file system, with a real tgtd, and QEMU's own iSCSI
//! initiator; and what every storage driver must keep to. Needs root and the packages of a storage host.
//!
//! Each test runs in namespaces of its own (mounts, network, processes): whatever it starts or
//! mounts is gone when it ends, also when it is killed.

mod backup;
mod cluster;
mod conformance;
mod erasure;
mod fences;
mod folder;
mod grants;
mod holder;
mod images;
mod initiator;
mod inside;
mod lent;
mod login;
mod rbd;
mod runs;
mod site;
mod snapshots;
mod volumes;
