//! Image: kept in each of its pools.

use dc_operator_core::conditions::Judged;
use dc_operator_core::image::{PoolSeen, Seen, epoch, key as item_key, plan, status};
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::sight::Removal;
use dc_operator_core::volume::validate::pool_host;
use dc_types::{ObjectRef, PoolName};

use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(image) = context.stores.images.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let image = context.reports.latest(image);
    let Some(me) = object::object_ref(&image.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    settle(context, key, &image, Kind::Image, |look, _| {
        let pools = image.spec.pools.iter();
        let pools: Vec<PoolSeen> = pools.map(|pool| read_pool(look, &me, pool)).collect();
        context.parts.ledger.with_claims(|claims| {
            let seen = Seen {
                image: &image,
                me: &me,
                pools: &pools,
                claims,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&image.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: Vec::new(),
                counts: Counts::None,
            }
        })
    })
    .await
}

fn read_pool(look: &mut Look<'_>, me: &ObjectRef, name: &str) -> PoolSeen {
    let pool = look.pool("", name);
    let host = pool.as_deref().and_then(pool_host);
    let at = PoolName::new(name).ok().zip(host);
    let Some((_, host)) = &at else {
        return PoolSeen {
            name: name.to_owned(),
            at: None,
            presence: Presence::Never,
            said: None,
            removal: Removal::Done,
        };
    };
    let item = item_key(me);
    let ledger = look.context.parts.ledger.clone();
    let removal = ledger.with_claims(|claims| look.removal(claims, host, &item, epoch(claims)));
    PoolSeen {
        name: name.to_owned(),
        presence: look.presence(host),
        said: look.said(host, &item),
        removal,
        at,
    }
}
