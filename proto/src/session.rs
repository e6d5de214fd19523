//! The messages of a session in the domain's words.

use dc_types::plan::{Delta, Item, ItemKey};
use dc_types::report::{Hello, Report};
use dc_types::{Epoch, HostName, Sequence, Term};

use crate::field::{known_items, list, required, text, to_list};
use crate::plan::{Received, RefusedDelta, receive_delta, send_delta};
use crate::{OnWire, WireError, wire};

/// Deltas of one message: at 2 to 20 kB for an item with a seed, this keeps messages near 1 MiB.
pub const DELTAS_PER_MESSAGE: usize = 128;

/// What an agent says.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentSays {
    Hello(Box<Hello>),
    /// Everything up to this sequence is on the agent's disk.
    Accepted(Sequence),
    Report(Report),
    /// Some of what the host holds, as an answer to [`OperatorSays::AskInventory`].
    Inventory(Inventory),
    /// Items that this agent does not understand, in the words they came in.
    NotUnderstood(Vec<wire::Observation>),
}

/// What the operator sends: [`OperatorSays`] under a term and a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorSays {
    Welcome(Welcome),
    Deltas(Vec<Delta>),
    Confirmed(Vec<ReleaseRef>),
    AskInventory,
}

/// The same as an agent takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct FromOperator {
    pub term: Term,
    pub sequence: Sequence,
    pub says: ReceivedSays,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ReceivedSays {
    Welcome(Welcome),
    Deltas(Vec<Result<Received, RefusedDelta>>),
    Confirmed(Vec<ReleaseRef>),
    AskInventory,
}

/// Whole items, in as many messages as it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    pub items: Vec<Item>,
    /// Nothing comes after this one.
    pub last: bool,
}

impl Inventory {
    /// All that a host holds, in the messages that carry it.
    #[must_use]
    pub fn messages(items: Vec<Item>) -> Vec<Self> {
        let mut messages: Vec<Self> = items
            .chunks(DELTAS_PER_MESSAGE)
            .map(|items| Self {
                items: items.to_vec(),
                last: false,
            })
            .collect();
        match messages.last_mut() {
            Some(message) => message.last = true,
            None => messages.push(Self { items, last: true }),
        }
        messages
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The host this session is for, as its certificate says; an agent that is another one leaves.
    pub host: HostName,
    /// Who answers, for logs.
    pub operator: String,
    /// Where else an operator can be reached, `host:port`.
    pub operators: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseRef {
    pub key: ItemKey,
    pub epoch: Epoch,
}

impl OnWire for ReleaseRef {
    type Wire = wire::ReleaseRef;
    fn to_wire(&self) -> wire::ReleaseRef {
        let Self { key, epoch } = self;
        wire::ReleaseRef {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
        }
    }
    fn from_wire(wire: wire::ReleaseRef) -> Result<Self, WireError> {
        let wire::ReleaseRef { key, epoch } = wire;
        Ok(Self {
            key: required(key, "key")?,
            epoch: required(epoch, "epoch")?,
        })
    }
}

impl OnWire for AgentSays {
    type Wire = wire::AgentMessage;
    fn to_wire(&self) -> wire::AgentMessage {
        use wire::agent_message::Says;
        let says = match self {
            AgentSays::Hello(hello) => Says::Hello(hello.to_wire()),
            AgentSays::Accepted(Sequence(sequence)) => Says::Accepted(wire::Accepted {
                sequence: *sequence,
            }),
            AgentSays::Report(report) => report_to_wire(report),
            AgentSays::Inventory(Inventory { items, last }) => Says::Inventory(wire::Inventory {
                items: to_list(items),
                last: *last,
            }),
            AgentSays::NotUnderstood(observations) => Says::Observed(wire::Observed {
                observations: observations.clone(),
            }),
        };
        wire::AgentMessage { says: Some(says) }
    }

    /// [`AgentSays::NotUnderstood`] comes out as an observation of items that failed.
    fn from_wire(wire: wire::AgentMessage) -> Result<Self, WireError> {
        use wire::agent_message::Says;
        let says = wire
            .says
            .ok_or_else(|| WireError::new("says", "is of a kind that this version lacks"))?;
        Ok(match says {
            Says::Hello(w) => AgentSays::Hello(Box::new(
                Hello::from_wire(w).map_err(|e| e.inside("hello"))?,
            )),
            Says::Accepted(wire::Accepted { sequence }) => AgentSays::Accepted(Sequence(sequence)),
            Says::Facts(w) => AgentSays::Report(Report::Facts(Box::new(
                OnWire::from_wire(w).map_err(|e| e.inside("facts"))?,
            ))),
            Says::Observed(wire::Observed { observations }) => {
                AgentSays::Report(Report::Observed(list(
                    known_items(observations, |o| o.key.as_ref()),
                    "observations",
                )?))
            }
            Says::Released(w) => AgentSays::Report(Report::Released(
                OnWire::from_wire(w).map_err(|e| e.inside("released"))?,
            )),
            Says::ReleaseFailed(w) => AgentSays::Report(release_failed_from_wire(w)?),
            Says::Inventory(wire::Inventory { items, last }) => AgentSays::Inventory(Inventory {
                items: list(items, "inventory.items")?,
                last,
            }),
        })
    }
}

fn report_to_wire(report: &Report) -> wire::agent_message::Says {
    use wire::agent_message::Says;
    match report {
        Report::Facts(facts) => Says::Facts(facts.to_wire()),
        Report::Observed(observations) => Says::Observed(wire::Observed {
            observations: to_list(observations),
        }),
        Report::Released(released) => Says::Released(released.to_wire()),
        Report::ReleaseFailed {
            key,
            epoch,
            trouble,
        } => Says::ReleaseFailed(wire::ReleaseFailed {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            trouble: Some(trouble.to_wire()),
        }),
    }
}

fn release_failed_from_wire(wire: wire::ReleaseFailed) -> Result<Report, WireError> {
    let wire::ReleaseFailed {
        key,
        epoch,
        trouble,
    } = wire;
    Ok(Report::ReleaseFailed {
        key: required(key, "release_failed.key")?,
        epoch: required(epoch, "release_failed.epoch")?,
        trouble: required(trouble, "release_failed.trouble")?,
    })
}

/// The operator's message as it is sent.
#[must_use]
pub fn send(term: Term, sequence: Sequence, says: &OperatorSays) -> wire::OperatorMessage {
    use wire::operator_message::Says;
    let says = match says {
        OperatorSays::Welcome(Welcome {
            host,
            operator,
            operators,
        }) => Says::Welcome(wire::Welcome {
            host: host.to_string(),
            operator: operator.clone(),
            operators: operators.clone(),
        }),
        OperatorSays::Deltas(deltas) => Says::Deltas(wire::Deltas {
            deltas: deltas.iter().map(send_delta).collect(),
        }),
        OperatorSays::Confirmed(releases) => Says::Confirmed(wire::Confirmed {
            releases: to_list(releases),
        }),
        OperatorSays::AskInventory => Says::AskInventory(wire::AskInventory {}),
    };
    wire::OperatorMessage {
        term: Some(term.to_wire()),
        sequence: sequence.0,
        says: Some(says),
    }
}

/// Checks a message of the operator.
pub fn receive(message: wire::OperatorMessage) -> Result<FromOperator, WireError> {
    use wire::operator_message::Says;
    let wire::OperatorMessage {
        term,
        sequence,
        says,
    } = message;
    let says =
        says.ok_or_else(|| WireError::new("says", "is of a kind that this version lacks"))?;
    Ok(FromOperator {
        term: required(term, "term")?,
        sequence: Sequence(sequence),
        says: match says {
            Says::Welcome(wire::Welcome {
                host,
                operator,
                operators,
            }) => ReceivedSays::Welcome(Welcome {
                host: text(&host, "welcome.host")?,
                operator,
                operators,
            }),
            Says::Deltas(wire::Deltas { deltas }) => {
                ReceivedSays::Deltas(deltas.into_iter().map(receive_delta).collect())
            }
            Says::Confirmed(wire::Confirmed { releases }) => {
                ReceivedSays::Confirmed(list(releases, "confirmed")?)
            }
            Says::AskInventory(wire::AskInventory {}) => ReceivedSays::AskInventory,
        },
    })
}
