//! Disks of a running guest: their limits, their sizes, and their copies. A copy is whole when a test says so.

use dc_agent_core::vm::seen::{CopyStage, LiveDisk, LiveMirror};
use dc_agent_core::vm::xml::disk::read_source_name;
use dc_agent_core::vm::xml::secret::read_secrets;
use dc_types::plan::Qos;
use dc_types::{Bytes, InstanceId};

use super::super::{CopyEnding, HypervisorError};
use super::{FakeHypervisor, State, refused};

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

    pub(super) fn start_copy(
        &mut self,
        vm: InstanceId,
        device: &str,
        xml: &str,
    ) -> Result<(), HypervisorError> {
        let missing = read_secrets(xml)
            .into_iter()
            .find(|uuid| !self.secrets.contains_key(uuid));
        if let Some(uuid) = missing {
            return Err(refused("copy", format!("no secret with uuid {uuid}")));
        }
        let source = read_source_name(xml)
            .ok_or_else(|| refused("copy", "the copy has no source".into()))?;
        let disk = self.disk(vm, device)?;
        disk.mirror.get_or_insert(LiveMirror {
            source,
            stage: CopyStage::Copying,
            percent: 0,
        });
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
                disk.source = copy.source;
                Ok(())
            }
            (copy, CopyEnding::GoOver) => {
                disk.mirror = copy;
                Err(refused("end copy", "the copy is not whole".into()))
            }
        }
    }
}
