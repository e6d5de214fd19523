//! The storage reconciler on a real reflink file system, with a real tgtd, and QEMU's own iSCSI
//! initiator. Needs root and the packages of a storage host.
//!
//! Each test runs in namespaces of its own (mounts, network, processes): whatever it starts or
//! mounts is gone when it ends, also when it is killed.

mod erasure;
mod fences;
mod grants;
mod images;
mod initiator;
mod inside;
mod login;
mod site;
mod volumes;
