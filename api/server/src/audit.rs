//! The audit log as the server writes it: [`file`] appends the lines that `dc_audit` makes.

pub mod file;

pub use dc_audit::{Entry, Event, Stage};
