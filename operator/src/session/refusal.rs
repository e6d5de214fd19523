//! Why a call of an agent is refused: the one table from our reasons to gRPC codes.

use dc_proto::LEADER_METADATA;
use dc_types::{HostName, Term};
use thiserror::Error;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::join::JoinError;
use crate::join::token::TokenError;

#[derive(Debug, Error)]
pub enum Refusal {
    #[error("this call needs the certificate that the host got when it joined")]
    NoCertificate,
    #[error("this operator does not lead")]
    NotLeading { leader: Option<String> },
    #[error("the ledger is not trusted; nothing is sent until it was rebuilt")]
    Distrusted,
    #[error("the ledger does not answer")]
    Ledger,
    #[error("the certificate is that of host {own}, but the message speaks of host {other}")]
    AnotherHost { own: HostName, other: HostName },
    #[error("the first message of a session is Hello, and there is one")]
    NoHello,
    #[error("the message does not read: {0}")]
    Unreadable(String),
    #[error("host {0} has begun a newer session")]
    Superseded(HostName),
    #[error("term {0} is over")]
    TermOver(Term),
    #[error(transparent)]
    Join(#[from] JoinError),
}

impl Refusal {
    /// For the counter: a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::NoCertificate => "no_certificate",
            Refusal::NotLeading { .. } => "not_leading",
            Refusal::Distrusted => "ledger_distrusted",
            Refusal::Ledger => "ledger_unreachable",
            Refusal::AnotherHost { .. } => "another_host",
            Refusal::NoHello => "no_hello",
            Refusal::Unreadable(_) => "unreadable",
            Refusal::Superseded(_) => "superseded",
            Refusal::TermOver(_) => "term_over",
            Refusal::Join(error) => error.outcome(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Refusal::NoCertificate => Code::Unauthenticated,
            Refusal::NotLeading { .. } => Code::FailedPrecondition,
            Refusal::AnotherHost { .. } => Code::PermissionDenied,
            Refusal::NoHello | Refusal::Unreadable(_) => Code::InvalidArgument,
            Refusal::Superseded(_) => Code::Aborted,
            Refusal::Distrusted | Refusal::Ledger | Refusal::TermOver(_) => Code::Unavailable,
            Refusal::Join(error) => join_code(error),
        }
    }
}

fn join_code(error: &JoinError) -> Code {
    match error {
        JoinError::Joined { .. }
        | JoinError::NoToken { .. }
        | JoinError::Raced { .. }
        | JoinError::Token(TokenError::Wrong { .. } | TokenError::Expired { .. })
        | JoinError::NotLatest { .. } => Code::PermissionDenied,
        JoinError::Authority(_) => Code::InvalidArgument,
        JoinError::File { .. } => Code::Internal,
        JoinError::NotLeader => Code::FailedPrecondition,
        JoinError::Busy { .. } | JoinError::Api(_) | JoinError::Ledger(_) => Code::Unavailable,
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let mut status = Status::new(refusal.code(), refusal.to_string());
        if let Refusal::NotLeading {
            leader: Some(leader),
        } = &refusal
            && let Ok(address) = MetadataValue::try_from(leader)
        {
            status.metadata_mut().insert(LEADER_METADATA, address);
        }
        status
    }
}
