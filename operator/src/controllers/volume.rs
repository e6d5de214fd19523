//! Volume: a claim on a pool, and an item on its storage host.

use std::sync::Arc;

use dc_crds::pool::OwnerClass;
use dc_crds::{Volume, VolumeSnapshot};
use dc_operator_core::claims::Claims;
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::plan::Plan;
use dc_operator_core::sight::Removal;
use dc_operator_core::volume::destruction::{DestructionSeen, revision_of};
use dc_operator_core::volume::erasure::{certificate_name, erases};
use dc_operator_core::volume::validate::{disposition, pool_host};
use dc_operator_core::volume::{ImageSeen, Named, PoolSeen, Seen, SourceSeen, plan, status};
use dc_operator_core::words::Fact;
use dc_operator_core::{image, vm, volume};
use dc_types::report::Observation;
use dc_types::{HostName, InstanceId, ObjectRef};
use k8s_openapi::jiff::Timestamp;

use super::look::Look;
use super::pool::facts_of;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, quota};
use crate::events::Tone;
use crate::observed::ReleaseState;
use crate::stores::{Key, Kind};

mod second;

use second::Second;

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(volume) = context.stores.volumes.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let volume = context.reports.latest(volume);
    let Some(me) = object::object_ref(&volume.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    // As the claim said last: when it is all over, none is left to say it.
    let mut place = volume::id(&me);
    let masters = &context.parts.master_keys;
    let new_key = |volume: InstanceId| masters.new_key(volume);
    let settled = settle(context, key, &volume, Kind::Volume, |look, _| {
        let read = Read::new(look, &volume, &me);
        if read.claimed {
            place = read.place;
        }
        let budget = quota::Read::new(look, &me.namespace);
        let removals = context
            .parts
            .ledger
            .with_claims(|claims| read.removals(look, claims, &me));
        let decision = context.parts.ledger.with_claims(|claims| {
            let ahead = |asker| budget.ahead(claims, asker);
            let destroyed = claims.destroyed.get(&volume::id(&me));
            let destroyed = destroyed.filter(|destroyed| !destroyed.value.closed);
            let reading = destroyed.and_then(|key| context.readings.of(revision_of(key)));
            let seen = Seen {
                volume: &volume,
                me: &me,
                system: read.system,
                pool: read.pool.as_ref().map(|pool| PoolSeen {
                    pool,
                    presence: read.presence,
                    facts: read
                        .facts
                        .as_deref()
                        .and_then(|facts| facts_of(facts, &read.lies)),
                }),
                image: read.image.as_ref().map(|(image, said)| ImageSeen {
                    image,
                    said: said.as_ref(),
                }),
                source: read.source.as_ref().map(|(volume, said)| SourceSeen {
                    volume,
                    said: said.as_ref(),
                }),
                from_snapshot: read.from_snapshot.as_deref(),
                restore: read.restore.as_deref(),
                class: read.class,
                holder_said: read.holder_said.as_ref(),
                claims,
                allowance: budget.allowance(&ahead),
                new_key: &new_key,
                said: read.said.as_ref(),
                removal: removals.0,
                grant_removal: removals.1,
                moving: read.second.seen(look, claims),
                destruction: DestructionSeen {
                    now: Timestamp::now(),
                    patience: context.parts.member_patience,
                    reading: reading.as_deref(),
                },
                note: None,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&volume.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                plan,
                wake: read.second.wake(&[&volume.spec.pool, &read.lies]),
                counts: Counts::None,
            }
        });
        let Plan { found, aside, .. } = &decision.plan;
        quota::heed(look, &me.namespace, &[&found[..], &aside[..]].concat());
        decision
    })
    .await?;
    tell_where(context, &volume, &me, place, settled);
    Ok(settled)
}

/// Says once, as the object goes, where retained bytes lie, or which certificate is the evidence
/// that they are gone.
fn tell_where(
    context: &Context,
    volume: &Volume,
    me: &ObjectRef,
    place: InstanceId,
    settled: Settled,
) {
    let going = object::life(&volume.metadata) == object::Life::Deleting;
    if !going || settled != Settled::gone() || !object::is_held(&volume.metadata) {
        return;
    }
    let status = volume.status.as_ref();
    let lay = status.and_then(|status| status.pool.as_ref());
    let pool = lay.unwrap_or(&volume.spec.pool);
    let pool = context.stores.pools.get("", pool);
    let Some(host) = pool.as_deref().and_then(pool_host) else {
        return;
    };
    let tell = |fact: Fact| {
        let words = fact.words();
        let note = words.message();
        context
            .events
            .tell(volume, Tone::Normal, &words.reason, &note);
    };
    if erases(disposition(volume.spec.reclaim, volume.spec.erase_method)) {
        let certificate = certificate_name(me, place);
        tell(Fact::VolumeErased { certificate });
        return;
    }
    let state = context.parts.observed.release(&host, &volume::key(place));
    if let Some(ReleaseState::Done(released)) = state
        && !released.note.is_empty()
    {
        tell(Fact::VolumeReleased {
            note: released.note,
        });
    }
}

/// The id under which the bytes of another volume are stored, as its claim says now.
pub(super) fn place_of(look: &mut Look<'_>, of: &ObjectRef) -> InstanceId {
    let id = volume::id(of);
    let claims = |claims: &Claims| claims.place_of(id);
    look.context.parts.ledger.with_claims(claims)
}

/// What was read around one volume.
struct Read {
    system: Named,
    /// The pool where its bytes are; the one that it asks for while it is not claimed.
    lies: String,
    second: Second,
    pool: Option<Arc<dc_crds::StoragePool>>,
    host: Option<HostName>,
    presence: Presence,
    facts: Option<Arc<dc_types::report::HostFacts>>,
    image: Option<(Arc<dc_crds::Image>, Option<Observation>)>,
    source: Option<(Arc<Volume>, Option<Observation>)>,
    from_snapshot: Option<Arc<VolumeSnapshot>>,
    restore: Option<Arc<VolumeSnapshot>>,
    class: OwnerClass,
    holder_said: Option<Observation>,
    said: Option<Observation>,
    claimed: bool,
    /// The place of its bytes.
    place: InstanceId,
}

impl Read {
    fn new(look: &mut Look<'_>, volume: &Volume, me: &ObjectRef) -> Self {
        let spec = &volume.spec;
        look.claim(me.uid.0);
        let is_tried = me.namespace == look.context.parts.namespace;
        let system = match look.system(&me.namespace, &spec.system) {
            Some(_) => Named::There,
            // What is tried belongs to no system.
            None if is_tried => Named::There,
            None => Named::Absent,
        };
        let claim = look.context.parts.ledger.with_claims(|claims| {
            let claim = &claims.volumes.get(&volume::id(me))?.value;
            Some((claim.host.clone(), claim.place(), claim.pool.to_string()))
        });
        let claimed = claim.is_some();
        let (host, place, lies) = match claim {
            Some((host, place, lies)) => (Some(host), place, lies),
            None => (None, volume::id(me), spec.pool.clone()),
        };
        let pool = look.pool("", &lies);
        look.claim(place.0);
        let host = host.or_else(|| pool.as_deref().and_then(pool_host));
        let presence = host
            .as_ref()
            .map_or(Presence::Never, |host| look.presence(host));
        // Only who still asks for room has to hear of every change of the pool's use.
        let facts = host.as_ref().and_then(|host| match claimed {
            true => look.facts_once(host),
            false => look.facts(host),
        });
        let said = |look: &mut Look<'_>, item| {
            let host = host.as_ref()?;
            look.said(host, &item)
        };
        let image = spec.source.image.as_ref().and_then(|name| {
            let image = look.image("", name)?;
            let image_ref = object::object_ref(&image.metadata)?;
            let said = said(look, image::key(&image_ref));
            Some((image, said))
        });
        let source = spec.source.volume.as_ref().and_then(|name| {
            let source = look.volume(&me.namespace, name)?;
            let source_ref = object::object_ref(&source.metadata)?;
            look.claim(source_ref.uid.0);
            let source_place = place_of(look, &source_ref);
            let said = said(look, volume::key(source_place));
            Some((source, said))
        });
        let own = said(look, volume::key(place));
        let from_snapshot = spec.source.snapshot.as_ref();
        let from_snapshot = from_snapshot.and_then(|s| look.snapshot(&me.namespace, &s.name));
        let restore = spec.restore.as_ref();
        let restore = restore.and_then(|r| look.snapshot(&me.namespace, &r.snapshot));
        let department = look.department("", &me.namespace);
        let holder = look.context.parts.ledger.with_claims(|claims| {
            let attached = claims.attachments.get(&place)?;
            let claim = claims.vms.get(&attached.value.vm)?;
            Some((claim.value.host.clone(), vm::key(&claim.value.owner)))
        });
        let on = holder.as_ref().map(|(host, _)| host.clone());
        let holder_said = holder.and_then(|(host, key)| look.said(&host, &key));
        let second = Second::read(look, volume, me, claimed.then_some(&*lies), on);
        let class = match &pool {
            // Its proof has seen to it that the pool is of the department's class.
            Some(pool) if is_tried => pool.spec.owner_class,
            _ => department.map_or(OwnerClass::Shared, |d| d.spec.owner_class),
        };
        Self {
            system,
            lies,
            second,
            pool,
            host,
            presence,
            facts,
            image,
            source,
            from_snapshot,
            restore,
            holder_said,
            class,
            said: own,
            claimed,
            place,
        }
    }

    /// How far the release of the volume is, and that of a grant of it.
    fn removals(&self, look: &mut Look<'_>, claims: &Claims, me: &ObjectRef) -> (Removal, Removal) {
        let id = volume::id(me);
        let (Some(host), Some(claim)) = (&self.host, claims.volumes.get(&id)) else {
            return (Removal::NotAsked, Removal::NotAsked);
        };
        let own = look.removal(claims, host, &volume::key(claim.value.place()), claim.epoch);
        let grant = vm::grant_key(claim.value.place());
        let pending = claims.releases.contains_key(&(host.clone(), grant));
        look.said(host, &grant);
        let grant = match pending {
            true => Removal::Pending,
            false => Removal::Done,
        };
        (own, grant)
    }
}
