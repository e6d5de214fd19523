//! Pure: desired, observed, diff, steps and rendering of one host.
//!
//! Four verticals over the same words, one module each: `storage` (images, volumes, snapshots,
//! grants), `backup` (backups, restores), `network` (networks, endpoints) and `vm`. What they are given and give back is in [`wanted`],
//! how things are called on a host in [`names`]. What the host has accepted is its [`ledger`], what
//! it tells of it comes from [`standing`], and [`backoff`] says when a failure is tried again. No
//! I/O, no clock, no random source.

pub mod backoff;
pub mod backup;
pub mod ledger;
pub mod names;
pub mod network;
pub mod standing;
pub mod storage;
pub mod vm;
pub mod wanted;

pub use ledger::Ledger;
pub use standing::Standing;
pub use wanted::{
    Capabilities, EdgeView, Folders, HostAddresses, HostView, PoolConfig, Releases, Status, Wanted,
    WantedOwned,
};

#[cfg(test)]
fn facts_fixture() -> dc_types::report::HostFacts {
    use dc_types::MiB;
    use dc_types::report::{Accelerator, HostFacts, Role};
    HostFacts {
        boot_id: "b1".into(),
        roles: vec![Role::Compute],
        vcpus: 8,
        memory: MiB(16 << 10),
        memory_available: MiB(12 << 10),
        machine_types: vec!["pc-q35-7.2".into()],
        firmwares: Vec::new(),
        accelerator: Accelerator::Tcg,
        cpu_models: Vec::new(),
        overlay: std::net::IpAddr::from([10, 30, 0, 1]),
        portal: None,
        pools: Vec::new(),
    }
}
