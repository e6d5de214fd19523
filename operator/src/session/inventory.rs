//! Asking hosts for all that they hold, when the ledger has been lost: nothing is told to them.
//!
//! There is no record any more of which certificate is a host's latest, so any that the authority
//! signed is taken; a person sees from which hosts claims were rebuilt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dc_operator_core::claims::HostIdentity;
use dc_operator_core::rebuild::Inventory;
use dc_proto::OnWire;
use dc_proto::session::{AgentSays, OperatorSays, Welcome, send};
use dc_proto::wire::{AgentMessage, OperatorMessage};
use dc_types::{HostName, Sequence, Term};
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::refusal::Refusal;

/// What hosts have answered so far. Cheap to clone.
#[derive(Clone)]
pub struct Inventories {
    /// The incarnation under which hosts are asked, while they are.
    asking: Arc<watch::Sender<Option<u64>>>,
    found: Arc<Mutex<BTreeMap<HostName, Inventory>>>,
}

impl Default for Inventories {
    fn default() -> Self {
        Self {
            asking: Arc::new(watch::Sender::new(None)),
            found: Arc::default(),
        }
    }
}

impl Inventories {
    /// From now on every host that connects is asked. The incarnation is higher than any before,
    /// so that hosts follow the question, and higher leaders after it.
    pub fn open(&self, incarnation: u64) {
        self.found().clear();
        self.asking.send_replace(Some(incarnation));
    }

    /// Ends the sessions that were only there to ask.
    pub fn close(&self) {
        self.asking.send_replace(None);
    }

    pub(super) fn asking(&self) -> Option<u64> {
        *self.asking.borrow()
    }

    #[must_use]
    pub fn hosts(&self) -> Vec<HostName> {
        self.found().keys().cloned().collect()
    }

    #[must_use]
    pub fn all(&self) -> Vec<Inventory> {
        self.found().values().cloned().collect()
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<HostName, Inventory>> {
        // An insert leaves the map whole, so a panic elsewhere has not broken it.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one host, and keeps its line until the asking is over.
    pub(super) async fn ask(
        self,
        asked: Asked,
        mut incoming: Streaming<AgentMessage>,
        out: mpsc::Sender<Result<OperatorMessage, Status>>,
    ) {
        let host = asked.host.clone();
        let ended = match asked.gather(&mut incoming, &out).await {
            Ok(inventory) => {
                tracing::info!(%host, items = inventory.items.len(), "the host has told what it holds");
                self.found().insert(host, inventory);
                self.over(asked.incarnation).await;
                Refusal::Distrusted
            }
            Err(refusal) => {
                tracing::warn!(%host, %refusal, "the host has not told what it holds");
                refusal
            }
        };
        // If the host does not read, it learns from the end of the stream.
        let _ = out.try_send(Err(ended.into()));
    }

    async fn over(&self, incarnation: u64) {
        let mut asking = self.asking.subscribe();
        // The sender lives in `self`.
        let _ = asking.wait_for(|now| *now != Some(incarnation)).await;
    }
}

/// One host, by its certificate.
pub(super) struct Asked {
    pub host: HostName,
    pub identity: HostIdentity,
    pub incarnation: u64,
    /// Who asks, for logs.
    pub operator: String,
}

impl Asked {
    async fn gather(
        &self,
        incoming: &mut Streaming<AgentMessage>,
        out: &mpsc::Sender<Result<OperatorMessage, Status>>,
    ) -> Result<Inventory, Refusal> {
        match next(incoming).await? {
            AgentSays::Hello(hello) if hello.host == self.host => {}
            AgentSays::Hello(hello) => {
                return Err(Refusal::AnotherHost {
                    own: self.host.clone(),
                    other: hello.host,
                });
            }
            _ => return Err(Refusal::NoHello),
        }
        let term = Term {
            incarnation: self.incarnation,
            revision: 0,
        };
        let welcome = OperatorSays::Welcome(Welcome {
            host: self.host.clone(),
            operator: self.operator.clone(),
            operators: vec![self.operator.clone()],
        });
        for (sequence, says) in [(0, welcome), (1, OperatorSays::AskInventory)] {
            // The channel has room for both; if the host is gone, the next step finds out.
            let _ = out.send(Ok(send(term, Sequence(sequence), &says))).await;
        }
        let mut items = Vec::new();
        loop {
            // Between its answers the host may report; there is nobody to tell.
            if let AgentSays::Inventory(part) = next(incoming).await? {
                items.extend(part.items);
                if part.last {
                    return Ok(Inventory {
                        host: self.host.clone(),
                        identity: self.identity.clone(),
                        items,
                    });
                }
            }
        }
    }
}

async fn next(incoming: &mut Streaming<AgentMessage>) -> Result<AgentSays, Refusal> {
    match incoming.message().await {
        Ok(Some(message)) => {
            AgentSays::from_wire(message).map_err(|error| Refusal::Unreadable(error.to_string()))
        }
        Ok(None) | Err(_) => Err(Refusal::NoHello),
    }
}
