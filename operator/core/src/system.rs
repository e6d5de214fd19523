//! Information systems: how many of their machines are as they should be. One goes when nothing
//! belongs to it any more.

use dc_crds::condition::types;
use dc_crds::vm::PowerState;
use dc_crds::{ConditionStatus, InformationSystem, InformationSystemStatus, VirtualMachine};

use crate::conditions::{Draft, Judged, find, merge};
use crate::lease::Term;
use crate::object::{self, Life};
use crate::plan::Plan;
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

/// The next step of one system.
///
/// `users` are the objects that belong to it, each as `machine web`; they are asked for only when
/// it is being deleted.
#[must_use]
pub fn plan(
    system: &InformationSystem,
    term: &Result<Option<Term>, Fact>,
    users: impl FnOnce() -> Vec<String>,
) -> Plan {
    if object::life(&system.metadata) == Life::Deleting {
        let by = users();
        return match by.is_empty() {
            true => Plan::let_go(),
            false => Plan::found(Fact::StillUsed { by }),
        };
    }
    match term {
        Ok(term) => Plan {
            again_at: term.as_ref().and_then(|term| term.next),
            ..Plan::default()
        },
        Err(wrong) => Plan::found(wrong.clone()),
    }
}

#[must_use]
pub fn status(
    system: &InformationSystem,
    machines: Machines,
    plan: &Plan,
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
    drafts.push(Draft::ready(plan.found.first().unwrap_or(&fact).words()));
    if let Ok(Some(term)) = term {
        drafts.push(term.draft());
    }
    InformationSystemStatus {
        conditions: merge(old.map_or(&[], |old| &old.conditions), drafts, judged),
        machines_text: format!("{}/{}", machines.ready, machines.wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::InformationSystemSpec;

    fn system() -> InformationSystem {
        let spec = serde_json::from_value(serde_json::json!({
            "displayName": {"vi": "Đất đai", "en": "Land"},
        }));
        let spec: InformationSystemSpec = spec.unwrap();
        InformationSystem::new("land", spec)
    }

    fn ready(system: &InformationSystem, plan: &Plan) -> String {
        let judged = Judged {
            generation: 1,
            now: "2026-11-26T00:00:00Z",
        };
        let status = status(system, Machines::default(), plan, &Ok(None), &judged);
        let ready = find(&status.conditions, types::READY).unwrap();
        format!("{:?} {}", ready.status, ready.reason)
    }

    #[test]
    fn one_that_is_deleted_waits_for_all_that_belongs_to_it_and_says_so() {
        let mut system = system();
        let nobody_asks = || panic!("it is not being deleted");
        assert_eq!(plan(&system, &Ok(None), nobody_asks), Plan::default());
        crate::sim::delete(&mut system.metadata);
        let waiting = plan(&system, &Ok(None), || vec!["machine web".into()]);
        let by = vec!["machine web".to_owned()];
        assert_eq!(waiting.found, [Fact::StillUsed { by }]);
        assert_eq!(ready(&system, &waiting), "False StillUsed");
        assert_eq!(plan(&system, &Ok(None), Vec::new), Plan::let_go());
    }
}
