//! Information systems: how many of their machines are as they should be.

use dc_crds::condition::types;
use dc_crds::vm::PowerState;
use dc_crds::{ConditionStatus, InformationSystem, InformationSystemStatus, VirtualMachine};

use crate::conditions::{Draft, Judged, find, merge};
use crate::lease::Term;
use crate::words::Fact;

/// Machines of a system: those that are to run, and those of them that do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machines {
    pub ready: usize,
    pub wanted: usize,
}

impl Machines {
    #[must_use]
    pub fn count<'a>(machines: impl IntoIterator<Item = &'a VirtualMachine>) -> Self {
        let mut count = Self::default();
        for vm in machines {
            if vm.spec.power_state == PowerState::Stopped {
                continue;
            }
            count.wanted += 1;
            let conditions = vm.status.as_ref().map_or(&[][..], |s| &s.conditions);
            let ready = find(conditions, types::READY);
            if ready.is_some_and(|ready| ready.status == ConditionStatus::True) {
                count.ready += 1;
            }
        }
        count
    }
}

#[must_use]
pub fn status(
    system: &InformationSystem,
    machines: Machines,
    term: &Result<Option<Term>, Fact>,
    judged: &Judged<'_>,
) -> InformationSystemStatus {
    let mut drafts = Vec::new();
    let old = system.status.as_ref();
    let fact = match machines.ready == machines.wanted {
        true => Fact::Ready,
        false => Fact::MachinesNotReady {
            ready: machines.ready,
            wanted: machines.wanted,
        },
    };
    match term {
        Err(wrong) => drafts.push(Draft::ready(wrong.words())),
        Ok(term) => {
            drafts.push(Draft::ready(fact.words()));
            drafts.extend(term.as_ref().map(Term::draft));
        }
    }
    InformationSystemStatus {
        conditions: merge(old.map_or(&[], |old| &old.conditions), drafts, judged),
        machines_text: format!("{}/{}", machines.ready, machines.wanted),
    }
}
