//! Domain and secret XML. One file renders one device, one test checks it.

pub mod balloon;
pub mod channel;
pub mod cpu;
pub mod disk;
pub mod domain;
pub mod features;
pub mod metadata;
pub mod nic;
pub mod os;
pub mod panic;
pub mod rng;
pub mod secret;
pub mod seed_disk;
pub mod serial;
pub mod slots;
pub mod writer;

pub use domain::{DomainSpec, render_domain};
pub use metadata::{Metadata, MetadataError};
pub use secret::{DiskSecret, SecretBytes, SecretLabel};
pub use writer::Element;
