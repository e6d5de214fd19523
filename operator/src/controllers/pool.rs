//! StoragePool: what its storage host says of it, and what of it was promised.

use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::pool::{Seen, plan, status};
use dc_operator_core::volume::validate::pool_host;
use dc_types::PoolName;
use dc_types::report::{HostFacts, PoolFacts};

use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

/// What a host says of one of its pools.
pub fn facts_of<'a>(facts: &'a HostFacts, pool: &str) -> Option<&'a PoolFacts> {
    facts.pools.iter().find(|facts| facts.pool.as_str() == pool)
}

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(pool) = context.stores.pools.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let pool = context.reports.latest(pool);
    let (Ok(name), Some(me)) = (
        PoolName::new(&*key.name),
        object::object_ref(&pool.metadata),
    ) else {
        return Ok(Settled::gone());
    };
    let host = pool_host(&pool);
    let now = now();
    settle(context, key, &pool, Kind::Pool, |look, _| {
        let presence = host
            .as_ref()
            .map_or(Presence::Never, |host| look.presence(host));
        let facts = host.as_ref().and_then(|host| look.facts(host));
        // Images are few.
        let images = context.stores.images.all();
        let images = images
            .iter()
            .filter(|image| image.spec.pools.iter().any(|p| **p == *key.name));
        let images: Vec<String> = images.filter_map(|i| i.metadata.name.clone()).collect();
        context.parts.ledger.with_claims(|claims| {
            let seen = Seen {
                pool: &pool,
                me: &me,
                name: &name,
                host: host.as_ref(),
                presence,
                facts: facts
                    .as_deref()
                    .and_then(|facts| facts_of(facts, name.as_str())),
                claims,
                images: &images,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&pool.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: Vec::new(),
                counts: Counts::Some,
            }
        })
    })
    .await
}
