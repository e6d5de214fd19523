//! Pure: validate, place, plan and status of every resource.
//!
//! Each kind is a module of the same files: `validate` makes one checked value of what an object
//! asks, `plan` says the next step, `status` what people read. Kinds that ask little have less.
//! What was read comes in as a `Seen`; what is to be done goes out as a [`plan::Plan`]. The ledger
//! is in [`claims`], a change of it in [`txn`], its making anew in [`rebuild`], the choice of a host in [`place`], the projection
//! of a department's network in [`network`], and all words for people in [`words`].
//!
//! No I/O, no clock, no random source.

pub mod backup;
pub mod backup_policy;
pub mod claims;
pub mod class;
pub mod conditions;
pub mod department;
pub mod host;
pub mod image;
pub mod lease;
pub mod machine_restore;
pub mod network;
pub mod object;
pub mod place;
pub mod plan;
pub mod pool;
pub mod proof;
pub mod protection;
pub mod quota;
pub mod rebuild;
pub mod request;
pub mod restore;
pub mod showback;
pub mod sight;
pub mod snapshot;
pub mod subnet;
pub mod system;
pub mod txn;
pub mod vm;
pub mod volume;
pub mod words;
pub mod zone;

#[cfg(test)]
mod sim;
