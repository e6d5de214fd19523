//! One operator process: its parts, and the order in which they begin and end.
//!
//! ```text
//! Kubernetes API (secrets, what is known of the ledger)
//!   → ledger, election, agents' server       follower: serves nothing but the way to the leader
//!       → leading: record what is known → open the gate → controllers, tokens
//!       ← term lost: gate closed, board and reports forgotten
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use dc_operator_core::backup::repository::RecoveryKeys;
use dc_types::Term;
use dc_types::plan::Secret;
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use tokio::sync::Mutex;

use crate::board::Board;
use crate::evidence::EvidenceKey;
use crate::http::{self, Started};
use crate::join::authority::{HOST_LIFE, OPERATOR_LIFE};
use crate::join::{Joins, secrets};
use crate::leader::{Leader, TTL};
use crate::ledger::{Ledger, Store, StoreConfig};
use crate::master::MasterKeys;
use crate::metrics::Metrics;
use crate::observed::Observed;
use crate::rebuild::Rebuilder;
use crate::rebuild::request::Requests;
use crate::record::Record;
use crate::session::inventory::Inventories;
use crate::session::{Gate, Sessions, server};

/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a process that was told to end may take to give its lead away.
const FAREWELL: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Config {
    pub store: StoreConfig,
    /// The namespace of the operator's own Secrets and ConfigMap.
    pub namespace: String,
    /// Where agents are listened to.
    pub listen: SocketAddr,
    /// Where agents reach that, `host:port`.
    pub advertise: String,
    pub http: SocketAddr,
    /// From them the passwords of backups are made.
    pub recovery_keys: RecoveryKeys,
    /// By them the keys of volumes are wrapped.
    pub master_keys: MasterKeys,
    /// How long a member of the ledger that does not answer is waited for, before the destruction of a
    /// key is certified without it.
    pub member_patience: SignedDuration,
}

/// What controllers work with. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    pub client: Client,
    pub namespace: String,
    pub ledger: Ledger,
    pub leader: Leader,
    pub board: Board,
    pub observed: Observed,
    pub metrics: Metrics,
    /// From it the CHAP secrets of grants are made.
    pub ledger_key: Secret,
    /// Signs certificates of erasure.
    pub evidence: EvidenceKey,
    /// The recovery keys of backups, by id.
    pub recovery_keys: Arc<RecoveryKeys>,
    /// The master keys of volumes.
    pub master_keys: Arc<MasterKeys>,
    /// As configured.
    pub member_patience: SignedDuration,
}

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Stopped,
    /// It must start anew, with nothing in memory.
    Again,
}

/// Runs an operator until `stop` resolves. `control` is the work of a leader: it begins with every
/// term and is dropped when the term ends.
pub async fn run<C, F>(
    config: Config,
    client: Client,
    control: C,
    stop: impl Future<Output = ()>,
) -> Result<End>
where
    C: Fn(Parts, Term) -> F,
    F: Future<Output = Result<()>>,
{
    let started = Started::default();
    let pages = http::serve(config.http, started.clone());
    let gate = Gate::default();
    let work = work(&config, client, control, &started, &gate);
    tokio::select! {
        served = pages => {
            served.with_context(|| format!("cannot serve metrics on {}", config.http))?;
        }
        ended = work => return ended,
        () = stop => {}
    }
    // Nothing is sent any more by the time that another may begin.
    gate.close();
    if let Some(parts) = started.get() {
        tracing::info!("stopping");
        if tokio::time::timeout(FAREWELL, parts.leader.resign())
            .await
            .is_err()
        {
            tracing::warn!("the lead could not be given away; it ends with its lease");
        }
    }
    Ok(End::Stopped)
}

async fn work<C, F>(
    config: &Config,
    client: Client,
    control: C,
    started: &Started,
    gate: &Gate,
) -> Result<End>
where
    C: Fn(Parts, Term) -> F,
    F: Future<Output = Result<()>>,
{
    let namespace = &config.namespace;
    let listener = server::listen(config.listen).await?;
    let cluster = &config.store.cluster;
    let authority = until_done("the agents' authority", || {
        secrets::ensure_authority(&client, namespace, cluster)
    })
    .await;
    let ledger_key = until_done("the ledger's key", || {
        secrets::ensure_ledger_key(&client, namespace)
    })
    .await;
    let evidence = until_done("the key of evidence", || {
        secrets::ensure_evidence_key(&client, namespace)
    })
    .await;
    let record = Record::new(&client, namespace);
    let known = until_done("what is known of the ledger", || record.read()).await;

    let store = Store::connect(&config.store)
        .await
        .with_context(|| format!("cannot use the ledger {:?}", config.store.endpoints))?;
    let metrics = Metrics::default();
    let ledger = Ledger::start(store, known, &metrics);
    let parts = Parts {
        client: client.clone(),
        namespace: namespace.clone(),
        leader: Leader::start(&ledger, &config.advertise, TTL),
        ledger,
        board: Board::default(),
        observed: Observed::default(),
        metrics,
        ledger_key,
        evidence,
        recovery_keys: Arc::new(config.recovery_keys.clone()),
        master_keys: Arc::new(config.master_keys.clone()),
        member_patience: config.member_patience,
    };
    let identity = authority.sign_operator(&server_names(config), SystemTime::now())?;
    let joins = Joins::new(&parts, Arc::new(authority), HOST_LIFE, &config.advertise);
    let rebuilder = Rebuilder {
        client: client.clone(),
        ledger: parts.ledger.clone(),
        record: record.clone(),
        requests: Requests::new(&client, namespace),
        inventories: Inventories::default(),
        me: config.advertise.clone(),
        busy: Mutex::default(),
    };
    let sessions = Sessions::new(&parts, gate, &joins, &rebuilder.inventories);
    // The first to come here; nobody else fills it.
    let _ = started.set(parts.clone());
    tracing::info!(listen = %config.listen, advertise = config.advertise, "serving agents");

    tokio::select! {
        served = server::serve(listener, sessions, &identity, std::future::pending()) => {
            served?;
            Ok(End::Again)
        }
        never = lead_again_and_again(&parts, gate, &joins, &record, control) => match never {},
        never = rebuilder.serve() => match never {},
        () = rebuilder.wait_rebuilt() => {
            tracing::warn!("the ledger lives under a new incarnation; starting anew");
            Ok(End::Again)
        }
        () = tokio::time::sleep(OPERATOR_LIFE * 2 / 3) => {
            tracing::info!("the operator's certificate grows old; starting anew with another");
            Ok(End::Again)
        }
    }
}

async fn lead_again_and_again<C, F>(
    parts: &Parts,
    gate: &Gate,
    joins: &Joins,
    record: &Record,
    control: C,
) -> std::convert::Infallible
where
    C: Fn(Parts, Term) -> F,
    F: Future<Output = Result<()>>,
{
    loop {
        let term = parts.leader.wait_leading().await;
        parts.board.clear();
        parts.observed.forget();
        let lead = async {
            // Before anything else is written: from here on an older ledger would be found out.
            let known = parts.ledger.known();
            until_done("what is known of the ledger", || record.write(known)).await;
            gate.open(term);
            tokio::select! {
                ended = control(parts.clone(), term) => ended,
                () = joins.keep_tokens() => Ok(()),
            }
        };
        let lost = tokio::select! {
            ended = lead => {
                match ended {
                    Ok(()) => tracing::error!("the controllers have ended; beginning again"),
                    Err(error) => tracing::error!("the controllers have ended: {error:#}"),
                }
                false
            }
            () = parts.leader.wait_lost(term) => true,
        };
        gate.close();
        if !lost {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Does something that needs the Kubernetes API until it is done.
async fn until_done<T, E, F>(what: &str, act: impl Fn() -> F) -> T
where
    E: std::error::Error + Send + Sync + 'static,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match act().await {
            Ok(done) => return done,
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::warn!(what, "not there yet: {error:#}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Names and addresses that agents may reach the operator by.
fn server_names(config: &Config) -> Vec<String> {
    let advertised = config.advertise.rsplit_once(':');
    let advertised = advertised.map_or(config.advertise.as_str(), |(host, _)| host);
    let advertised = advertised.trim_start_matches('[').trim_end_matches(']');
    let mut names = vec![advertised.to_owned(), "dc-operator".to_owned()];
    let own = config.listen.ip();
    if !own.is_unspecified() {
        names.push(own.to_string());
    }
    names.dedup();
    names
}
