//! Disks of a running guest: how they come and go, their limits, their sizes, and their copies. A copy
//! is whole when a test says so.

use std::collections::BTreeMap;

use dc_agent_core::vm::seen::{CopyStage, LiveDisk, Power};
use dc_agent_core::vm::xml::disk::{FIRST_DEVICE, read_copy, read_disk_alone};
use dc_agent_core::vm::xml::secret::read_secrets;
use dc_types::plan::Qos;
use dc_types::{Bytes, InstanceId};

use super::super::{CopyEnding, HypervisorError};
use super::{FakeDomain, FakeHypervisor, State, refused};

impl FakeHypervisor {
    /// The copy of a disk is whole from now on, and kept up.
    pub fn finish_copy(&self, vm: InstanceId, device: &str) {
        self.change_disk(vm, device, |disk| {
            if let Some(copy) = &mut disk.mirror {
                (copy.stage, copy.percent) = (CopyStage::Ready, 100);
            }
        });
    }

    /// What a disk of a running guest is in.
    #[must_use]
    pub fn source(&self, vm: InstanceId, device: &str) -> Option<String> {
        let state = self.state();
        let mut disks = state.domains.get(&vm)?.disks.values();
        let disk = disks.find(|disk| disk.device == device)?;
        Some(disk.source.clone())
    }

    /// How a disk of a running guest is limited, by its device.
    #[must_use]
    pub fn limits(&self, vm: InstanceId, device: &str) -> Option<Qos> {
        let state = self.state();
        let mut disks = state.domains.get(&vm)?.disks.values();
        let disk = disks.find(|disk| disk.device == device)?;
        Some(disk.qos)
    }

    /// What a disk of a running guest has at its storage, which its guest is told only by a resize.
    pub fn set_size(&self, vm: InstanceId, device: &str, storage: Bytes) {
        self.change_disk(vm, device, |disk| {
            disk.size.get_or_insert(storage);
        });
        let mut state = self.state();
        state.storage.insert((vm, device.to_owned()), storage);
    }

    /// From now on the guest keeps the disks that it is asked to let go of, or lets go of those too
    /// that it was asked for before.
    pub fn set_clinging(&self, vm: InstanceId, clings: bool) {
        let mut state = self.state();
        if clings {
            state.clinging.insert(vm);
        } else {
            state.clinging.remove(&vm);
        }
        if let Some(domain) = state.domains.get_mut(&vm).filter(|_| !clings) {
            domain.let_go();
        }
        drop(state);
        self.changed();
    }

    /// The devices of a running guest's disks, by their serial.
    #[must_use]
    pub fn devices(&self, vm: InstanceId) -> BTreeMap<String, String> {
        let state = self.state();
        let disks = state.domains.get(&vm).map(|domain| domain.disks.iter());
        let device = |(serial, disk): (&String, &LiveDisk)| (serial.clone(), disk.device.clone());
        disks.into_iter().flatten().map(device).collect()
    }

    /// How large a disk of a running guest is to it.
    #[must_use]
    pub fn size(&self, vm: InstanceId, device: &str) -> Option<Bytes> {
        let state = self.state();
        let mut disks = state.domains.get(&vm)?.disks.values();
        disks.find(|disk| disk.device == device)?.size
    }

    fn change_disk(&self, vm: InstanceId, device: &str, change: impl FnOnce(&mut LiveDisk)) {
        if let Ok(disk) = self.state().disk(vm, device) {
            change(disk);
        }
        self.changed();
    }
}

impl FakeDomain {
    /// Only a guest that runs answers.
    fn let_go(&mut self) {
        if self.power != Power::Running {
            return;
        }
        let before = self.disks.len();
        self.disks
            .retain(|_, disk| !self.asked.contains(&disk.device));
        self.free_slots += before - self.disks.len();
        self.asked.clear();
    }
}

impl State {
    pub(super) fn disk(
        &mut self,
        vm: InstanceId,
        device: &str,
    ) -> Result<&mut LiveDisk, HypervisorError> {
        let mut disks = self.get(vm)?.disks.values_mut();
        disks
            .find(|disk| disk.device == device)
            .ok_or_else(|| refused("copy", format!("no disk {device}")))
    }

    pub(super) fn resize(
        &mut self,
        vm: InstanceId,
        device: &str,
        size: Bytes,
    ) -> Result<(), HypervisorError> {
        let there = self.storage.get(&(vm, device.to_owned())).copied();
        if there.is_some_and(|there| there < size) {
            return Err(refused("resize", "Cannot grow device".into()));
        }
        let disk = self.disk(vm, device)?;
        disk.size = disk.size.max(Some(size));
        Ok(())
    }

    fn needs_secrets(&self, call: &'static str, xml: &str) -> Result<(), HypervisorError> {
        let missing = read_secrets(xml)
            .into_iter()
            .find(|uuid| !self.secrets.contains_key(uuid));
        match missing {
            Some(uuid) => Err(refused(call, format!("no secret with uuid {uuid}"))),
            None => Ok(()),
        }
    }

    pub(super) fn attach(&mut self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        let call = "attach";
        let (serial, disk) =
            read_disk_alone(xml).ok_or_else(|| refused(call, "no disk with a serial".into()))?;
        let domain = self.get(vm)?;
        if !domain.is_active() {
            return Err(refused(call, "the domain is not running".into()));
        }
        if domain.disks.contains_key(&serial) {
            return Ok(());
        }
        self.needs_secrets(call, xml)?;
        let domain = self.get(vm)?;
        if domain.disks.values().any(|of| of.device == disk.device) {
            return Err(refused(call, format!("target {} exists", disk.device)));
        }
        let free = domain.free_slots.checked_sub(1);
        domain.free_slots =
            free.ok_or_else(|| refused(call, "No more available PCI slots".into()))?;
        domain.disks.insert(serial, disk);
        Ok(())
    }

    /// The guest lets go at once, or keeps it until a test says otherwise.
    pub(super) fn ask_to_let_go(
        &mut self,
        vm: InstanceId,
        device: &str,
    ) -> Result<(), HypervisorError> {
        let clings = self.clinging.contains(&vm);
        let domain = self.get(vm)?;
        if device == FIRST_DEVICE {
            return Err(refused("detach", format!("{device} was started from")));
        }
        domain.asked.insert(device.to_owned());
        if !clings {
            domain.let_go();
        }
        Ok(())
    }

    pub(super) fn start_copy(
        &mut self,
        vm: InstanceId,
        device: &str,
        xml: &str,
    ) -> Result<(), HypervisorError> {
        self.needs_secrets("copy", xml)?;
        let copy =
            read_copy(xml).ok_or_else(|| refused("copy", "the copy has no source".into()))?;
        let disk = self.disk(vm, device)?;
        disk.mirror.get_or_insert(copy);
        Ok(())
    }

    pub(super) fn end_copy(
        &mut self,
        vm: InstanceId,
        device: &str,
        ending: CopyEnding,
    ) -> Result<(), HypervisorError> {
        let disk = self.disk(vm, device)?;
        match (disk.mirror.take(), ending) {
            (_, CopyEnding::Abandon) => Ok(()),
            (Some(copy), CopyEnding::GoOver) if copy.stage == CopyStage::Ready => {
                (disk.source, disk.hosts) = (copy.source, copy.hosts);
                Ok(())
            }
            (copy, CopyEnding::GoOver) => {
                disk.mirror = copy;
                Err(refused("end copy", "the copy is not whole".into()))
            }
        }
    }
}
