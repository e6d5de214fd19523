//! The embedded data centre: a real control plane, machines in namespaces and a software SAN on
//! one Linux machine.
//!
//! Everything a lab makes is written into its [`journal`] before it is made, so that `down` finds
//! it again after any crash. Everything may be done twice: what is there and healthy is kept.
//! Nothing here links libvirt, so that `xtask` can install libvirt before it builds what does.

pub mod address;
pub mod agents;
pub mod api;
pub mod apt;
pub mod backups;
pub mod cache;
pub mod cargo;
pub mod ceph;
pub mod chart;
pub mod console;
pub mod control_plane;
pub mod dex;
pub mod helm;
pub mod images;
pub mod inventory;
pub mod join;
pub mod journal;
pub mod kubeconfig;
pub mod kubectl;
pub mod lab;
pub mod machine;
pub mod machines;
pub mod operator;
pub mod pki;
pub mod process;
pub mod progress;
pub mod registry;
pub mod remains;
pub mod repository;
pub mod san;
pub mod simulated;
pub mod status;
pub mod teardown;
pub mod toolbox;
pub mod wait;
pub mod wires;
