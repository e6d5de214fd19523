//! The parts of the project's commands that tests use too.

pub mod generate;
