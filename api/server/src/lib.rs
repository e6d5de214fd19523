//! The departments' API: what belongs to a department, read and changed over HTTP by its own
//! officers, under the rights that Kubernetes gives them.
//!
//! A request goes through the [`door`] (who asks, how often), to a handler of [`serve`] (may they,
//! what is there), and out through the door again. What is served is the table in [`resources`].
//! People read and do the same on the pages of [`web`].
//!
//! Pure, and tested without a server: [`etag`], [`language`], [`limit`], [`page`], [`problem`],
//! [`replay`], `identity::claims`, `web::wizard`, `web::words`.
//!
//! It keeps nothing of its own but the audit log, and browsers' sessions while it runs: objects are the API server's, rights are RBAC's,
//! identities are the provider's.

pub mod app;
pub mod audit;
pub mod cache;
pub mod door;
pub mod etag;
pub mod identity;
pub mod language;
pub mod limit;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod page;
pub mod probes;
pub mod problem;
pub mod replay;
pub mod resources;
pub mod rights;
pub mod serve;
pub mod web;
