//! Showback: what each system of a department held, day by day.
//!
//! What is held is a function of the claims, as in a quota: nothing is counted. A record says what is
//! held since a moment, and what was held before it, by day; so it is written when something else is
//! held, and at midnight, and an idle data centre writes nothing. Claims are made and given back by the
//! operator alone: while none runs, what is held stays as it is, and the next one adds the time in
//! between as if it had been there.

mod plan;
mod read;
#[cfg(test)]
mod tests;

pub use plan::{Planned, Seen, plan};
pub use read::{Owned, held};

/// In which days begin and end: the province's.
pub const TIME_ZONE: &str = "Asia/Ho_Chi_Minh";
