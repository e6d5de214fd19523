//! Pure: desired, observed, diff, steps and rendering of one host.
//!
//! Three verticals over the same words, one module each: `storage` (images, volumes, grants),
//! `network` (networks, endpoints) and `vm`. What they are given and give back is in [`wanted`],
//! how things are called on a host in [`names`]. No I/O, no clock, no random source.

pub mod names;
pub mod storage;
pub mod vm;
pub mod wanted;

pub use wanted::{
    Capabilities, EdgeView, Folders, HostAddresses, HostView, Releases, Status, Wanted, WantedOwned,
};
