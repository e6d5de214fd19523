//! Pure: validate, place, plan and status of every resource.

pub mod claims;
pub mod txn;
