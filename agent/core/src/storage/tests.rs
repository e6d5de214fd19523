//! The storage vertical against a model of a host: what the tools do to `Seen`, step by step.

mod cases;
mod fills;
mod model;
mod orphans;
mod property;
mod snapshots;
