//! What people read of a move.

use dc_crds::ConditionStatus;
use dc_crds::condition::types;
use dc_crds::volume::MovingStatus;
use dc_types::report::MoveState;

use super::heard;
use crate::conditions::Draft;
use crate::plan::Plan;
use crate::volume::{Seen, id};

/// A status is not written for every hundredth that is copied.
const STEP: u32 = 5;

/// True while the volume has two places; False when it is to move and does not yet, with the reason.
pub fn condition(seen: &Seen<'_>, plan: &Plan) -> Option<Draft> {
    let fact = plan.aside.first()?;
    let status = match seen.claims.moves.contains_key(&id(seen.me)) {
        true => ConditionStatus::True,
        false => ConditionStatus::False,
    };
    Some(Draft::new(types::MOVING, status, fact.words()))
}

pub fn moving(seen: &Seen<'_>) -> Option<MovingStatus> {
    let claim = &seen.claims.moves.get(&id(seen.me))?.value;
    let heard = heard(seen, claim);
    let percent = heard.and_then(|heard| match heard.state {
        MoveState::Copying { percent } => Some(in_steps(percent)),
        MoveState::Ready | MoveState::Switched => Some(100),
        MoveState::Waiting | MoveState::Ending => None,
    });
    Some(MovingStatus {
        other: claim.pool.to_string(),
        phase: format!("{:?}", claim.phase),
        percent: percent.filter(|_| claim.phase.is_mirrored()),
        tries: heard.map(|heard| heard.tries).filter(|tries| *tries > 0),
    })
}

pub(super) fn in_steps(percent: u32) -> u32 {
    percent / STEP * STEP
}
