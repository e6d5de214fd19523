//! Restore: its Volume, its claim, then an item on the storage host that writes it.

use std::sync::Arc;

use dc_crds::{Backup, BackupRepository, Restore, VirtualMachine, Volume, VolumeSnapshot};
use dc_operator_core::backup::RepositorySeen;
use dc_operator_core::conditions::Judged;
use dc_operator_core::object;
use dc_operator_core::place::Presence;
use dc_operator_core::restore::in_place::snapshot_name;
use dc_operator_core::restore::{Seen, key as item_key, plan, repository, source, status};
use dc_operator_core::sight::Removal;
use dc_operator_core::vm::grant_key;
use dc_operator_core::volume;
use dc_operator_core::words::BackupFact;
use dc_types::plan::RepositoryAccess;
use dc_types::report::Observation;
use dc_types::{Epoch, HostName, ObjectRef};

use super::backup::Opened;
use super::interest::Thing;
use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(restore) = context.stores.restores.get(&key.namespace, &key.name) else {
        return Ok(Settled::gone());
    };
    let restore = context.reports.latest(restore);
    let Some(me) = object::object_ref(&restore.metadata) else {
        return Ok(Settled::gone());
    };
    let now = now();
    let backup = restore.spec.backup.as_ref();
    let backup = backup.and_then(|name| context.stores.backups.get(&key.namespace, name));
    let claimed = context.parts.ledger.with_claims(|claims| {
        let claim = claims.restores.get(&me.uid)?;
        Some(claim.value.repository.clone())
    });
    let source = source(&restore, &me, &context.parts.namespace);
    let department = source.as_ref().map_or(&*me.namespace, |name| *name);
    let named = || repository(&restore, backup.as_deref()).map(str::to_owned);
    let opened = Opened::read(context, &claimed.or_else(named).unwrap_or_default()).await?;
    settle(context, key, &restore, Kind::Restore, |look, refused| {
        let read = Read::new(look, &restore, &me, &opened, department);
        let access = read.access.as_ref().map(Result::as_ref);
        let ledger = &context.parts.ledger;
        ledger.with_claims(|claims| {
            let seen = Seen {
                restore: &restore,
                me: &me,
                backup: read.backup.as_deref(),
                repository: read
                    .repository
                    .as_deref()
                    .zip(access)
                    .map(|(object, access)| RepositorySeen { object, access }),
                volume: read.volume.as_deref(),
                volume_said: read.volume_said.as_ref(),
                holder: read.holder.as_deref(),
                before: read.before.as_deref(),
                presence: read.presence,
                said: read.said.as_ref(),
                removal: match &read.host {
                    Some((host, epoch)) => look.removal(claims, host, &item_key(me.uid), *epoch),
                    None => Removal::NotAsked,
                },
                source: source.as_ref().map(|name| *name),
                refused,
                claims,
            };
            let plan = plan(&seen);
            let judged = Judged {
                generation: object::generation(&restore.metadata),
                now: &now,
            };
            Decision {
                status: Some(status(&seen, &plan, &judged)),
                wake: vec![Key::new(
                    Kind::Volume,
                    &key.namespace,
                    &restore.spec.to.name,
                )],
                plan,
                counts: Counts::Some,
            }
        })
    })
    .await
}

/// What was read around one restore.
struct Read {
    backup: Option<Arc<Backup>>,
    repository: Option<Arc<BackupRepository>>,
    access: Option<Result<RepositoryAccess, BackupFact>>,
    volume: Option<Arc<Volume>>,
    volume_said: Option<Observation>,
    holder: Option<Arc<VirtualMachine>>,
    before: Option<Arc<VolumeSnapshot>>,
    host: Option<(HostName, Epoch)>,
    presence: Presence,
    said: Option<Observation>,
}

impl Read {
    fn new(
        look: &mut Look<'_>,
        restore: &Restore,
        me: &ObjectRef,
        opened: &Opened,
        department: &str,
    ) -> Self {
        let context = look.context;
        look.claim(me.uid.0);
        let backup = restore.spec.backup.as_ref();
        let backup = backup.and_then(|name| look.backup(&me.namespace, name));
        // What is claimed says where it reads, whatever became of the record.
        let (claimed, host) = context.parts.ledger.with_claims(|claims| {
            let claim = claims.restores.get(&me.uid);
            let host = claim.map(|claim| (claim.value.host.clone(), claim.epoch));
            (claim.map(|claim| claim.value.repository.clone()), host)
        });
        let named = repository(restore, backup.as_deref()).map(str::to_owned);
        let repository = claimed
            .or(named)
            .and_then(|name| look.repository("", &name));
        let access = repository.as_ref();
        let access = access.map(|found| opened.access(context, found, department));
        let volume = look.volume(&me.namespace, &restore.spec.to.name);
        let at = host.as_ref().map(|(host, _)| host.clone());
        let (holder, before) = match restore.spec.in_place {
            Some(_) => in_place(look, volume.as_deref(), me),
            None => (None, None),
        };
        Self {
            holder,
            before,
            volume_said: volume.as_deref().and_then(|volume| said(look, volume)),
            presence: at.as_ref().map_or(Presence::Never, |at| look.presence(at)),
            said: at.and_then(|at| look.said(&at, &item_key(me.uid))),
            backup,
            repository,
            access,
            volume,
            host,
        }
    }
}

/// The machine that has the volume, and the snapshot of what was there before.
fn in_place(
    look: &mut Look<'_>,
    volume: Option<&Volume>,
    me: &ObjectRef,
) -> (Option<Arc<VirtualMachine>>, Option<Arc<VolumeSnapshot>>) {
    let before = look.snapshot(&me.namespace, &snapshot_name(me));
    let of = volume.and_then(|volume| object::object_ref(&volume.metadata));
    let Some(id) = of.map(|of| volume::id(&of)) else {
        return (None, before);
    };
    let (place, host, holder) = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.volumes.get(&id);
        let attached = claims.attachment_of(id);
        let holder = attached.and_then(|attached| claims.vms.get(&attached.value.vm));
        let holder = holder.map(|holder| holder.value.owner.name.clone());
        let host = claim.map(|claim| claim.value.host.clone());
        (claims.place_of(id), host, holder)
    });
    // When it is let go of, and when its grant is closed.
    look.claim(place.0);
    if let Some(host) = host {
        look.watch(Thing::Item(host, grant_key(place)));
    }
    let holder = holder.and_then(|name| look.vm(&me.namespace, &name));
    (holder, before)
}

/// What the storage host says of the volume.
fn said(look: &mut Look<'_>, of: &Volume) -> Option<Observation> {
    let me = object::object_ref(&of.metadata)?;
    look.claim(me.uid.0);
    let (host, place) = look.context.parts.ledger.with_claims(|claims| {
        let claim = claims.volumes.get(&volume::id(&me))?;
        Some((claim.value.host.clone(), claim.value.place()))
    })?;
    look.said(&host, &volume::key(place))
}
