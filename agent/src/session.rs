//! The agent's side of the protocol: find the leader, speak with it, find it again.
//!
//! ```text
//!   no certificate ── join file ──▶ Join ─┐
//!        ▲ over                           ▼
//!        └───────────────────── certificate ──▶ dial ──▶ Hello ──▶ Welcome ──▶ talk
//!                                    ▲           ▲ not leading: its leader      │
//!                                    │           └───── pause ◀─── broken ──────┤
//!                                    └────────────────── renewed ◀──────────────┘
//! ```
//!
//! What always holds: the operator is told only what is true of this host now, a leader of a lower
//! term and a plan for another host are refused, and a gap in the sequence ends the session. The
//! host goes on with what it holds while there is no session.

mod addresses;
mod dial;
mod talk;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dc_agent_core::{HostView, backoff};
use dc_types::report::HostFacts;
use dc_types::{HostName, Sequence, Term};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use crate::identity::{Identity, IdentityError, IdentityStore, Standing};
use crate::keeper::{Keeper, KeeperError};
use crate::metrics::{Metrics, OutcomeName};
use addresses::Addresses;

/// Everything a session needs.
pub struct Surroundings {
    pub host: Arc<HostView>,
    pub keeper: Arc<Keeper>,
    pub identity: IdentityStore,
    pub operators: Vec<String>,
    pub facts: watch::Receiver<Arc<HostFacts>>,
    pub metrics: Metrics,
    /// Whether a leader has welcomed us and the session still stands.
    pub connected: watch::Sender<bool>,
    pub stop: CancellationToken,
}

/// Why a session ended, or did not begin.
#[derive(Debug, Error)]
pub enum SessionError {
    #[error("operator {address} cannot be reached: {message}")]
    Unreachable { address: String, message: String },
    #[error("operator {address} does not lead{}", hint(.leader.as_deref()))]
    NotLeading {
        address: String,
        leader: Option<String>,
    },
    #[error("operator {address} refused: {message}")]
    Refused { address: String, message: String },
    #[error("the session with operator {address} broke: {message}")]
    Broken { address: String, message: String },
    #[error("operator {address} does not keep to the protocol: {what}")]
    Protocol { address: String, what: String },
    #[error("sequence {found:?} came after {last:?}: something is missing")]
    Gap { last: Sequence, found: Sequence },
    #[error("a message of term {found} came in a session of term {term}")]
    AnotherTerm { term: Term, found: Term },
    #[error("the operator speaks to host {found}, and this is {host}: check the certificate")]
    AnotherHost { found: HostName, host: HostName },
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

fn hint(leader: Option<&str>) -> String {
    leader.map_or_else(
        || ", and knows no leader".to_owned(),
        |leader| format!("; {leader} does"),
    )
}

impl SessionError {
    fn outcome(&self) -> OutcomeName {
        match self {
            SessionError::Unreachable { .. } => "unreachable",
            SessionError::NotLeading { .. } => "not_leading",
            SessionError::Refused { .. } => "refused",
            SessionError::Broken { .. } => "broken",
            SessionError::Protocol { .. } | SessionError::AnotherTerm { .. } => "protocol",
            SessionError::Gap { .. } => "gap",
            SessionError::AnotherHost { .. } => "another_host",
            SessionError::Keeper(KeeperError::LowerTerm(_)) => "lower_term",
            SessionError::Keeper(_) => "ledger",
            SessionError::Identity(_) => "identity",
        }
    }
}

/// A session that ended as it should.
#[derive(Debug)]
pub enum Ended {
    /// There is a new certificate; the next session uses it.
    Renewed,
    Stopped,
}

/// A leader is found in so many steps, or not at all for now.
const HOPS: u32 = 3;

/// An operator that was away is found again within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Runs until told to stop.
pub async fn run(around: Surroundings) {
    let stop = around.stop.clone();
    tokio::select! {
        () = keep_talking(around) => {}
        () = stop.cancelled() => {}
    }
}

async fn keep_talking(around: Surroundings) {
    let mut addresses = Addresses::new(around.operators.clone());
    let mut failures = 0;
    let mut hops = 0;
    loop {
        let mut welcomed = false;
        let ended = once(&around, &mut addresses, &mut welcomed).await;
        around.connected.send_replace(false);
        if welcomed {
            (failures, hops) = (0, 0);
        }
        let error = match ended {
            Ok(Ended::Stopped) => return,
            Ok(Ended::Renewed) => continue,
            Err(error) => error,
        };
        if !welcomed {
            around.metrics.call_ended(error.outcome());
        }
        if let SessionError::NotLeading { leader, .. } = &error {
            if let Some(leader) = leader {
                addresses.prefer(leader);
            }
            hops += 1;
            if leader.is_some() && hops <= HOPS {
                continue;
            }
        }
        failures += 1;
        // Every failure is told once, and then now and then.
        if failures == 1 || failures % 10 == 0 {
            warn!(host = %around.host.name, failures, "no session: {error}");
        }
        tokio::time::sleep(jittered(backoff::pause(failures).min(LONGEST_PAUSE))).await;
    }
}

/// Half to all of a pause, so that thousands of hosts do not come at once.
fn jittered(pause: Duration) -> Duration {
    let part = u32::from(Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause * part / 512
}

async fn once(
    around: &Surroundings,
    addresses: &mut Addresses,
    welcomed: &mut bool,
) -> Result<Ended, SessionError> {
    let identity = match around.identity.look(SystemTime::now())? {
        Standing::Joined(identity) => identity,
        Standing::ToJoin(file) => {
            addresses.learn([file.operator.clone()]);
            let address = addresses.next();
            let identity = dial::join(&around.host.name, &address, &file).await?;
            keep(around, &identity)?;
            info!(host = %around.host.name, operator = %address, "joined");
            // Whoever let us in leads.
            addresses.prefer(&address);
            identity
        }
    };
    let address = addresses.next();
    let line = dial::dial(&address, &identity).await?;
    let talk = talk::Talk {
        around,
        address: &address,
        identity: &identity,
    };
    talk.run(line, addresses, welcomed).await
}

fn keep(around: &Surroundings, identity: &Identity) -> Result<(), SessionError> {
    Ok(around.identity.keep(identity)?)
}
