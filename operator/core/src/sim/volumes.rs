//! What the operator sees and decides of a volume, in the data centre of the tests.

use dc_types::claim::{Cipher, Contents, VolumeClaim, keys};
use dc_types::plan::ItemKey;
use dc_types::{Epoch, InstanceId, ObjectRef, PoolName};

use super::{POOL, STORAGE, Sim, host};
use crate::object;
use crate::place::Presence;
use crate::plan::Plan;
use crate::sight::Removal;
use crate::txn::Txn;
use crate::vm;
use crate::volume::destruction::DestructionSeen;
use crate::volume::moving::MovingSeen;
use crate::volume::validate::pool_host;
use crate::volume::{self, Named, PoolSeen};
use dc_crds::Volume;

impl Sim {
    /// A volume of the first pool, claimed as a move has left it: its bytes are in `place`.
    pub fn add_moved_volume(&mut self, name: &str, size: &str, place: InstanceId) {
        self.add_volume(name, size);
        let me = object::object_ref(&self.volumes[name].metadata).unwrap();
        let claim = VolumeClaim {
            volume: volume::id(&me),
            owner: me,
            pool: PoolName::new(POOL).unwrap(),
            host: host(STORAGE),
            size: size.parse().unwrap(),
            grows_from: None,
            restore: None,
            stored: Some(place),
            restored: None,
            contents: Contents::Whole,
            cipher: Cipher::Plain,
        };
        let txn = Txn::new("moved").claim(keys::volume(claim.volume), &claim);
        assert!(self.ledger.commit(&txn));
    }

    /// The item of a volume at its storage host.
    pub fn key_of(&self, me: &ObjectRef) -> ItemKey {
        volume::key(self.ledger.claims.place_of(volume::id(me)))
    }

    /// What the operator decides for a volume now; nothing is carried out.
    pub fn decide_volume(&self, name: &str) -> Plan {
        self.with_volume_seen(name, volume::plan)
    }

    fn moving_seen(&self, object: &Volume, me: &ObjectRef) -> MovingSeen<'_> {
        let claims = &self.ledger.claims;
        let id = volume::id(me);
        let Some(claim) = claims.volumes.get(&id) else {
            return MovingSeen::NONE;
        };
        let holder = claims
            .attachment_of(id)
            .map(|attached| &attached.value.host);
        let holder_presence = holder.map_or(Presence::Never, |host| self.presence(host));
        let named = self.pools.get(&object.spec.pool);
        let other = named.filter(|_| object.spec.pool != claim.value.pool.as_str());
        let target = other.and_then(|pool| {
            let on = pool_host(pool)?;
            Some(PoolSeen {
                pool,
                presence: self.presence(&on),
                facts: self.facts_of(&on, &object.spec.pool),
            })
        });
        let mut seen = MovingSeen {
            target,
            holder_presence,
            ..MovingSeen::NONE
        };
        if let Some(second) = claims.moves.get(&id) {
            let (host, place) = (&second.value.host, second.value.place);
            let pending = (host.clone(), vm::grant_key(place));
            seen.presence = self.presence(host);
            seen.facts = self.facts_of(host, second.value.pool.as_str());
            let said = self.hosts[host].said.get(&volume::key(place));
            seen.said = said;
            seen.removal = self.removal(host, &volume::key(place), second.epoch);
            seen.grant_removal = match claims.releases.contains_key(&pending) {
                true => Removal::Pending,
                false => Removal::Done,
            };
        }
        seen
    }

    pub fn with_volume_seen<R>(&self, name: &str, look: impl FnOnce(&volume::Seen<'_>) -> R) -> R {
        let object = self.volumes[name].clone();
        let me = object::object_ref(&object.metadata).unwrap();
        let storage = self.storage_of(&object);
        let claim = self.ledger.claims.volumes.get(&volume::id(&me));
        let epoch = claim.map_or(Epoch::default(), |claim| claim.epoch);
        let lies = claim.map_or(&*object.spec.pool, |claim| claim.value.pool.as_str());
        let facts = self.facts_of(&storage, lies);
        let source = object.spec.source.volume.as_ref();
        let source = source.and_then(|name| self.volumes.get(name));
        let source_said = source.and_then(|source| {
            let me = object::object_ref(&source.metadata)?;
            self.said(&self.storage_of(source), &self.key_of(&me))
        });
        let grant = vm::grant_key(self.ledger.claims.place_of(volume::id(&me)));
        let pending = self
            .ledger
            .claims
            .releases
            .contains_key(&(storage.clone(), grant));
        let said = self.said(&storage, &self.key_of(&me));
        let named = |name: Option<&String>| self.snapshots.get(name?);
        let attached = self.ledger.claims.attachment_of(volume::id(&me));
        let holder = attached.and_then(|attached| {
            let claim = self.ledger.claims.vms.get(&attached.value.vm)?;
            self.said(&claim.value.host, &vm::key(&claim.value.owner))
        });
        let (classes, ahead) = (self.classes(), |asker| self.ahead(asker));
        look(&volume::Seen {
            allowance: self.allowance(&classes, &ahead),
            volume: &object,
            me: &me,
            system: Named::There,
            pool: self.pools.get(lies).map(|pool| volume::PoolSeen {
                pool,
                presence: self.presence(&storage),
                facts,
            }),
            image: None,
            source: source.map(|volume| volume::SourceSeen {
                volume,
                said: source_said.as_ref(),
            }),
            from_snapshot: named(object.spec.source.snapshot.as_ref().map(|s| &s.name)),
            restore: named(object.spec.restore.as_ref().map(|r| &r.snapshot)),
            class: self.department,
            holder_said: holder.as_ref(),
            claims: &self.ledger.claims,
            new_key: &|volume| self.new_key(volume),
            said: said.as_ref(),
            removal: self.removal(&storage, &self.key_of(&me), epoch),
            grant_removal: match pending {
                true => Removal::Pending,
                false => Removal::Done,
            },
            moving: self.moving_seen(&object, &me),
            destruction: DestructionSeen {
                now: self.now,
                patience: self.patience,
                reading: self.reading.as_ref(),
            },
            note: None,
        })
    }
}
