//! The tools of the host behind small traits, real and fake.
//!
//! One module per tool: `<tool>.rs` holds the trait and its types, `<tool>/real.rs` speaks to the
//! tool, `<tool>/fake.rs` remembers in its place. [`tools`] puts them together, [`knobs`] make the
//! fakes fail or hang. This is the only crate that touches the machine.

pub mod backup;
pub mod conntrack;
pub mod dhcp;
pub mod drivers;
pub mod enter;
pub mod firewall;
pub mod hypervisor;
pub mod images;
pub mod knobs;
pub mod links;
pub mod luks;
pub mod machine;
pub mod probes;
pub mod rbd;
pub mod seed;
pub mod targets;
pub mod tools;

pub use knobs::{Injected, Knobs, Rule};
pub use tools::{Fakes, TgtControl, Tools, ToolsConfig, ToolsError};
