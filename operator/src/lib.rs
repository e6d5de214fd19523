//! The operator: controllers, ledger, agent sessions, metrics.

pub mod board;
pub mod join;
pub mod leader;
pub mod ledger;
pub mod metrics;
pub mod observed;
pub mod session;
