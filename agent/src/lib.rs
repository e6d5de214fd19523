//! The agent of one host: session, ledger on disk, reconcile loop, metrics.
//!
//! The verticals (`storage`, `network`, `vm`: `read` and `apply` over the host's tools) are one
//! module each; their pure halves are in `dc-agent-core`.

pub mod config;
pub mod network;
