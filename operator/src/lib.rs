//! The operator: controllers, ledger, agent sessions, metrics.

pub mod leader;
pub mod ledger;
