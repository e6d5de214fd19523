//! The network vertical against a model of the kernel.

mod fixture;
mod golden;
mod order;
mod plans;
mod validation;
