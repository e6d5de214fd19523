//! How a copy goes over: the host is told to once it is whole, and asked where the bytes are when its
//! machine went off meanwhile.

use dc_types::claim::{MoveClaim, MovePhase, VmClaim, VolumeClaim, keys};
use dc_types::report::{Guest, MoveSeen, MoveState};

use super::begin::{machine, runs};
use super::{asks_host, guest, heard, is_off, put_phase, told};
use crate::claims::Claimed;
use crate::place::Presence;
use crate::plan::Plan;
use crate::txn::Txn;
use crate::vm;
use crate::volume::Seen;
use crate::words::{Fact, MoveFact};

pub(super) fn copying(
    seen: &Seen<'_>,
    volume: &Claimed<VolumeClaim>,
    second: &Claimed<MoveClaim>,
) -> Result<Plan, Fact> {
    let claim = &second.value;
    let to = claim.pool.to_string();
    let (_, vm) = machine(seen)?;
    runs(seen, vm)?;
    let Some(MoveSeen { tries, state, .. }) = heard(seen, claim) else {
        return Err(Fact::Move(MoveFact::Preparing { to }));
    };
    match state {
        MoveState::Ready => {
            let release = keys::release(&vm.value.host, &vm::key(&vm.value.owner));
            let txn = Txn::new(format!("volume {}: go over to {to}", seen.me))
                .unchanged(keys::vm(vm.value.vm), vm.revision)
                .absent(release);
            Ok(Plan::claim(put_phase(txn, second, MovePhase::Switching)))
        }
        MoveState::Copying { percent } => Err(Fact::Move(MoveFact::Copying {
            from: volume.value.pool.to_string(),
            to,
            percent: told::in_steps(percent),
            tries,
        })),
        MoveState::Waiting | MoveState::Ending => {
            Err(Fact::Move(MoveFact::CopyWaits { to, tries }))
        }
        // Decided with the machine.
        MoveState::Switched => Err(going_over(vm, claim)),
    }
}

fn going_over(vm: &Claimed<VmClaim>, second: &MoveClaim) -> Fact {
    Fact::Move(MoveFact::GoingOver {
        vm: vm.value.owner.name.clone(),
        to: second.pool.to_string(),
    })
}

/// A guest that is off goes nowhere: its host is to say where the bytes are.
pub(super) fn switching(seen: &Seen<'_>, second: &Claimed<MoveClaim>) -> Result<Plan, Fact> {
    let claim = &second.value;
    let attached = seen.claims.attachments.get(&claim.place);
    let vm = attached.and_then(|attached| seen.claims.vms.get(&attached.value.vm));
    let Some(vm) = vm else {
        return Err(asks_host(seen, claim));
    };
    let state = heard(seen, claim).map(|of| of.state);
    if is_off(guest(seen)) && state != Some(MoveState::Switched) {
        let txn = Txn::new(format!("volume {}: recall from {}", seen.me, claim.pool));
        return Ok(Plan::claim(put_phase(txn, second, MovePhase::Recalled)));
    }
    if seen.moving.holder_presence != Presence::Connected {
        return Err(Fact::HostSilent {
            host: vm.value.host.to_string(),
        });
    }
    Err(going_over(vm, claim))
}

/// One that runs again goes on with what it was told before; that one which is off has not gone over is
/// decided with the machine.
pub(super) fn recalled(seen: &Seen<'_>, second: &Claimed<MoveClaim>) -> Result<Plan, Fact> {
    let claim = &second.value;
    let switched = heard(seen, claim).is_some_and(|of| of.state == MoveState::Switched);
    let connected = seen.moving.holder_presence == Presence::Connected;
    if connected && !switched && guest(seen) == Some(Guest::Running) {
        let txn = Txn::new(format!("volume {}: go over to {}", seen.me, claim.pool));
        return Ok(Plan::claim(put_phase(txn, second, MovePhase::Switching)));
    }
    Err(asks_host(seen, claim))
}
