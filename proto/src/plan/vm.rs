//! Virtual machines.

use dc_types::plan::{DiskItem, NicItem, SeedItem, VmItem};
use dc_types::{Bytes, MiB};

use crate::field::{choice, list, optional_text, required, text, to_list};
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
        })
    }
}

impl OnWire for DiskItem {
    type Wire = wire::Disk;
    fn to_wire(&self) -> wire::Disk {
        let Self {
            volume,
            name,
            grant,
            portal,
            initiator,
            chap,
            size,
        } = self;
        wire::Disk {
            volume: volume.to_string(),
            name: name.clone(),
            grant: Some(grant.to_wire()),
            portal: Some(portal.to_wire()),
            initiator: initiator.clone(),
            chap: Some(chap.to_wire()),
            size_bytes: size.0,
        }
    }
    fn from_wire(wire: wire::Disk) -> Result<Self, WireError> {
        let wire::Disk {
            volume,
            name,
            grant,
            portal,
            initiator,
            chap,
            size_bytes,
        } = wire;
        Ok(Self {
            volume: text(&volume, "volume")?,
            name,
            grant: required(grant, "grant")?,
            portal: required(portal, "portal")?,
            initiator,
            chap: required(chap, "chap")?,
            size: Bytes(size_bytes),
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
