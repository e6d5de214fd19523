//! The verticals, as the loop sees them. Nothing is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use dc_agent_core::{Status, Wanted, WantedOwned};
use dc_agent_core::{
    backup as pure_backup, network as pure_network, storage as pure_storage, vm as pure_vm,
};
use dc_host::Tools;
use dc_types::InstanceId;
use dc_types::plan::{ItemKey, ItemKind};
use dc_types::report::{PoolFacts, Trouble};

use crate::reconciler::Reconciler;
use crate::{backup, network, storage, vm};

/// Images, volumes, snapshots and grants.
pub struct Storage;

/// Backups and restores.
pub struct Backup;

/// Networks and endpoints.
pub struct Network;

/// Machines.
pub struct Vm;

#[async_trait]
impl Reconciler for Storage {
    type Seen = pure_storage::Seen;
    type Step = pure_storage::Step;

    const NAME: &'static str = "storage";
    const KINDS: &'static [ItemKind] = &[
        ItemKind::Image,
        ItemKind::Volume,
        ItemKind::Snapshot,
        ItemKind::Grant,
    ];
    /// A volume that is to be restored is opened to nobody before it is.
    const LOOKS_AT: &'static [ItemKind] = &[
        ItemKind::Image,
        ItemKind::Volume,
        ItemKind::Snapshot,
        ItemKind::Restore,
        ItemKind::Grant,
    ];
    const WAITS_FOR_READY: bool = false;
    /// A file system takes a few at a time gladly; more would only queue in it.
    const LANES: usize = 4;

    fn key(step: &Self::Step) -> ItemKey {
        step.key()
    }

    fn name(step: &Self::Step) -> &'static str {
        step.name()
    }

    async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Self::Seen, Trouble> {
        let seen = storage::read(tools, wanted).await;
        seen.map_err(|error| unknown("StorageUnknown", &error))
    }

    fn plan(wanted: &Wanted<'_>, seen: &Self::Seen) -> Vec<Self::Step> {
        pure_storage::plan(wanted, seen)
    }

    fn status(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
        troubles: &BTreeMap<ItemKey, Trouble>,
        busy: &BTreeSet<ItemKey>,
    ) -> Status {
        pure_storage::status(wanted, seen, troubles, busy)
    }

    async fn apply(tools: &Tools, step: &Self::Step) -> Result<(), Trouble> {
        storage::apply(tools, step).await
    }

    fn pools(wanted: &Wanted<'_>, seen: &Self::Seen) -> Option<Vec<PoolFacts>> {
        Some(pure_storage::pool_facts(wanted, seen))
    }

    fn next_look(wanted: &Wanted<'_>, seen: &Self::Seen) -> Option<Duration> {
        pure_storage::next_look(wanted, seen).map(|s| Duration::from_secs(u64::from(s)))
    }
}

#[async_trait]
impl Reconciler for Backup {
    type Seen = pure_backup::Seen;
    type Step = pure_backup::Step;

    const NAME: &'static str = "backup";
    const KINDS: &'static [ItemKind] = &[ItemKind::Backup, ItemKind::Restore, ItemKind::Manifest];
    const LOOKS_AT: &'static [ItemKind] = Self::KINDS;
    /// For the snapshots that are backed up, and the volumes that are written.
    const WAITS_FOR_READY: bool = true;
    /// To begin a run takes no time, and to end one waits for it alone.
    const LANES: usize = 8;

    fn key(step: &Self::Step) -> ItemKey {
        step.key()
    }

    fn name(step: &Self::Step) -> &'static str {
        step.name()
    }

    async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Self::Seen, Trouble> {
        Ok(tools.runs.read(wanted).await)
    }

    fn plan(wanted: &Wanted<'_>, seen: &Self::Seen) -> Vec<Self::Step> {
        pure_backup::plan(wanted, seen)
    }

    fn status(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
        troubles: &BTreeMap<ItemKey, Trouble>,
        busy: &BTreeSet<ItemKey>,
    ) -> Status {
        pure_backup::status(wanted, seen, troubles, busy)
    }

    async fn apply(tools: &Tools, step: &Self::Step) -> Result<(), Trouble> {
        backup::apply(tools, step).await
    }

    fn next_look(wanted: &Wanted<'_>, seen: &Self::Seen) -> Option<Duration> {
        pure_backup::next_look(wanted, seen)
    }
}

#[async_trait]
impl Reconciler for Network {
    type Seen = pure_network::Seen;
    type Step = pure_network::Step;

    const NAME: &'static str = "network";
    const KINDS: &'static [ItemKind] = &[ItemKind::Network, ItemKind::Endpoint];
    const LOOKS_AT: &'static [ItemKind] = Self::KINDS;
    const WAITS_FOR_READY: bool = false;
    /// What departments share (the edge, the host's own settings) comes first in the plan.
    const LANES: usize = 1;

    fn key(step: &Self::Step) -> ItemKey {
        step.key
    }

    fn name(step: &Self::Step) -> &'static str {
        step.name()
    }

    async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Self::Seen, Trouble> {
        let seen = network::read(tools, wanted).await;
        seen.map_err(|error| unknown("NetworkUnknown", &error))
    }

    fn plan(wanted: &Wanted<'_>, seen: &Self::Seen) -> Vec<Self::Step> {
        pure_network::plan(wanted, seen)
    }

    fn status(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
        troubles: &BTreeMap<ItemKey, Trouble>,
        busy: &BTreeSet<ItemKey>,
    ) -> Status {
        pure_network::status(wanted, seen, troubles, busy)
    }

    async fn apply(tools: &Tools, step: &Self::Step) -> Result<(), Trouble> {
        network::apply(tools, step).await
    }
}

#[async_trait]
impl Reconciler for Vm {
    type Seen = pure_vm::Seen;
    type Step = pure_vm::Step;

    const NAME: &'static str = "vm";
    const KINDS: &'static [ItemKind] = &[ItemKind::Vm];
    /// A machine's seed and cards are made from its network's segments.
    const LOOKS_AT: &'static [ItemKind] = &[ItemKind::Network, ItemKind::Endpoint, ItemKind::Vm];
    const WAITS_FOR_READY: bool = true;
    /// libvirt starts several machines at a time; each costs a core while it boots.
    const LANES: usize = 8;

    fn key(step: &Self::Step) -> ItemKey {
        step.key()
    }

    fn name(step: &Self::Step) -> &'static str {
        step.name()
    }

    async fn read(tools: &Tools, wanted: &WantedOwned) -> Result<Self::Seen, Trouble> {
        let seen = vm::read(tools, wanted).await;
        seen.map_err(|error| unknown("MachinesUnknown", &error))
    }

    fn plan(wanted: &Wanted<'_>, seen: &Self::Seen) -> Vec<Self::Step> {
        pure_vm::plan(wanted, seen)
    }

    fn status(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
        troubles: &BTreeMap<ItemKey, Trouble>,
        busy: &BTreeSet<ItemKey>,
    ) -> Status {
        pure_vm::status(wanted, seen, troubles, busy)
    }

    async fn apply(tools: &Tools, step: &Self::Step) -> Result<(), Trouble> {
        vm::apply(tools, step).await
    }

    fn disks(
        wanted: &Wanted<'_>,
        seen: &Self::Seen,
    ) -> Option<BTreeMap<InstanceId, pure_vm::meter::DiskCounts>> {
        Some(pure_vm::meter::count_disks(wanted, seen))
    }

    fn next_look(wanted: &Wanted<'_>, seen: &Self::Seen) -> Option<Duration> {
        pure_vm::next_look(wanted, seen).map(|s| Duration::from_secs(u64::from(s)))
    }
}

/// The host could not be looked at: a reason, and the error with what caused it.
fn unknown(reason: &str, error: &dyn Error) -> Trouble {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause in their own words.
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        cause = error.source();
    }
    Trouble {
        reason: reason.to_owned(),
        message,
    }
}
