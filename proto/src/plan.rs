//! Items, releases and deltas of a host's plan.

mod backup;
mod encrypted;
mod network;
mod storage;
mod vm;

use dc_types::plan::{Delta, Disposition, Item, ItemBody, ItemHash, ItemKey, Release};

use crate::field::{choice, required};
use crate::{OnWire, WireError, wire};

/// One delta as an agent takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// The item, and the hash under which the operator knows it: the agent gives that one back.
    Upsert(Box<Item>, ItemHash),
    Release(Release),
}

/// A delta that this version cannot understand.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedDelta {
    pub error: WireError,
    /// What to tell the operator, when the delta was an item: it failed, and why.
    pub observation: Option<Box<wire::Observation>>,
}

/// The delta as the operator sends it.
#[must_use]
pub fn send_delta(delta: &Delta) -> wire::Delta {
    let change = match delta {
        Delta::Upsert(item) => wire::delta::Change::Upsert(item.to_wire()),
        Delta::Release(release) => wire::delta::Change::Release(release.to_wire()),
    };
    wire::Delta {
        change: Some(change),
    }
}

/// Checks a delta that the operator sent.
pub fn receive_delta(delta: wire::Delta) -> Result<Received, RefusedDelta> {
    let refused = |error: WireError, observation| RefusedDelta { error, observation };
    match delta.change {
        None => Err(refused(
            WireError::new("delta", "is of a kind that this version does not know"),
            None,
        )),
        Some(wire::delta::Change::Release(release)) => Release::from_wire(release)
            .map(Received::Release)
            .map_err(|e| refused(e.inside("release"), None)),
        Some(wire::delta::Change::Upsert(item)) => {
            let (key, epoch, hash) = (item.key.clone(), item.epoch, item.hash);
            match Item::from_wire(item) {
                Ok(item) => Ok(Received::Upsert(Box::new(item), ItemHash(hash))),
                Err(error) => {
                    let trouble = wire::Trouble {
                        reason: "NotUnderstood".to_owned(),
                        message: format!(
                            "the agent of this host does not understand the item ({error}): \
                             bring the agent to the operator's version"
                        ),
                    };
                    let observation = wire::Observation {
                        key,
                        epoch,
                        hash,
                        state: Some(wire::observation::State::Failed(trouble)),
                        detail: None,
                    };
                    Err(refused(error.inside("item"), Some(Box::new(observation))))
                }
            }
        }
    }
}

impl OnWire for Item {
    type Wire = wire::Item;
    fn to_wire(&self) -> wire::Item {
        use wire::item::Body;
        let Self {
            key,
            epoch,
            object,
            body,
        } = self;
        let body = match body {
            ItemBody::Image(image) => Body::Image(image.to_wire()),
            ItemBody::Volume(volume) => Body::Volume(volume.to_wire()),
            ItemBody::Snapshot(snapshot) => Body::Snapshot(snapshot.to_wire()),
            ItemBody::Backup(backup) => Body::Backup(backup.to_wire()),
            ItemBody::Restore(restore) => Body::Restore(restore.to_wire()),
            ItemBody::Manifest(manifest) => Body::Manifest(manifest.to_wire()),
            ItemBody::Grant(grant) => Body::Grant(grant.to_wire()),
            ItemBody::Network(network) => Body::Network(network.to_wire()),
            ItemBody::Endpoint(endpoint) => Body::Endpoint(endpoint.to_wire()),
            ItemBody::Vm(vm) => Body::Vm(vm.to_wire()),
        };
        wire::Item {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            object: Some(object.to_wire()),
            hash: self.hash().0,
            body: Some(body),
        }
    }

    fn from_wire(wire: wire::Item) -> Result<Self, WireError> {
        let wire::Item {
            key,
            epoch,
            object,
            hash: _, // the operator's: `Received` keeps it
            body,
        } = wire;
        let key = required(key, "key")?;
        let body = body_from_wire(body)?;
        let own = key_of(&body);
        if own != key {
            return Err(WireError::new(
                "body",
                format!("is that of {own}, but the item's key is {key}"),
            ));
        }
        Ok(Self {
            key,
            epoch: required(epoch, "epoch")?,
            object: required(object, "object")?,
            body,
        })
    }
}

fn body_from_wire(body: Option<wire::item::Body>) -> Result<ItemBody, WireError> {
    use wire::item::Body;
    let body =
        body.ok_or_else(|| WireError::new("body", "is missing, or of a kind this version lacks"))?;
    let inside = |name: &'static str| move |e: WireError| e.inside(name);
    Ok(match body {
        Body::Image(w) => ItemBody::Image(OnWire::from_wire(w).map_err(inside("image"))?),
        Body::Volume(w) => ItemBody::Volume(OnWire::from_wire(w).map_err(inside("volume"))?),
        Body::Snapshot(w) => ItemBody::Snapshot(OnWire::from_wire(w).map_err(inside("snapshot"))?),
        Body::Backup(w) => {
            ItemBody::Backup(Box::new(OnWire::from_wire(w).map_err(inside("backup"))?))
        }
        Body::Restore(w) => {
            ItemBody::Restore(Box::new(OnWire::from_wire(w).map_err(inside("restore"))?))
        }
        Body::Manifest(w) => {
            ItemBody::Manifest(Box::new(OnWire::from_wire(w).map_err(inside("manifest"))?))
        }
        Body::Grant(w) => ItemBody::Grant(OnWire::from_wire(w).map_err(inside("grant"))?),
        Body::Network(w) => ItemBody::Network(OnWire::from_wire(w).map_err(inside("network"))?),
        Body::Endpoint(w) => ItemBody::Endpoint(OnWire::from_wire(w).map_err(inside("endpoint"))?),
        Body::Vm(w) => ItemBody::Vm(Box::new(OnWire::from_wire(w).map_err(inside("vm"))?)),
    })
}

/// The key that an item of this body has.
fn key_of(body: &ItemBody) -> ItemKey {
    let kind = body.kind();
    match body {
        ItemBody::Image(image) => ItemKey::new(kind, image.image.0),
        ItemBody::Volume(volume) => ItemKey::new(kind, volume.volume.0),
        ItemBody::Snapshot(snapshot) => ItemKey::new(kind, snapshot.snapshot.0),
        ItemBody::Backup(backup) => ItemKey::new(kind, backup.run.0),
        ItemBody::Restore(restore) => ItemKey::new(kind, restore.run.0),
        ItemBody::Manifest(manifest) => ItemKey::new(kind, manifest.run.0),
        ItemBody::Grant(grant) => ItemKey::new(kind, grant.volume.0),
        ItemBody::Network(network) => ItemKey::network(&network.department),
        ItemBody::Endpoint(endpoint) => ItemKey::endpoint(endpoint.vm, endpoint.card),
        ItemBody::Vm(vm) => ItemKey::new(kind, vm.vm.0),
    }
}

impl OnWire for Release {
    type Wire = wire::Release;
    fn to_wire(&self) -> wire::Release {
        let Self {
            key,
            epoch,
            object,
            disposition,
        } = self;
        wire::Release {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            object: Some(object.to_wire()),
            disposition: disposition.to_wire(),
        }
    }
    fn from_wire(wire: wire::Release) -> Result<Self, WireError> {
        let wire::Release {
            key,
            epoch,
            object,
            disposition,
        } = wire;
        Ok(Self {
            key: required(key, "key")?,
            epoch: required(epoch, "epoch")?,
            object: required(object, "object")?,
            // An unknown way to remove is never taken for another one.
            disposition: choice::<Disposition>(disposition, "disposition")?,
        })
    }
}
