//! Who is asking: a bearer token of the OpenID Connect provider, checked here, and what the
//! province's own list says of its user.
//!
//! - [`provider`] finds the provider's keys by discovery and checks signature, algorithm, issuer,
//!   audience and times.
//! - [`code`] signs people in by browser.
//! - [`claims`] (pure) makes a person of the claims.
//! - [`people`] follows the list of groups and of removed users, so that a removed user's token is
//!   refused from that moment on, however long it is valid.

pub mod claims;
pub mod code;
pub mod crypto;
pub mod people;
pub mod provider;
