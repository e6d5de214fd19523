//! The ledger's form on disk: JSON with a version, written whole.
//!
//! A later version keeps reading this one; an agent that finds a newer form than it knows stops
//! rather than starting with nothing.

use std::sync::Arc;

use dc_types::plan::{Item, ItemBody, ItemHash, Release};
use dc_types::{HostName, Term};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Ledger;

/// From this one on disks may be encrypted: an agent that does not know that would open them as they
/// are. It is written only where there are such.
const ENCRYPTED: u32 = 2;
const VERSION: u32 = ENCRYPTED;

/// Why a ledger's text cannot be used.
#[derive(Debug, Error)]
pub enum LedgerFileError {
    #[error("the ledger is not readable: {0}")]
    Form(serde_json::Error),
    #[error(
        "the ledger has form {found}, and this agent knows forms up to {VERSION}: run the agent \
         that wrote it, or a newer one"
    )]
    Newer { found: u32 },
    #[error(
        "the ledger is that of host {found}, and this is {host}: the state folder is another host's"
    )]
    AnotherHost { found: HostName, host: HostName },
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    host: HostName,
    term: Term,
    items: Vec<Kept>,
    releases: Vec<Release>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    item: Item,
    sent: ItemHash,
}

/// The text of a host's ledger. The keys of volumes are not in it.
#[must_use]
pub fn render(host: &HostName, ledger: &Ledger) -> Vec<u8> {
    let Ledger {
        term,
        items,
        sent,
        releases,
    } = ledger;
    let file = File {
        version: match items.values().any(is_encrypted) {
            true => ENCRYPTED,
            false => 1,
        },
        host: host.clone(),
        term: *term,
        items: items
            .values()
            .map(|item| match item.without_keys() {
                // Another hash than the operator's: it sends the item again, with its keys.
                Some(item) => Kept {
                    sent: item.hash(),
                    item,
                },
                None => Kept {
                    item: item.clone(),
                    sent: sent.get(&item.key).copied().unwrap_or(item.hash()),
                },
            })
            .collect(),
        releases: releases.values().cloned().collect(),
    };
    serde_json::to_vec(&file).expect("a ledger is always representable as JSON")
}

fn is_encrypted(item: &Item) -> bool {
    match &item.body {
        ItemBody::Vm(vm) => vm.disks.iter().any(|disk| disk.luks.is_some()),
        _ => false,
    }
}

/// Reads a host's ledger; another host's is refused.
pub fn parse(host: &HostName, text: &[u8]) -> Result<Ledger, LedgerFileError> {
    // The version first: a newer form may not look like ours at all.
    let Version { version } = serde_json::from_slice(text).map_err(LedgerFileError::Form)?;
    if version > VERSION {
        return Err(LedgerFileError::Newer { found: version });
    }
    let File {
        version: _,
        host: found,
        term,
        items,
        releases,
    } = serde_json::from_slice(text).map_err(LedgerFileError::Form)?;
    if found != *host {
        return Err(LedgerFileError::AnotherHost {
            found,
            host: host.clone(),
        });
    }
    let hashes = items
        .iter()
        .map(|kept| (kept.item.key, kept.sent))
        .collect();
    let items = items.into_iter().map(|kept| (kept.item.key, kept.item));
    Ok(Ledger {
        term,
        sent: Arc::new(hashes),
        items: Arc::new(items.collect()),
        releases: Arc::new(releases.into_iter().map(|r| (r.key, r)).collect()),
    })
}
