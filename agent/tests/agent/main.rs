//! The whole agent over fakes: its reconcile loop and its session.

mod convergence;
mod host;
mod operator;
mod session;
