//! Virtual machines: what this host carries of them, and what to do so that it carries what is
//! wanted.
//!
//! ```text
//!                 Note WriteSeed DefineSecret MakeTap Define Start     PlugTap Resume Note
//!  Absent, Off ───────────────────────────────────────────▶ Paused ───────────────▶ Running
//!      ▲                                                      │ never ran: Destroy     │
//!      │ by itself: policy decides what follows               │                        │
//!      ├──────────────────────────────────────────────────────┘                        │
//!      └─────── Press (ACPI, repeated) … past the deadline: Destroy ◀──────────────────┘
//!  Off ── released: Undefine RemoveSecret DeleteTap RemoveFiles Forget ──▶ nothing left
//! ```
//!
//! The decision for one machine is one pure function, [`judge`]: the plan carries out its
//! verdict and the status tells it, so that they cannot differ. What must outlive the agent and
//! is not seen on libvirt (how the guest last stopped, since when it is being stopped, how often
//! it was started in a row) is the [`record`], written before what it speaks of is done.
//!
//! What always holds: only domains that carry our metadata are touched. A guest runs only after
//! all its taps are in its department's namespace. A running guest is left alone unless power,
//! restart text or the epoch of one of its grants asks for more; what else differs takes effect at
//! its next start, and the status says so.
//!
//! A guest is kept from writing for the moment in which its volumes are taken: see [`hold`]. Its
//! disks are moved to other storage while it runs: see [`moves`]; they grow while it runs: see
//! [`growth`]; all but the first come and go while it runs: see [`plugs`]. Some are encrypted: see
//! [`luks`].
//!
//! Neighbours: the namespace, bridges and port guards are the network's; targets are the
//! storage's. A QEMU whose grant was fenced does not notice: that is why a newer grant stops it.

pub mod growth;
pub mod hold;
pub mod judge;
pub mod luks;
pub mod meter;
pub mod moves;
pub mod plan;
pub mod plugs;
pub mod probes;
pub mod record;
pub mod seed;
pub mod seen;
pub mod status;
pub mod step;
pub mod validate;
pub mod xml;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod simulator;

pub use plan::{next_look, plan};
pub use record::Record;
pub use seen::Seen;
pub use status::status;
pub use step::Step;
