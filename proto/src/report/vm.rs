//! What a host says of a machine beyond how its guest is.

use dc_types::Bytes;
use dc_types::report::{DiskUse, HoldSeen, MoveSeen, MoveState, Probed};

use crate::field::{choice, required, text};
use crate::{OnWire, WireError, wire};

impl OnWire for HoldSeen {
    type Wire = wire::HoldSeen;
    fn to_wire(&self) -> wire::HoldSeen {
        let Self { id, level, state } = self;
        wire::HoldSeen {
            id: Some(id.to_wire()),
            level: level.to_wire(),
            state: state.to_wire(),
        }
    }
    fn from_wire(wire: wire::HoldSeen) -> Result<Self, WireError> {
        let wire::HoldSeen { id, level, state } = wire;
        Ok(Self {
            id: required(id, "id")?,
            level: choice(level, "level")?,
            state: choice(state, "state")?,
        })
    }
}

impl OnWire for Probed {
    type Wire = wire::Probed;
    fn to_wire(&self) -> wire::Probed {
        let Self {
            console,
            agent,
            command,
        } = *self;
        wire::Probed {
            console,
            agent,
            command,
        }
    }
    fn from_wire(wire: wire::Probed) -> Result<Self, WireError> {
        let wire::Probed {
            console,
            agent,
            command,
        } = wire;
        Ok(Self {
            console,
            agent,
            command,
        })
    }
}

impl OnWire for DiskUse {
    type Wire = wire::DiskUse;
    fn to_wire(&self) -> wire::DiskUse {
        let Self {
            volume,
            iops,
            bandwidth,
        } = *self;
        wire::DiskUse {
            volume: volume.to_string(),
            iops,
            bandwidth_bytes: bandwidth.0,
        }
    }
    fn from_wire(wire: wire::DiskUse) -> Result<Self, WireError> {
        let wire::DiskUse {
            volume,
            iops,
            bandwidth_bytes,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            iops,
            bandwidth: Bytes(bandwidth_bytes),
        })
    }
}

impl OnWire for MoveSeen {
    type Wire = wire::MoveSeen;
    fn to_wire(&self) -> wire::MoveSeen {
        use wire::move_seen::State;
        let Self {
            volume,
            place,
            tries,
            state,
        } = *self;
        wire::MoveSeen {
            volume: volume.to_string(),
            place: place.to_string(),
            tries,
            state: Some(match state {
                MoveState::Waiting => State::Waiting(wire::MoveWaiting {}),
                MoveState::Copying { percent } => State::Copying(wire::MoveCopying { percent }),
                MoveState::Ready => State::Ready(wire::MoveReady {}),
                MoveState::Ending => State::Ending(wire::MoveEnding {}),
                MoveState::Switched => State::Switched(wire::MoveSwitched {}),
            }),
        }
    }
    fn from_wire(wire: wire::MoveSeen) -> Result<Self, WireError> {
        use wire::move_seen::State;
        let wire::MoveSeen {
            volume,
            place,
            tries,
            state,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            place: text(&place, "place")?,
            tries,
            state: match state.ok_or_else(|| WireError::new("state", "is missing"))? {
                State::Waiting(wire::MoveWaiting {}) => MoveState::Waiting,
                State::Copying(wire::MoveCopying { percent }) => MoveState::Copying { percent },
                State::Ready(wire::MoveReady {}) => MoveState::Ready,
                State::Ending(wire::MoveEnding {}) => MoveState::Ending,
                State::Switched(wire::MoveSwitched {}) => MoveState::Switched,
            },
        })
    }
}
