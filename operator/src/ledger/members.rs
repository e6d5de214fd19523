//! Each member of the ledger's etcd, asked for itself whether it still has what was before a revision.
//!
//! A compaction is one for all members, as it goes through their log; each carries it out when it comes
//! to it. So every member is asked twice: to compact, which it answers when its own pages are free, and
//! to read at an older revision without asking the others, which it must refuse. Only a member that has
//! said who it is before is believed: behind an address may be another one.

use std::time::Duration;

use dc_operator_core::volume::destruction::Reading;
use etcd_client::{Client, CompactionOptions, Error, GetOptions, Member};
use futures::future::join_all;
use tonic::Code;

use super::Ledger;
use super::store::{Store, StoreError, within};

/// How long one member may take to free its pages. It goes on with it also when nobody waits.
const COMPACTION: Duration = Duration::from_secs(30);
/// How much of a member's name is kept, so that a certificate takes it. Its id is beside it.
const NAME: usize = 200;

impl Ledger {
    /// Compacts at `revision`, and asks every member whether it has anything from before.
    pub async fn read_members(&self, revision: u64) -> Reading {
        let members = match self.store().members().await {
            Ok(members) => {
                let asked = members
                    .iter()
                    .map(|member| ask(self.store(), member, revision));
                Ok(join_all(asked).await.into_iter().collect())
            }
            Err(error) => Err(format!(
                "the ledger's members are not known: {}",
                told(&error)
            )),
        };
        Reading {
            incarnation: self.known().incarnation,
            revision,
            members,
        }
    }
}

async fn ask(store: &Store, member: &Member, revision: u64) -> (String, Result<(), String>) {
    let name: String = member.name().chars().take(NAME).collect();
    let name = match name.as_str() {
        "" => format!("({:x})", member.id()),
        name => format!("{name} ({:x})", member.id()),
    };
    if member.client_urls().is_empty() {
        return (name, Err("it has not started".into()));
    }
    let said = match is_compacted(store, member, revision).await {
        Ok(said) => said,
        Err(error) => Err(told(&error)),
    };
    (name, said)
}

async fn is_compacted(
    store: &Store,
    member: &Member,
    revision: u64,
) -> Result<Result<(), String>, StoreError> {
    let mut client = store.connect_to(member.client_urls()).await?;
    let status = within(client.status()).await?;
    let who = status.header().map(etcd_client::ResponseHeader::member_id);
    if who != Some(member.id()) {
        return Ok(Err("another member answers at its address".into()));
    }
    let compacted = compact(&mut client, revision).await;
    if !matches!(&compacted, Err(StoreError::Etcd(error)) if says_compacted(error)) {
        compacted?;
    }
    let before = GetOptions::new()
        .with_revision(revision.saturating_sub(1).cast_signed())
        .with_serializable()
        .with_count_only();
    match within(client.get(store.key(""), Some(before))).await {
        Ok(_) => Ok(Err(format!("it still has revision {}", revision - 1))),
        Err(StoreError::Etcd(error)) if says_compacted(&error) => Ok(Ok(())),
        Err(error) => Err(error),
    }
}

async fn compact(client: &mut Client, revision: u64) -> Result<(), StoreError> {
    let physical = CompactionOptions::new().with_physical();
    let asked = client.compact(revision.cast_signed(), Some(physical));
    let answer: Result<_, _> = tokio::time::timeout(COMPACTION, asked).await;
    answer.map_err(|_| StoreError::Timeout)?.map(drop)?;
    Ok(())
}

/// "etcdserver: mvcc: required revision has been compacted"
fn says_compacted(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return false;
    };
    status.code() == Code::OutOfRange && status.message().contains("compacted")
}

fn told(error: &StoreError) -> String {
    match error {
        StoreError::Etcd(Error::GRpcStatus(status)) => status.message().to_owned(),
        StoreError::Etcd(error) => error.to_string(),
        error @ (StoreError::Timeout | StoreError::Answer(_)) => error.to_string(),
    }
}
