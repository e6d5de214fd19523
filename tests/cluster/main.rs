//! The operator and the kinds against a real API server and a real ledger.

mod accounting;
mod backed_up;
mod bad_input;
mod encrypted;
mod folders;
mod given;
mod ledger;
mod lent;
mod machines;
mod proven;
mod published;
mod quota;
mod rebuilding;
mod rebuilt;
mod requests;
mod rules;
mod sessions;
mod storage;
mod written_over;
