//! What a host says: hello, facts, observations.

mod backup;
mod erasure;
mod vm;

use dc_types::plan::ItemHash;
use dc_types::report::{
    Detail, Held, Hello, HostFacts, ItemState, Lack, Observation, Orphan, PoolFacts, PoolPlace,
    Released, Stop, Trouble,
};
use dc_types::{Bytes, MiB};

use crate::field::{choice, known_items, known_of, list, optional, required, text, to_list};
use crate::{OnWire, WireError, wire};

impl OnWire for Hello {
    type Wire = wire::Hello;
    fn to_wire(&self) -> wire::Hello {
        let Self {
            host,
            version,
            term,
            held,
            facts,
        } = self;
        wire::Hello {
            host: host.to_string(),
            version: version.clone(),
            term: Some(term.to_wire()),
            held: to_list(held),
            facts: Some(facts.to_wire()),
        }
    }
    fn from_wire(wire: wire::Hello) -> Result<Self, WireError> {
        let wire::Hello {
            host,
            version,
            term,
            held,
            facts,
        } = wire;
        Ok(Self {
            host: text(&host, "host")?,
            version,
            term: required(term, "term")?,
            // What a newer agent holds of kinds that are not known here is left alone.
            held: list(known_items(held, |held| held.key.as_ref()), "held")?,
            facts: required(facts, "facts")?,
        })
    }
}

impl OnWire for Held {
    type Wire = wire::Held;
    fn to_wire(&self) -> wire::Held {
        let Self { key, epoch, hash } = self;
        wire::Held {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            hash: hash.0,
        }
    }
    fn from_wire(wire: wire::Held) -> Result<Self, WireError> {
        let wire::Held { key, epoch, hash } = wire;
        Ok(Self {
            key: required(key, "key")?,
            epoch: required(epoch, "epoch")?,
            hash: ItemHash(hash),
        })
    }
}

impl OnWire for HostFacts {
    type Wire = wire::HostFacts;
    fn to_wire(&self) -> wire::HostFacts {
        let Self {
            boot_id,
            roles,
            vcpus,
            memory,
            memory_available,
            machine_types,
            firmwares,
            accelerator,
            cpu_models,
            overlay,
            portal,
            pools,
        } = self;
        wire::HostFacts {
            boot_id: boot_id.clone(),
            roles: to_list(roles),
            vcpus: *vcpus,
            memory_mib: memory.0,
            memory_available_mib: memory_available.0,
            machine_types: machine_types.clone(),
            firmwares: to_list(firmwares),
            accelerator: accelerator.to_wire(),
            cpu_models: cpu_models.clone(),
            overlay: overlay.to_string(),
            portal: portal.as_ref().map(OnWire::to_wire),
            pools: to_list(pools),
        }
    }
    fn from_wire(wire: wire::HostFacts) -> Result<Self, WireError> {
        let wire::HostFacts {
            boot_id,
            roles,
            vcpus,
            memory_mib,
            memory_available_mib,
            machine_types,
            firmwares,
            accelerator,
            cpu_models,
            overlay,
            portal,
            pools,
        } = wire;
        Ok(Self {
            boot_id,
            roles: known_of(roles),
            vcpus,
            memory: MiB(memory_mib),
            memory_available: MiB(memory_available_mib),
            machine_types,
            firmwares: known_of(firmwares),
            accelerator: choice(accelerator, "accelerator")?,
            cpu_models,
            overlay: text(&overlay, "overlay")?,
            portal: optional(portal, "portal")?,
            pools: list(pools, "pools")?,
        })
    }
}

impl OnWire for PoolFacts {
    type Wire = wire::PoolFacts;
    fn to_wire(&self) -> wire::PoolFacts {
        use wire::pool_facts::Place;
        let Self {
            pool,
            capacity,
            used,
            reflink,
            fault,
            place,
            lacks,
            orphans,
        } = self;
        wire::PoolFacts {
            pool: pool.to_string(),
            capacity_bytes: capacity.0,
            used_bytes: used.0,
            reflink: *reflink,
            fault: fault.clone(),
            place: match place {
                PoolPlace::Iscsi => None,
                PoolPlace::Directory { folder } => Some(Place::Folder(folder.clone())),
                PoolPlace::Rbd(cluster) => Some(Place::Rbd(cluster.to_wire())),
            },
            lacks: to_list(lacks),
            orphans: to_list(orphans),
        }
    }
    fn from_wire(wire: wire::PoolFacts) -> Result<Self, WireError> {
        use wire::pool_facts::Place;
        let wire::PoolFacts {
            pool,
            capacity_bytes,
            used_bytes,
            reflink,
            fault,
            place,
            lacks,
            orphans,
        } = wire;
        Ok(Self {
            pool: text(&pool, "pool")?,
            capacity: Bytes(capacity_bytes),
            used: Bytes(used_bytes),
            reflink,
            fault,
            place: match place {
                None => PoolPlace::Iscsi,
                Some(Place::Folder(folder)) => PoolPlace::Directory { folder },
                Some(Place::Rbd(cluster)) => PoolPlace::Rbd(
                    OnWire::from_wire(cluster).map_err(|e: WireError| e.inside("rbd"))?,
                ),
            },
            lacks: list(lacks, "lacks")?,
            orphans: list(orphans, "orphans")?,
        })
    }
}

impl OnWire for Lack {
    type Wire = wire::Lack;
    fn to_wire(&self) -> wire::Lack {
        let Self { verb, why } = self;
        wire::Lack {
            verb: verb.to_wire(),
            why: why.clone(),
        }
    }
    fn from_wire(wire: wire::Lack) -> Result<Self, WireError> {
        let wire::Lack { verb, why } = wire;
        Ok(Self {
            verb: choice(verb, "verb")?,
            why,
        })
    }
}

impl OnWire for Orphan {
    type Wire = wire::Orphan;
    fn to_wire(&self) -> wire::Orphan {
        let Self {
            kind,
            name,
            size,
            since,
        } = self;
        wire::Orphan {
            kind: kind.to_wire(),
            name: name.clone(),
            size_bytes: size.0,
            since_unix_s: *since,
        }
    }
    fn from_wire(wire: wire::Orphan) -> Result<Self, WireError> {
        let wire::Orphan {
            kind,
            name,
            size_bytes,
            since_unix_s,
        } = wire;
        Ok(Self {
            kind: choice(kind, "kind")?,
            name,
            size: Bytes(size_bytes),
            since: since_unix_s,
        })
    }
}

impl OnWire for Observation {
    type Wire = wire::Observation;
    fn to_wire(&self) -> wire::Observation {
        use wire::observation::State;
        let Self {
            key,
            epoch,
            hash,
            state,
            detail,
        } = self;
        wire::Observation {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            hash: hash.0,
            state: Some(match state {
                ItemState::Ready => State::Ready(wire::Ready {}),
                ItemState::Pending(trouble) => State::Pending(trouble.to_wire()),
                ItemState::Failed(trouble) => State::Failed(trouble.to_wire()),
            }),
            detail: detail_to_wire(detail),
        }
    }
    fn from_wire(wire: wire::Observation) -> Result<Self, WireError> {
        use wire::observation::State;
        let wire::Observation {
            key,
            epoch,
            hash,
            state,
            detail,
        } = wire;
        let state = match state.ok_or_else(|| WireError::new("state", "is missing"))? {
            State::Ready(wire::Ready {}) => ItemState::Ready,
            State::Pending(t) => ItemState::Pending(OnWire::from_wire(t)?),
            State::Failed(t) => ItemState::Failed(OnWire::from_wire(t)?),
        };
        Ok(Self {
            key: required(key, "key")?,
            epoch: required(epoch, "epoch")?,
            hash: ItemHash(hash),
            state,
            detail: detail_from_wire(detail)?,
        })
    }
}

fn detail_to_wire(detail: &Detail) -> Option<wire::observation::Detail> {
    use wire::observation::Detail as Wire;
    Some(match detail {
        Detail::None => return None,
        Detail::Image { virtual_size } => Wire::Image(wire::ImageDetail {
            virtual_size_bytes: virtual_size.0,
        }),
        Detail::Volume {
            size,
            allocated,
            restored,
        } => Wire::Volume(wire::VolumeDetail {
            size_bytes: size.0,
            allocated_bytes: allocated.0,
            restored: restored.clone(),
        }),
        Detail::Snapshot { size, taken_at } => Wire::Snapshot(wire::SnapshotDetail {
            size_bytes: size.0,
            taken_at_unix_s: *taken_at,
        }),
        Detail::Backup { progress, done } => Wire::Backup(wire::BackupDetail {
            progress: progress.as_ref().map(OnWire::to_wire),
            done: done.as_deref().map(OnWire::to_wire),
        }),
        Detail::Restore { progress, done } => Wire::Restore(wire::RestoreDetail {
            progress: progress.as_ref().map(OnWire::to_wire),
            done: done.as_ref().map(OnWire::to_wire),
        }),
        Detail::Manifest { read } => Wire::Manifest(wire::ManifestDetail {
            read: read.as_deref().map(OnWire::to_wire),
        }),
        Detail::Vm {
            guest,
            last_stop,
            machine_type,
            started_at,
            restart,
            held,
            moves,
            used,
            formatted,
            probed,
        } => Wire::Vm(wire::VmDetail {
            guest: guest.to_wire(),
            last_stop: last_stop.map_or(wire::Stop::Unspecified as i32, |stop| stop.to_wire()),
            machine_type: machine_type.clone(),
            started_at_unix_s: *started_at,
            restart: restart.clone(),
            held: held.as_deref().map(OnWire::to_wire),
            moves: to_list(moves),
            used: to_list(used),
            formatted: formatted.iter().map(ToString::to_string).collect(),
            probed: probed.as_deref().map(OnWire::to_wire),
        }),
    })
}

fn detail_from_wire(wire: Option<wire::observation::Detail>) -> Result<Detail, WireError> {
    use wire::observation::Detail as Wire;
    Ok(match wire {
        None => Detail::None,
        Some(Wire::Image(wire::ImageDetail { virtual_size_bytes })) => Detail::Image {
            virtual_size: Bytes(virtual_size_bytes),
        },
        Some(Wire::Volume(wire::VolumeDetail {
            size_bytes,
            allocated_bytes,
            restored,
        })) => Detail::Volume {
            size: Bytes(size_bytes),
            allocated: Bytes(allocated_bytes),
            restored,
        },
        Some(Wire::Snapshot(wire::SnapshotDetail {
            size_bytes,
            taken_at_unix_s,
        })) => Detail::Snapshot {
            size: Bytes(size_bytes),
            taken_at: taken_at_unix_s,
        },
        Some(Wire::Backup(wire::BackupDetail { progress, done })) => Detail::Backup {
            progress: optional(progress, "backup.progress")?,
            done: optional(done, "backup.done")?.map(Box::new),
        },
        Some(Wire::Restore(wire::RestoreDetail { progress, done })) => Detail::Restore {
            progress: optional(progress, "restore.progress")?,
            done: optional(done, "restore.done")?,
        },
        Some(Wire::Manifest(wire::ManifestDetail { read })) => Detail::Manifest {
            read: optional(read, "manifest.read")?.map(Box::new),
        },
        Some(Wire::Vm(wire::VmDetail {
            guest,
            last_stop,
            machine_type,
            started_at_unix_s,
            restart,
            held,
            moves,
            used,
            formatted,
            probed,
        })) => Detail::Vm {
            guest: choice(guest, "vm.guest")?,
            last_stop: match last_stop {
                0 => None,
                number => Some(choice::<Stop>(number, "vm.last_stop")?),
            },
            machine_type,
            started_at: started_at_unix_s,
            restart,
            held: optional(held, "vm.held")?.map(Box::new),
            moves: list(moves, "vm.moves")?,
            used: list(used, "vm.used")?,
            formatted: formatted
                .iter()
                .map(|volume| text(volume, "vm.formatted"))
                .collect::<Result<_, _>>()?,
            probed: optional(probed, "vm.probed")?.map(Box::new),
        },
    })
}

impl OnWire for Trouble {
    type Wire = wire::Trouble;
    fn to_wire(&self) -> wire::Trouble {
        let Self { reason, message } = self;
        wire::Trouble {
            reason: reason.clone(),
            message: message.clone(),
        }
    }
    fn from_wire(wire: wire::Trouble) -> Result<Self, WireError> {
        let wire::Trouble { reason, message } = wire;
        Ok(Self { reason, message })
    }
}

impl OnWire for Released {
    type Wire = wire::Released;
    fn to_wire(&self) -> wire::Released {
        let Self {
            key,
            epoch,
            note,
            erasure,
        } = self;
        wire::Released {
            key: Some(key.to_wire()),
            epoch: Some(epoch.to_wire()),
            note: note.clone(),
            erasure: erasure.as_ref().map(OnWire::to_wire),
        }
    }
    fn from_wire(wire: wire::Released) -> Result<Self, WireError> {
        let wire::Released {
            key,
            epoch,
            note,
            erasure,
        } = wire;
        Ok(Self {
            key: required(key, "key")?,
            epoch: required(epoch, "epoch")?,
            note,
            erasure: optional(erasure, "erasure")?,
        })
    }
}
