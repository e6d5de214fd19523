//! What is read around the second place of a volume: the one that it is moved to, or was moved from.

use std::sync::Arc;

use dc_crds::{StoragePool, Volume};
use dc_operator_core::claims::Claims;
use dc_operator_core::place::Presence;
use dc_operator_core::sight::Removal;
use dc_operator_core::vm;
use dc_operator_core::volume::moving::MovingSeen;
use dc_operator_core::volume::validate::pool_host;
use dc_operator_core::volume::{self, PoolSeen};
use dc_types::report::{HostFacts, Observation};
use dc_types::{Epoch, HostName, InstanceId, ObjectRef};

use super::super::look::Look;
use super::super::pool::facts_of;
use crate::stores::{Key, Kind};

#[derive(Default)]
pub(super) struct Second {
    target: Option<Target>,
    claimed: Option<Claimed>,
    holder: Option<Presence>,
}

/// The pool that the object names, when its bytes lie in another.
struct Target {
    pool: Arc<StoragePool>,
    presence: Presence,
    facts: Option<Arc<HostFacts>>,
}

struct Claimed {
    host: HostName,
    place: InstanceId,
    pool: String,
    epoch: Epoch,
    presence: Presence,
    facts: Option<Arc<HostFacts>>,
    said: Option<Observation>,
}

impl Second {
    /// `lies` is the pool of its claim, `holder` the host of the machine that has it.
    pub fn read(
        look: &mut Look<'_>,
        volume: &Volume,
        me: &ObjectRef,
        lies: Option<&str>,
        holder: Option<HostName>,
    ) -> Self {
        let Some(lies) = lies else {
            return Self::default();
        };
        let claimed = look.context.parts.ledger.with_claims(|claims| {
            let second = claims.moves.get(&volume::id(me))?;
            let claim = &second.value;
            let pool = claim.pool.to_string();
            Some((claim.host.clone(), claim.place, pool, second.epoch))
        });
        let named = &volume.spec.pool;
        if claimed.is_none() && named == lies {
            return Self::default();
        }
        let target = (named != lies).then(|| Target::read(look, named)).flatten();
        let claimed = claimed.map(|(host, place, pool, epoch)| {
            look.claim(place.0);
            Claimed {
                presence: look.presence(&host),
                facts: look.facts_once(&host),
                said: look.said(&host, &volume::key(place)),
                host,
                place,
                pool,
                epoch,
            }
        });
        Self {
            target,
            claimed,
            holder: holder.map(|holder| look.presence(&holder)),
        }
    }

    pub fn seen(&self, look: &mut Look<'_>, claims: &Claims) -> MovingSeen<'_> {
        let target = self.target.as_ref().map(|target| PoolSeen {
            pool: &target.pool,
            presence: target.presence,
            facts: target.facts.as_deref().and_then(|facts| {
                let name = target.pool.metadata.name.as_deref()?;
                facts_of(facts, name)
            }),
        });
        let seen = MovingSeen {
            target,
            holder_presence: self.holder.unwrap_or(Presence::Never),
            ..MovingSeen::NONE
        };
        let Some(claimed) = &self.claimed else {
            return seen;
        };
        let (host, place) = (&claimed.host, claimed.place);
        let grant = vm::grant_key(place);
        look.said(host, &grant);
        let facts = claimed.facts.as_deref();
        MovingSeen {
            presence: claimed.presence,
            facts: facts.and_then(|facts| facts_of(facts, &claimed.pool)),
            said: claimed.said.as_ref(),
            removal: look.removal(claims, host, &volume::key(place), claimed.epoch),
            grant_removal: match claims.releases.contains_key(&(host.clone(), grant)) {
                true => Removal::Pending,
                false => Removal::Done,
            },
            ..seen
        }
    }

    /// The pools that promise something else when something of the volume changes.
    pub fn wake(&self, others: &[&str]) -> Vec<Key> {
        let second = self.claimed.as_ref().map(|claimed| claimed.pool.as_str());
        let mut pools: Vec<&str> = others.iter().copied().chain(second).collect();
        pools.sort_unstable();
        pools.dedup();
        let keys = pools.into_iter();
        keys.map(|pool| Key::global(Kind::Pool, pool)).collect()
    }
}

impl Target {
    fn read(look: &mut Look<'_>, name: &str) -> Option<Self> {
        let pool = look.pool("", name)?;
        let host = pool_host(&pool);
        Some(Self {
            presence: host
                .as_ref()
                .map_or(Presence::Never, |host| look.presence(host)),
            facts: host.as_ref().and_then(|host| look.facts(host)),
            pool,
        })
    }
}
