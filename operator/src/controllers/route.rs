//! From what has changed to the keys it concerns.
//!
//! Three sources: the stores (objects), the ledger (claims) and what hosts say. A source that we
//! could not follow fast enough wakes everything once.

use std::sync::Arc;

use dc_operator_core::claims::HOST;
use dc_types::claim::keys;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::{DepartmentName, HostName};
use futures::future::BoxFuture;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use super::interest::Thing;
use super::{Context, wake_all};
use crate::stores::{Key, Kind};
use crate::{ledger, observed, stores};

/// One task for each source, listening from now on.
pub fn tasks(context: &Arc<Context>) -> [BoxFuture<'static, ()>; 3] {
    let objects = context.stores.subscribe();
    let claims = context.parts.ledger.subscribe();
    let hosts = context.parts.observed.subscribe();
    let (a, b, c) = (context.clone(), context.clone(), context.clone());
    [
        Box::pin(follow(a, objects, from_objects)),
        Box::pin(follow(b, claims, from_ledger)),
        Box::pin(follow(c, hosts, from_hosts)),
    ]
}

async fn follow<C: Clone>(
    context: Arc<Context>,
    mut changes: Receiver<C>,
    route: impl Fn(&Context, &C),
) {
    loop {
        match changes.recv().await {
            Ok(change) => route(&context, &change),
            Err(RecvError::Lagged(missed)) => {
                tracing::warn!(
                    missed,
                    "changes came too fast; everything is looked at again"
                );
                for host in context.stores.hosts.keys(Kind::Host) {
                    refresh_host(&context, &host.name);
                }
                wake_all(&context);
            }
            // The source lives as long as the process.
            Err(RecvError::Closed) => return,
        }
    }
}

fn wake_interested(context: &Context, thing: &Thing) {
    for key in context.interests.of(thing) {
        context.queue.wake(key);
    }
}

fn from_objects(context: &Context, change: &stores::Change) {
    match change {
        stores::Change::Look(key) => context.queue.wake(key.clone()),
        stores::Change::Recount(key) => context.queue.wake_soon(key.clone()),
        stores::Change::Object(key) => {
            if key.kind == Kind::Host {
                refresh_host(context, &key.name);
            }
            context.queue.wake(key.clone());
            wake_interested(context, &Thing::Object(key.clone()));
            if key.kind == Kind::Policy {
                // Whatever is not decided yet is decided by what policies say now.
                for request in context.stores.requests.keys(Kind::Request) {
                    context.queue.wake(request);
                }
            }
            if matches!(key.kind, Kind::Vm | Kind::System) {
                // Policies are few; which machines they are for is worked out at most once a second.
                for policy in context.stores.backup_policies.keys(Kind::BackupPolicy) {
                    context.queue.wake_soon(policy);
                }
            }
            if key.kind == Kind::BackupPolicy {
                // Which machines have none.
                for department in context.stores.departments.keys(Kind::Department) {
                    context.queue.wake_soon(department);
                }
            }
            if key.kind == Kind::Zone {
                // Zones are few, and checked against each other.
                for zone in context.stores.zones.keys(Kind::Zone) {
                    context.queue.wake(zone);
                }
            }
        }
    }
}

/// Takes in how a host is now, and wakes those for whom that matters.
pub fn refresh_host(context: &Context, name: &str) {
    let Ok(host) = HostName::new(name) else {
        return;
    };
    let observed = &context.parts.observed;
    let news = context.hosts.refresh(&context.stores, observed, &host);
    if news.placement {
        wake_interested(context, &Thing::Capacity);
    }
    if news.overlay {
        for key in super::network::keys(context) {
            context.queue.wake(key);
        }
    }
}

fn from_hosts(context: &Context, change: &observed::Change) {
    match change {
        observed::Change::Session(host) => {
            refresh_host(context, host.as_str());
            context.queue.wake(Key::global(Kind::Host, host.as_str()));
            wake_interested(context, &Thing::Session(host.clone()));
        }
        observed::Change::Facts(host) => {
            refresh_host(context, host.as_str());
            context.queue.wake(Key::global(Kind::Host, host.as_str()));
            wake_interested(context, &Thing::Facts(host.clone()));
        }
        observed::Change::Item(host, item) | observed::Change::Release(host, item) => {
            wake_interested(context, &Thing::Item(host.clone(), *item));
        }
        observed::Change::All => {
            for host in context.stores.hosts.keys(Kind::Host) {
                refresh_host(context, &host.name);
            }
            wake_all(context);
        }
    }
}

fn from_ledger(context: &Context, change: &ledger::Change) {
    let ledger::Change::Key(key) = change;
    let (kind, rest) = key.split_once('/').unwrap_or((key, ""));
    let id = || rest.parse::<Uuid>().ok();
    match kind {
        "vm" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            vm_changed(context, id);
        }
        "volume" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            volume_changed(context, id);
        }
        "move" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            let second = context.parts.ledger.with_claims(|claims| {
                let claim = claims.moves.get(&dc_types::InstanceId(id))?;
                Some(claim.value.pool.to_string())
            });
            if let Some(pool) = second {
                context.queue.wake(Key::global(Kind::Pool, &pool));
            }
            volume_changed(context, id);
        }
        // Whoever looks at a volume's claim looks at its snapshots too.
        "snapshot" => {
            let Some(id) = id() else { return };
            let snapshot = context.parts.ledger.with_claims(|claims| {
                let claim = claims.snapshots.get(&dc_types::SnapshotId(id))?;
                Some((
                    claim.value.volume.0,
                    claim.value.pool.to_string(),
                    claim.value.owner.namespace.clone(),
                ))
            });
            wake_interested(context, &Thing::Claim(id));
            // When the claim is gone the department hears of the object's end.
            if let Some((volume, pool, namespace)) = snapshot {
                wake_interested(context, &Thing::Claim(volume));
                context.queue.wake(Key::global(Kind::Pool, &pool));
                recount_department(context, &namespace);
            }
        }
        // Other backups of the machine wait for it, or begin where it ended.
        "backup" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            let vm = context.parts.ledger.with_claims(|claims| {
                let claim = claims.backups.get(&dc_types::ObjectUid(id))?;
                Some(claim.value.vm.0)
            });
            if let Some(vm) = vm {
                wake_interested(context, &Thing::Backups(vm));
            }
        }
        "restore" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            // Its volume may be waiting for it to go.
            let volume = context.parts.ledger.with_claims(|claims| {
                let claim = claims.restores.get(&dc_types::ObjectUid(id))?;
                Some(claim.value.volume.0)
            });
            if let Some(volume) = volume {
                wake_interested(context, &Thing::Claim(volume));
            }
        }
        "attach" | "hold" | "erased" | "key" | "destroyed" | "manifest" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
        }
        "subnet" => {
            let Some(id) = id() else { return };
            wake_interested(context, &Thing::Claim(id));
            let namespace = context.parts.ledger.with_claims(|claims| {
                let claim = claims.subnets.get(&dc_types::SubnetUid(id))?;
                Some(claim.value.owner.namespace.clone())
            });
            let object = || context.stores.subnets.find(id, Kind::Subnet);
            if let Some(namespace) = namespace.or_else(|| Some(object()?.namespace.to_string())) {
                recount_department(context, &namespace);
            }
        }
        "department" if DepartmentName::new(rest).is_ok() => {
            context.queue.wake(Key::global(Kind::Network, rest));
            context.queue.wake(Key::global(Kind::Department, rest));
        }
        "host" if key.starts_with(HOST) => context.queue.wake(Key::global(Kind::Host, rest)),
        "release" if key.starts_with(keys::RELEASE) => release_changed(context, rest),
        _ => {}
    }
}

/// The machine's department has another network, and its host has promised something else.
fn vm_changed(context: &Context, id: Uuid) {
    let found = context.parts.ledger.with_claims(|claims| {
        let claim = claims.vms.get(&dc_types::InstanceId(id))?;
        Some((
            claim.value.owner.namespace.clone(),
            claim.value.host.to_string(),
        ))
    });
    match found {
        Some((namespace, host)) => {
            wake_network(context, &namespace);
            context.queue.wake(Key::global(Kind::Host, &host));
            recount_department(context, &namespace);
        }
        None => {
            wake_interested(context, &Thing::Capacity);
            if let Some(vm) = context.stores.vms.find(id, Kind::Vm) {
                wake_network(context, &vm.namespace);
                recount_department(context, &vm.namespace);
            }
        }
    }
}

/// Its pool promises something else, and its department holds something else.
fn volume_changed(context: &Context, id: Uuid) {
    let found = context.parts.ledger.with_claims(|claims| {
        let volume = &claims.volumes.get(&dc_types::InstanceId(id))?.value;
        Some((volume.pool.to_string(), volume.owner.namespace.clone()))
    });
    let (pool, namespace) = found.unzip();
    if let Some(pool) = pool {
        context.queue.wake(Key::global(Kind::Pool, &pool));
    }
    let object = || context.stores.volumes.find(id, Kind::Volume);
    // When both are gone the department has heard of the object's end.
    if let Some(namespace) = namespace.or_else(|| Some(object()?.namespace.to_string())) {
        recount_department(context, &namespace);
    }
}

/// What a department holds has changed.
fn recount_department(context: &Context, name: &str) {
    let department = Key::global(Kind::Department, name);
    context.queue.wake_soon(department);
}

/// The department's network, and its subnets, which count their addresses.
fn wake_network(context: &Context, namespace: &str) {
    context.queue.wake(Key::global(Kind::Network, namespace));
    for subnet in context.stores.subnets.in_namespace(namespace) {
        if let Some(name) = &subnet.metadata.name {
            context.queue.wake(Key::new(Kind::Subnet, namespace, name));
        }
    }
}

/// `<host>/<kind>/<id>/<card>`: whoever looked at the item looks again.
fn release_changed(context: &Context, rest: &str) {
    let parts: Vec<&str> = rest.split('/').collect();
    let [host, kind, id, card] = parts[..] else {
        return;
    };
    let kind = match kind {
        "Image" => ItemKind::Image,
        "Volume" => ItemKind::Volume,
        "Snapshot" => ItemKind::Snapshot,
        "Backup" => ItemKind::Backup,
        "Restore" => ItemKind::Restore,
        "Manifest" => ItemKind::Manifest,
        "Grant" => ItemKind::Grant,
        "Vm" => ItemKind::Vm,
        "Network" => ItemKind::Network,
        "Endpoint" => ItemKind::Endpoint,
        _ => return,
    };
    let (Ok(host), Ok(id), Ok(card)) = (HostName::new(host), id.parse(), card.parse()) else {
        return;
    };
    let item = ItemKey { kind, id, card };
    context.queue.wake(Key::global(Kind::Host, host.as_str()));
    wake_interested(context, &Thing::Item(host, item));
}
