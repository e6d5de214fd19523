//! Virtual machines.

use dc_types::plan::{DiskItem, DiskSource, Hold, Mirror, NicItem, Probes, Qos, SeedItem, VmItem};
use dc_types::{Bytes, MiB};

use super::encrypted;
use crate::field::{choice, list, optional, optional_text, required, text, to_list};
use crate::{OnWire, WireError, wire};

impl OnWire for VmItem {
    type Wire = wire::VmItem;
    fn to_wire(&self) -> wire::VmItem {
        let Self {
            vm,
            department,
            system,
            name,
            power,
            restart,
            vcpus,
            memory,
            cpu_model,
            machine_type,
            firmware,
            disks,
            nics,
            seed,
            stop_deadline_s,
            on_stop,
            hold,
            probes,
        } = self;
        wire::VmItem {
            vm: vm.to_string(),
            department: department.to_string(),
            system: system.clone(),
            name: name.clone(),
            power: power.to_wire(),
            restart: restart.clone(),
            vcpus: *vcpus,
            memory_mib: memory.0,
            cpu_model: cpu_model.clone(),
            machine_type: machine_type.clone(),
            firmware: firmware.to_wire(),
            disks: to_list(disks),
            nics: to_list(nics),
            seed: Some(seed.to_wire()),
            stop_deadline_s: *stop_deadline_s,
            on_stop: on_stop.to_wire(),
            hold: hold.as_ref().map(OnWire::to_wire),
            probes: probes.as_ref().map(OnWire::to_wire),
        }
    }
    fn from_wire(wire: wire::VmItem) -> Result<Self, WireError> {
        let wire::VmItem {
            vm,
            department,
            system,
            name,
            power,
            restart,
            vcpus,
            memory_mib,
            cpu_model,
            machine_type,
            firmware,
            disks,
            nics,
            seed,
            stop_deadline_s,
            on_stop,
            hold,
            probes,
        } = wire;
        Ok(Self {
            vm: text(&vm, "vm")?,
            department: text(&department, "department")?,
            system,
            name,
            power: choice(power, "power")?,
            restart,
            vcpus,
            memory: MiB(memory_mib),
            cpu_model,
            machine_type,
            firmware: choice(firmware, "firmware")?,
            disks: list(disks, "disks")?,
            nics: list(nics, "nics")?,
            seed: required(seed, "seed")?,
            stop_deadline_s,
            on_stop: choice(on_stop, "on_stop")?,
            hold: optional(hold, "hold")?,
            probes: optional(probes, "probes")?,
        })
    }
}

impl OnWire for Probes {
    type Wire = wire::Probes;
    fn to_wire(&self) -> wire::Probes {
        let Self {
            console,
            agent,
            command,
        } = self;
        wire::Probes {
            console: console.clone(),
            agent: *agent,
            command: command.clone(),
        }
    }
    fn from_wire(wire: wire::Probes) -> Result<Self, WireError> {
        let wire::Probes {
            console,
            agent,
            command,
        } = wire;
        Ok(Self {
            console,
            agent,
            command,
        })
    }
}

impl OnWire for Hold {
    type Wire = wire::Hold;
    fn to_wire(&self) -> wire::Hold {
        let Self { id, deadline_s } = self;
        wire::Hold {
            id: Some(id.to_wire()),
            deadline_s: *deadline_s,
        }
    }
    fn from_wire(wire: wire::Hold) -> Result<Self, WireError> {
        let wire::Hold { id, deadline_s } = wire;
        Ok(Self {
            id: required(id, "id")?,
            deadline_s,
        })
    }
}

impl OnWire for DiskItem {
    type Wire = wire::Disk;
    fn to_wire(&self) -> wire::Disk {
        use wire::disk::Other;
        let Self {
            volume,
            name,
            grant,
            initiator,
            source,
            size,
            qos,
            stored,
            mirror,
            luks,
        } = self;
        let mut wire = wire::Disk {
            volume: volume.to_string(),
            name: name.clone(),
            grant: Some(grant.to_wire()),
            initiator: initiator.clone(),
            size_bytes: size.0,
            qos: (!qos.is_unlimited()).then(|| qos.to_wire()),
            stored: stored.map(|id| id.to_string()),
            mirror: mirror.as_deref().map(OnWire::to_wire),
            ..Default::default()
        };
        if let Some(luks) = luks {
            wire.other = Some(Other::Encrypted(encrypted::to_wire(source, luks)));
            return wire;
        }
        match source {
            DiskSource::Iscsi { portal, chap } => {
                wire.portal = Some(portal.to_wire());
                wire.chap = Some(chap.to_wire());
            }
            DiskSource::Rbd {
                cluster,
                image,
                cephx,
            } => {
                wire.other = Some(Other::Rbd(wire::RbdDisk {
                    cluster: Some(cluster.to_wire()),
                    image: image.clone(),
                    cephx: Some(cephx.to_wire()),
                }));
            }
            DiskSource::File { path } => wire.other = Some(Other::File(path.clone())),
        }
        wire
    }
    fn from_wire(wire: wire::Disk) -> Result<Self, WireError> {
        use wire::disk::Other;
        let wire::Disk {
            volume,
            name,
            grant,
            portal,
            initiator,
            chap,
            size_bytes,
            other,
            qos,
            stored,
            mirror,
        } = wire;
        let (source, luks) = match other {
            None => {
                let source = DiskSource::Iscsi {
                    portal: required(portal, "portal")?,
                    chap: required(chap, "chap")?,
                };
                (source, None)
            }
            Some(Other::Rbd(wire::RbdDisk {
                cluster,
                image,
                cephx,
            })) => {
                let source = DiskSource::Rbd {
                    cluster: required(cluster, "rbd.cluster")?,
                    image,
                    cephx: required(cephx, "rbd.cephx")?,
                };
                (source, None)
            }
            Some(Other::File(path)) => (DiskSource::File { path }, None),
            Some(Other::Encrypted(disk)) => {
                let (source, luks) = encrypted::from_wire(disk)?;
                (source, Some(luks))
            }
        };
        Ok(Self {
            volume: text(&volume, "volume")?,
            name,
            grant: required(grant, "grant")?,
            initiator,
            source,
            size: Bytes(size_bytes),
            qos: optional(qos, "qos")?.unwrap_or_default(),
            stored: optional_text(stored.as_deref(), "stored")?,
            mirror: optional(mirror, "mirror")?.map(Box::new),
            luks,
        })
    }
}

impl OnWire for Mirror {
    type Wire = wire::Mirror;
    fn to_wire(&self) -> wire::Mirror {
        use wire::mirror::Source;
        let Self {
            place,
            grant,
            source,
            order,
        } = self;
        wire::Mirror {
            place: place.to_string(),
            grant: Some(grant.to_wire()),
            order: order.to_wire(),
            source: Some(match source {
                DiskSource::Iscsi { portal, chap } => Source::Iscsi(wire::IscsiDisk {
                    portal: Some(portal.to_wire()),
                    chap: Some(chap.to_wire()),
                }),
                DiskSource::Rbd {
                    cluster,
                    image,
                    cephx,
                } => Source::Rbd(wire::RbdDisk {
                    cluster: Some(cluster.to_wire()),
                    image: image.clone(),
                    cephx: Some(cephx.to_wire()),
                }),
                DiskSource::File { path } => Source::File(path.clone()),
            }),
        }
    }
    fn from_wire(wire: wire::Mirror) -> Result<Self, WireError> {
        use wire::mirror::Source;
        let wire::Mirror {
            place,
            grant,
            order,
            source,
        } = wire;
        let source = source.ok_or_else(|| WireError::new("source", "is missing"))?;
        Ok(Self {
            place: text(&place, "place")?,
            grant: required(grant, "grant")?,
            order: choice(order, "order")?,
            source: match source {
                Source::Iscsi(wire::IscsiDisk { portal, chap }) => DiskSource::Iscsi {
                    portal: required(portal, "iscsi.portal")?,
                    chap: required(chap, "iscsi.chap")?,
                },
                Source::Rbd(wire::RbdDisk {
                    cluster,
                    image,
                    cephx,
                }) => DiskSource::Rbd {
                    cluster: required(cluster, "rbd.cluster")?,
                    image,
                    cephx: required(cephx, "rbd.cephx")?,
                },
                Source::File(path) => DiskSource::File { path },
            },
        })
    }
}

impl OnWire for Qos {
    type Wire = wire::Qos;
    fn to_wire(&self) -> wire::Qos {
        let Self {
            iops,
            iops_burst,
            bandwidth,
            bandwidth_burst,
            burst_s,
        } = *self;
        wire::Qos {
            iops,
            iops_burst,
            bandwidth_bytes: bandwidth.0,
            bandwidth_burst_bytes: bandwidth_burst.0,
            burst_s,
        }
    }
    fn from_wire(wire: wire::Qos) -> Result<Self, WireError> {
        let wire::Qos {
            iops,
            iops_burst,
            bandwidth_bytes,
            bandwidth_burst_bytes,
            burst_s,
        } = wire;
        Ok(Self {
            iops,
            iops_burst,
            bandwidth: Bytes(bandwidth_bytes),
            bandwidth_burst: Bytes(bandwidth_burst_bytes),
            burst_s,
        })
    }
}

impl OnWire for NicItem {
    type Wire = wire::Nic;
    fn to_wire(&self) -> wire::Nic {
        let Self {
            card,
            subnet,
            mac,
            v4,
            v6,
        } = self;
        wire::Nic {
            card: *card,
            subnet: subnet.to_string(),
            mac: mac.to_string(),
            v4: v4.map(|a| a.to_string()),
            v6: v6.map(|a| a.to_string()),
        }
    }
    fn from_wire(wire: wire::Nic) -> Result<Self, WireError> {
        let wire::Nic {
            card,
            subnet,
            mac,
            v4,
            v6,
        } = wire;
        Ok(Self {
            card,
            subnet: text(&subnet, "subnet")?,
            mac: text(&mac, "mac")?,
            v4: optional_text(v4.as_deref(), "v4")?,
            v6: optional_text(v6.as_deref(), "v6")?,
        })
    }
}

impl OnWire for SeedItem {
    type Wire = wire::Seed;
    fn to_wire(&self) -> wire::Seed {
        let Self {
            hostname,
            user_data,
        } = self;
        wire::Seed {
            hostname: hostname.clone(),
            user_data: Some(user_data.to_wire()),
        }
    }
    fn from_wire(wire: wire::Seed) -> Result<Self, WireError> {
        let wire::Seed {
            hostname,
            user_data,
        } = wire;
        Ok(Self {
            hostname,
            user_data: required(user_data, "user_data")?,
        })
    }
}
