//! Backups against stock restic and its server: each reads, checks and restores what the other wrote.
//! Needs root, Debian's `restic` and the packages of a storage host.

mod back;
mod faults;
mod folder;
mod locks;
mod restic;
mod server;
mod site;

/// What is mounted is mounted in namespaces that end with the test.
#[path = "../storage/inside.rs"]
mod inside;
