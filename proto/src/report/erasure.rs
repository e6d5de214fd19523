//! What an erasure did.

use dc_types::Bytes;
use dc_types::report::Erasure;

use crate::field::choice;
use crate::{OnWire, WireError, wire};

impl OnWire for Erasure {
    type Wire = wire::Erasure;
    fn to_wire(&self) -> wire::Erasure {
        let Self {
            method,
            extents,
            bytes,
            verified,
            began_at,
            ended_at,
        } = self;
        wire::Erasure {
            method: method.to_wire(),
            extents: *extents,
            bytes: bytes.0,
            verified_bytes: verified.0,
            began_at_unix_s: *began_at,
            ended_at_unix_s: *ended_at,
        }
    }
    fn from_wire(wire: wire::Erasure) -> Result<Self, WireError> {
        let wire::Erasure {
            method,
            extents,
            bytes,
            verified_bytes,
            began_at_unix_s,
            ended_at_unix_s,
        } = wire;
        Ok(Self {
            method: choice(method, "method")?,
            extents,
            bytes: Bytes(bytes),
            verified: Bytes(verified_bytes),
            began_at: began_at_unix_s,
            ended_at: ended_at_unix_s,
        })
    }
}
