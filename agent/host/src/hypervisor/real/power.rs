//! libvirt's states and reasons in our words.

use dc_agent_core::vm::seen::{Off, Paused, Power};
use virt::domain::{
    DomainPausedReason, DomainShutoffReason, DomainStateReason, DomainStateReasonEnum,
};
use virt::enumutil::Enum;

pub(super) fn power(reason: DomainStateReasonEnum) -> Power {
    let Enum::Known(reason) = reason else {
        return Power::Paused(Paused::Passing);
    };
    match reason {
        DomainStateReason::Running(_) | DomainStateReason::Blocked(_) => Power::Running,
        DomainStateReason::Paused(Enum::Known(reason)) => Power::Paused(paused(reason)),
        DomainStateReason::Shutdown(_) => Power::ShuttingDown,
        DomainStateReason::Shutoff(Enum::Known(reason)) => Power::Off(off(reason)),
        DomainStateReason::Shutoff(Enum::Unknown(_)) => Power::Off(Off::Unknown),
        DomainStateReason::Crashed(_) => Power::Panicked,
        // A suspended guest cannot be here: the definition forbids it.
        DomainStateReason::NoState(_)
        | DomainStateReason::PMSuspended(_)
        | DomainStateReason::Paused(Enum::Unknown(_)) => Power::Paused(Paused::Passing),
    }
}

fn paused(reason: DomainPausedReason) -> Paused {
    match reason {
        // A resume that failed half-way is to be tried again like one that was never ordered.
        DomainPausedReason::User | DomainPausedReason::Unknown | DomainPausedReason::APIError => {
            Paused::Ordered
        }
        DomainPausedReason::IOError => Paused::DiskError,
        // A guest's crash stops it before libvirt acts on it; all others are libvirt's own doing.
        DomainPausedReason::Crashed
        | DomainPausedReason::StartingUp
        | DomainPausedReason::Migration
        | DomainPausedReason::Save
        | DomainPausedReason::Dump
        | DomainPausedReason::Watchdog
        | DomainPausedReason::FromSnapshot
        | DomainPausedReason::ShuttingDown
        | DomainPausedReason::Snapshot
        | DomainPausedReason::PostCopy
        | DomainPausedReason::PostCopyFailed => Paused::Passing,
    }
}

fn off(reason: DomainShutoffReason) -> Off {
    match reason {
        DomainShutoffReason::Shutdown => Off::ByGuest,
        DomainShutoffReason::Destroyed => Off::Destroyed,
        DomainShutoffReason::Crashed => Off::Crashed,
        DomainShutoffReason::Failed => Off::Failed,
        _ => Off::Unknown,
    }
}
