//! The network vertical's I/O: what is there, and doing one step. What to do is decided in
//! `dc_agent_core::network`.

mod apply;
mod read;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use read::{ReadError, read};
