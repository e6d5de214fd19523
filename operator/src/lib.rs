//! The operator: controllers, ledger, agent sessions, metrics.
//!
//! [`operator::run`] is one process; [`operator::Parts`] is what its controllers work with.

pub mod board;
pub mod controllers;
pub mod events;
pub mod evidence;
pub mod http;
pub mod join;
pub mod leader;
pub mod ledger;
pub mod logs;
pub mod master;
pub mod metrics;
pub mod observed;
pub mod operator;
pub mod rebuild;
pub mod record;
pub mod recovery;
pub mod session;
pub mod stores;
