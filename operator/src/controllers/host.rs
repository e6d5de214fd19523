//! Host: what its agent says of it, and what was promised on it.

use dc_operator_core::conditions::Judged;
use dc_operator_core::host::{Seen, plan, status};
use dc_operator_core::object;
use dc_types::HostName;

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(host) = context.stores.hosts.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let host = context.reports.latest(host);
    let (Ok(name), Some(me)) = (
        HostName::new(&*key.name),
        object::object_ref(&host.metadata),
    ) else {
        return Ok(Settled::gone());
    };
    let observed = &context.parts.observed;
    let now = now();
    settle(context, key, &host, Kind::Host, |look, _| {
        let presence = look.presence(&name);
        let facts = look.facts(&name);
        let version = observed.version(&name);
        context.parts.ledger.with_claims(|claims| {
            let seen = Seen {
                host: &host,
                me: &me,
                name: &name,
                presence,
                facts: facts.as_deref(),
                version: version.as_deref(),
                claims,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&host.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: vec![key.clone()],
                counts: Counts::Some,
            }
        })
    })
    .await
}
