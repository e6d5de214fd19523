//! `dc-operator ledger rebuild`: claims made again from what hosts hold, under a new incarnation.
//!
//! The command writes a request ([`request`]); one operator that does not trust its ledger takes it
//! up, because hosts dial operators and nobody else. What is written is decided in
//! `dc_operator_core::rebuild`. The order makes any interruption harmless: the record outside says
//! the new incarnation first, and the ledger says it last, so that in between no operator believes
//! the ledger, and the command is simply given again.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dc_crds::{Backup, Department, Host, Subnet, Volume, VolumeSnapshot};
use dc_operator_core::rebuild::{Inventory, Objects, Outcome, rebuild};
use dc_types::claim::keys;
use dc_types::{HostName, InstanceId};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ledger::{Health, Known, Ledger};
use crate::record::Record;
use crate::session::inventory::Inventories;

pub mod request;

use request::{Report, Request, Requests};

/// How often an operator that may not act looks for a request.
const LOOK: Duration = Duration::from_secs(2);

/// What of the old ledger stays, in the order of the keys.
const KEPT: [&str; 2] = [keys::DESTROYED, keys::KEY];

/// Keys of one transaction: below etcd's 128.
const BATCH: usize = 100;

/// What rebuilding needs.
pub struct Rebuilder {
    pub client: Client,
    pub ledger: Ledger,
    pub record: Record,
    pub requests: Requests,
    pub inventories: Inventories,
    /// This operator, for the request.
    pub me: String,
    /// Held while a rebuild is under way: the process must not end meanwhile.
    pub busy: Mutex<()>,
}

impl Rebuilder {
    /// Serves requests whenever the ledger is not trusted.
    pub async fn serve(&self) -> std::convert::Infallible {
        let mut health = self.ledger.watch_health();
        loop {
            let distrusted = |health: &Health| matches!(health, Health::Distrusted(_));
            // The sender lives in the ledger.
            let _ = health.wait_for(distrusted).await;
            match self.requests.take(&self.me).await {
                Ok(Some(request)) => self.answer(&request).await,
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "no request for a rebuild can be read"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns when the ledger lives under a new incarnation and all is said about it.
    pub async fn wait_rebuilt(&self) {
        let mut health = self.ledger.watch_health();
        let _ = health.wait_for(|health| *health == Health::Rebuilt).await;
        let _done = self.busy.lock().await;
    }

    async fn answer(&self, request: &Request) {
        let _busy = self.busy.lock().await;
        tracing::warn!(without = ?request.without, "rebuilding the ledger from what hosts hold");
        let rebuilt = self.rebuild(request).await;
        self.inventories.close();
        let report = rebuilt.unwrap_or_else(|error| Report::failed(format!("{error:#}")));
        for disagreement in &report.disagreements {
            tracing::warn!(disagreement, "found while rebuilding the ledger");
        }
        match &report.failed {
            None => tracing::warn!(incarnation = report.incarnation, "the ledger was rebuilt"),
            Some(why) => tracing::error!(why, "the ledger was not rebuilt"),
        }
        if let Err(error) = self.requests.answer(request, &report).await {
            tracing::warn!(%error, "the result of the rebuild cannot be written");
        }
    }

    async fn rebuild(&self, request: &Request) -> Result<Report> {
        let incarnation = self.next_incarnation().await?;
        let known = Known {
            incarnation,
            ..Known::default()
        };
        self.record.write(known).await?;
        self.inventories.open(incarnation);
        let inventories = self.gather(request).await?;
        let objects = self.objects().await?;
        let outcome = rebuild(&inventories, &objects);
        self.write(&outcome, incarnation).await?;
        Ok(Report {
            incarnation,
            hosts: inventories.iter().map(|i| i.host.to_string()).collect(),
            claims: outcome.keys.len(),
            disagreements: outcome.disagreements,
            failed: None,
        })
    }

    /// Higher than any that was ever used, by anybody we can ask.
    async fn next_incarnation(&self) -> Result<u64> {
        let (found, _) = self.ledger.store().read_key(keys::INCARNATION).await?;
        let found = found.and_then(|entry| entry.value?.parse::<u64>().ok());
        let recorded = self.record.read().await?.incarnation;
        let own = self.ledger.known().incarnation;
        Ok(found.unwrap_or_default().max(recorded).max(own) + 1)
    }

    /// Waits for every host there is, except those that a person has given up.
    async fn gather(&self, request: &Request) -> Result<Vec<Inventory>> {
        let hosts = Api::<Host>::all(self.client.clone());
        let hosts = hosts.list(&ListParams::default()).await?;
        let expected: BTreeSet<HostName> = hosts
            .iter()
            .filter_map(|host| HostName::new(host.name_any()).ok())
            .filter(|host| !request.without.contains(host))
            .collect();
        let deadline = Instant::now() + request.wait;
        loop {
            let there: BTreeSet<HostName> = self.inventories.hosts().into_iter().collect();
            let missing: Vec<&str> = expected.difference(&there).map(HostName::as_str).collect();
            if missing.is_empty() {
                return Ok(self.inventories.all());
            }
            if Instant::now() >= deadline {
                bail!(
                    "these hosts have not said what they hold: {}. Bring them back; or, if they \
                     are certain to be off, give --without {}",
                    missing.join(", "),
                    missing.join(",")
                );
            }
            tokio::time::sleep(LOOK / 4).await;
        }
    }

    async fn objects(&self) -> Result<Objects> {
        let subnets = Api::<Subnet>::all(self.client.clone());
        let departments = Api::<Department>::all(self.client.clone());
        let snapshots = Api::<VolumeSnapshot>::all(self.client.clone());
        let volumes = Api::<Volume>::all(self.client.clone());
        let backups = Api::<Backup>::all(self.client.clone());
        Ok(Objects {
            subnets: subnets.list(&ListParams::default()).await?.items,
            departments: departments.list(&ListParams::default()).await?.items,
            snapshots: snapshots.list(&ListParams::default()).await?.items,
            volumes: volumes.list(&ListParams::default()).await?.items,
            backups: backups.list(&ListParams::default()).await?.items,
            keys: self.keys().await?,
        })
    }

    /// The volumes whose wrapped keys the ledger has, or had until they were destroyed.
    async fn keys(&self) -> Result<BTreeSet<InstanceId>> {
        let (entries, _) = self.ledger.store().read_all().await?;
        let id = |key: &str| {
            KEPT.iter()
                .find_map(|kept| key.strip_prefix(kept).map(str::to_owned))
        };
        let ids = entries.iter().filter_map(|entry| id(&entry.key));
        Ok(ids.filter_map(|id| id.parse().ok()).collect())
    }

    async fn write(&self, outcome: &Outcome, incarnation: u64) -> Result<()> {
        let store = self.ledger.store();
        // Also who leads: whoever believes to, does not any more.
        // Wrapped keys of volumes, and that one was destroyed, are held by no host: they are never
        // deleted here.
        let deleted = store.delete_all_but(&KEPT).await;
        deleted.context("the old ledger stays")?;
        let puts: Vec<_> = outcome.keys.iter().collect();
        for batch in puts.chunks(BATCH) {
            let batch = batch.iter().map(|(key, value)| store.put(key, value));
            store.txn(vec![], batch.collect(), vec![]).await?;
        }
        let last = store.put(keys::INCARNATION, &incarnation.to_string());
        store.txn(vec![], vec![last], vec![]).await?;
        Ok(())
    }
}
