//! The protocol between operator and agent, and its conversion to the domain.
//!
//! [`wire`] is generated from `dc/agent/v1/agent.proto`, where a session is described. Everything
//! else speaks the types of `dc-types`; [`OnWire`] leads from one to the other and back. What
//! comes from a peer is checked here once: a missing field, a value this version does not know or
//! a text that is not what it should be is a [`WireError`] that says where.
//!
//! What always holds: a value that is sent and received by the same version is the same value. A
//! delta that cannot be understood is refused by itself, never the session with it.

mod error;
mod field;
pub mod join;
mod plan;
mod report;
mod scalar;
pub mod session;

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, reason = "generated")]
#[path = "generated/dc.agent.v1.rs"]
pub mod wire;

pub use error::WireError;
pub use plan::{Received, RefusedDelta, receive_delta, send_delta};

/// The DNS name in the operator's certificate, whatever address it is dialled at. Hosts'
/// certificates do not carry it, so that no host can pose as the operator.
pub const OPERATOR_TLS_NAME: &str = "dc-operator";

/// Metadata of a refused session: where the leader is, `host:port`.
pub const LEADER_METADATA: &str = "dc-leader";

/// The largest message either side takes. A batch of deltas is kept far below it by
/// [`session::DELTAS_PER_MESSAGE`]; the largest single item is a department's network.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A value of the domain that travels as `Wire`.
pub trait OnWire: Sized {
    type Wire;
    fn to_wire(&self) -> Self::Wire;
    /// Checks what a peer sent.
    fn from_wire(wire: Self::Wire) -> Result<Self, WireError>;
}

impl std::fmt::Debug for wire::Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.text.len())
    }
}
