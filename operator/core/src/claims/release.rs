//! Keys of releases.

use dc_types::HostName;
use dc_types::plan::{ItemKey, ItemKind};
use uuid::Uuid;

use super::{ClaimError, bad_key};

/// `release/<host>/<kind>/<id>/<card>`, as [`dc_types::claim::keys::release`] writes it.
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
