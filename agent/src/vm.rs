//! Machines: what is seen of them on this host, and the doing of their steps.
//!
//! What to do is decided in `dc_agent_core::vm`; nothing is chosen here.

mod apply;
mod read;
#[cfg(test)]
mod tests;

pub use apply::apply;
pub use read::{ReadError, read, read_at};
