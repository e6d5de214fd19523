//! MachineClass: a status that says whether it can be used.

use dc_operator_core::class::status;
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::plan::Plan;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(class) = context.stores.classes.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let class = context.reports.latest(class);
    let now = now();
    settle(context, key, &class, Kind::Class, |_, _| {
        let judged = Judged {
            generation: object::generation(&class.metadata),
            now: &now,
        };
        Decision {
            plan: Plan::default(),
            status: Some(status(&class, &judged)),
            wake: Vec::new(),
            counts: Counts::None,
        }
    })
    .await
}
