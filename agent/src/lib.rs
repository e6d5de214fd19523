//! The agent of one host: session, ledger on disk, reconcile loop, metrics.
//!
//! The verticals (`storage`, `backup`, `network`, `vm`: `read` and `apply` over the host's tools)
//! are one module each; their pure halves are in `dc-agent-core`. [`reconciler`] is the loop that drives
//! them, [`keeper`] holds what was accepted and how it stands, [`session`] speaks with the operator,
//! and [`agent`] puts them together. [`simulate`] runs many over fakes.

pub mod agent;
pub mod backup;
pub mod config;
pub mod disk;
pub mod facts;
pub mod http;
pub mod identity;
pub mod keeper;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod reconciler;
pub mod session;
pub mod simulate;
pub mod storage;
pub mod verticals;
pub mod vm;
