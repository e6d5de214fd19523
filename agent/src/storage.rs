//! The storage vertical's I/O: what the pools and the target daemon hold, and doing one step.
//!
//! What to do is decided in `dc_agent_core::storage`; nothing is chosen here. A pool or a daemon
//! that cannot be looked at is part of what is seen, so that the others go on.

mod apply;
mod read;
#[cfg(test)]
mod tests;
mod trouble;

pub use apply::apply;
pub use read::{ReadError, read};
