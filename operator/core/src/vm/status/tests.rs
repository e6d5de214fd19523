use dc_crds::ConditionStatus;
use dc_types::report::{ItemState, Observation, Trouble};

use super::super::{id, key, plan};
use super::*;
use crate::sim::{Sim, observe};

#[test]
fn a_machine_that_waits_for_its_restart_is_ready_and_says_so_beside_it() {
    let mut sim = Sim::new();
    sim.add_vm("web");
    sim.look();
    let me = sim.me("web");
    let on = sim.ledger.claims.vms[&id(&me)].value.host.clone();
    let item = sim.hosts[&on].held[&key(&me)].clone();
    let said = |state: ItemState| Observation {
        state,
        ..observe(&item)
    };
    let told = |sim: &mut Sim, said: Observation| -> Vec<(String, ConditionStatus)> {
        let host = sim.hosts.get_mut(&on).unwrap();
        host.said.insert(item.key, said);
        let judged = Judged {
            generation: 1,
            now: "t",
        };
        let status = sim.with_seen(&sim.vms["web"], &me, |seen| {
            status(seen, &plan(seen), &judged)
        });
        assert_eq!(status.state, "Running");
        let conditions = status.conditions.into_iter();
        conditions.map(|c| (c.type_, c.status)).collect()
    };
    let waits = said(ItemState::Pending(Trouble {
        reason: "RestartNeeded".into(),
        message: "what was changed takes effect at its next start".into(),
    }));
    let conditions = told(&mut sim, waits);
    for type_ in ["Ready", "RestartNeeded"] {
        assert!(conditions.contains(&(type_.into(), ConditionStatus::True)));
    }
    let conditions = told(&mut sim, said(ItemState::Ready));
    assert!(conditions.iter().all(|(type_, _)| type_ != "RestartNeeded"));
}
