//! The agent's log, and the ids that its lines carry.
//!
//! A JSON line on standard error each; what it is about stands under `span`, by the same names as
//! in the operator's log: `host`, `kind`, `department`, `object`, `system` of a machine, `instance`
//! (the id for life), and the `epoch` under which it was asked for. Secrets are in no field.

use dc_agent_core::Wanted;
use dc_types::plan::{ItemBody, ItemKey, ItemKind};
use tracing::{Span, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines for programs; what is logged is set by RUST_LOG.
pub fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .json()
        .flatten_event(true)
        // The innermost span has all ids.
        .with_span_list(false)
        .finish()
}

/// The span of what is done for one id.
#[must_use]
pub fn of_steps(reconciler: &'static str, wanted: &Wanted<'_>, key: &ItemKey) -> Span {
    let item = wanted.items.get(key);
    let release = wanted.releases.get(key);
    let asked = item.map(|item| (&item.object, item.epoch));
    let asked = asked.or_else(|| release.map(|release| (&release.object, release.epoch)));
    let object = asked.map(|(object, _)| object.name.as_str());
    let department = asked.and_then(|(object, _)| match key.kind {
        // Of the cluster's scope: the name is the department's.
        ItemKind::Network => Some(object.name.as_str()),
        ItemKind::Image => None,
        ItemKind::Volume
        | ItemKind::Snapshot
        | ItemKind::Backup
        | ItemKind::Restore
        | ItemKind::Manifest
        | ItemKind::Grant
        | ItemKind::Endpoint
        | ItemKind::Vm => Some(object.namespace.as_str()),
    });
    let system = item.and_then(|item| match &item.body {
        ItemBody::Vm(vm) => Some(vm.system.as_str()),
        _ => None,
    });
    tracing::info_span!(
        "steps",
        host = %wanted.host.name,
        reconciler,
        kind = ?key.kind,
        department,
        object,
        system,
        instance = %key.id,
        epoch = asked.map(|(_, epoch)| tracing::field::display(epoch)),
    )
}
