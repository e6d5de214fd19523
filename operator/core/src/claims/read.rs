//! Keys and values of the ledger, as they are read. What does not read is an error.

use std::collections::BTreeMap;

use dc_types::plan::{ItemKey, ItemKind};
use dc_types::{Epoch, HostName, InstanceId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{ClaimError, Claimed};

#[derive(Deserialize)]
struct Kept {
    #[serde(rename = "keptEpoch", default)]
    kept_epoch: Option<Epoch>,
}

pub(super) fn bad_key(key: &str) -> ClaimError {
    ClaimError::Key {
        key: key.to_owned(),
    }
}

pub(super) fn id(key: &str, rest: &str) -> Result<InstanceId, ClaimError> {
    rest.parse().map_err(|_| bad_key(key))
}

pub(super) fn read_value<T: DeserializeOwned>(key: &str, value: &str) -> Result<T, ClaimError> {
    serde_json::from_str(value).map_err(|source| ClaimError::Value {
        key: key.to_owned(),
        source,
    })
}

pub(super) fn claimed<T: DeserializeOwned>(
    key: &str,
    value: Option<&str>,
    incarnation: u64,
    revision: u64,
) -> Result<Option<Claimed<T>>, ClaimError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let kept: Kept = read_value(key, value)?;
    let written = Epoch {
        incarnation,
        revision,
    };
    Ok(Some(Claimed {
        value: read_value(key, value)?,
        revision,
        epoch: kept.kept_epoch.unwrap_or(written),
    }))
}

/// One key as the ledger has it.
pub(super) struct Entry<'a> {
    pub(super) key: &'a str,
    pub(super) rest: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) written: Epoch,
}

impl Entry<'_> {
    /// Takes in one that ends in an id and has no index.
    pub(super) fn into<T: DeserializeOwned>(
        self,
        map: &mut BTreeMap<InstanceId, Claimed<T>>,
    ) -> Result<(), ClaimError> {
        let (incarnation, revision) = (self.written.incarnation, self.written.revision);
        let new = claimed(self.key, self.value, incarnation, revision)?;
        replace(map, id(self.key, self.rest)?, new);
        Ok(())
    }
}

pub(super) fn replace<K: Ord, T>(map: &mut BTreeMap<K, T>, key: K, new: Option<T>) -> Option<T> {
    match new {
        Some(new) => map.insert(key, new),
        None => map.remove(&key),
    }
}

/// `release/<host>/<kind>/<id>/<card>`, as [`keys::release`] writes it.
pub(super) fn release_of_key(key: &str, rest: &str) -> Result<(HostName, ItemKey), ClaimError> {
    let parts: Vec<&str> = rest.split('/').collect();
    let [host, kind, id, card] = parts[..] else {
        return Err(bad_key(key));
    };
    let kind = match kind {
        "Image" => ItemKind::Image,
        "Volume" => ItemKind::Volume,
        "Snapshot" => ItemKind::Snapshot,
        "Backup" => ItemKind::Backup,
        "Restore" => ItemKind::Restore,
        "Manifest" => ItemKind::Manifest,
        "Grant" => ItemKind::Grant,
        "Network" => ItemKind::Network,
        "Endpoint" => ItemKind::Endpoint,
        "Vm" => ItemKind::Vm,
        _ => return Err(bad_key(key)),
    };
    let host = HostName::new(host).map_err(|_| bad_key(key))?;
    let id = Uuid::parse_str(id).map_err(|_| bad_key(key))?;
    let card = card.parse().map_err(|_| bad_key(key))?;
    Ok((host, ItemKey { kind, id, card }))
}
