//! What all requests share.

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dc_crds::Department;
use kube::Client;
use tokio::sync::{broadcast, watch};

use crate::audit::file::Audit;
use crate::cache::Cache;
use crate::cache::kinds::Kinds;
use crate::identity::claims::Rules;
use crate::identity::people::Roll;
use crate::identity::provider::Provider;
use crate::limit::{Limiter, Rate};
use crate::metrics::Metrics;
use crate::replay::Replays;
use crate::resources::catalogue::Catalogue;
use crate::rights::reviews::Reviews;
use crate::serve::follow::{Change, Slots};

/// Changes that a follower may be behind before it is told to read everything again.
const CHANGES: usize = 4096;
/// Clients whose rate is remembered: more than the province has officers.
const CLIENTS: usize = 20_000;
/// Answers kept for repeated requests, of a few kilobytes each.
const ANSWERS: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For each user.
    pub rate: Rate,
    /// For each address, of requests that do not sign in.
    pub strangers: Rate,
    /// How long the body of a request may take to come.
    pub body_deadline: Duration,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

pub struct Inner {
    pub client: Client,
    /// Where the lists of people and of prices are.
    pub namespace: String,
    pub provider: Arc<Provider>,
    pub rules: Rules,
    pub roll: Roll,
    pub reviews: Reviews,
    pub audit: Audit,
    pub metrics: Metrics,
    pub settings: Settings,
    pub users: Mutex<Limiter<String>>,
    pub strangers: Mutex<Limiter<IpAddr>>,
    pub replays: Replays,
    pub departments: Cache<Department>,
    pub catalogue: Catalogue,
    pub kinds: Kinds,
    pub changes: broadcast::Sender<Arc<Change>>,
    pub slots: Slots,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// What an app is made of.
pub struct Parts {
    pub client: Client,
    pub namespace: String,
    pub provider: Arc<Provider>,
    pub rules: Rules,
    pub roll: Roll,
    pub audit: Audit,
    pub settings: Settings,
}

impl App {
    /// Begins to follow departments and the catalogue.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            client,
            namespace,
            provider,
            rules,
            roll,
            audit,
            settings,
        } = parts;
        let metrics = Metrics::default();
        let departments = Cache::start(client.clone(), drop);
        let changes = broadcast::Sender::new(CHANGES);
        Self {
            inner: Arc::new(Inner {
                namespace,
                provider,
                rules,
                roll,
                reviews: Reviews::new(client.clone(), metrics.clone()),
                audit,
                slots: Slots::new(metrics.clone()),
                metrics,
                settings,
                users: Mutex::new(Limiter::new(settings.rate, CLIENTS)),
                strangers: Mutex::new(Limiter::new(settings.strangers, CLIENTS)),
                replays: Replays::new(ANSWERS),
                departments,
                catalogue: Catalogue::start(&client),
                kinds: Kinds::new(client.clone(), changes.clone()),
                changes,
                client,
            }),
        }
    }

    /// Each becomes true once what it stands for was read whole.
    #[must_use]
    pub fn read(&self) -> Vec<watch::Receiver<bool>> {
        let mut read = vec![self.departments.read()];
        read.extend(self.catalogue.read());
        read.extend(self.kinds.read());
        read
    }
}
