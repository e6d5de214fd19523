//! What a test does to a fake pool, and sees of it, behind the driver's back.

use std::collections::BTreeSet;

use dc_agent_core::storage::Extent;
use dc_types::{Bytes, ImageUid, InstanceId};

use super::FakeDriver;

impl FakeDriver {
    /// Breaks the pool, or mends it.
    pub fn set_fault(&self, fault: Option<String>) {
        self.state().fault = fault;
    }

    /// Volumes whose bytes were erased, in that order.
    #[must_use]
    pub fn erased(&self) -> Vec<InstanceId> {
        self.state().erased.clone()
    }

    /// Volumes whose bytes are kept out of use.
    #[must_use]
    pub fn retained(&self) -> BTreeSet<InstanceId> {
        self.state().retained.clone()
    }

    /// The bytes are gone, as when somebody has deleted them by hand.
    pub fn lose_bytes(&self, volume: InstanceId) {
        if let Some(volume) = self.state().volumes.get_mut(&volume) {
            volume.disk = None;
        }
    }

    /// What lies there, whoever has it; `None` when nothing does.
    #[must_use]
    pub fn bytes_of(&self, volume: InstanceId) -> Option<Vec<u8>> {
        let state = self.state();
        let disk = state.volumes.get(&volume)?.disk.as_ref()?;
        Some(disk.read(Extent::new(0, disk.size)))
    }

    /// As the guest that has it writes.
    pub fn put_bytes(&self, volume: InstanceId, start: u64, bytes: &[u8]) {
        if let Some(volume) = self.state().volumes.get_mut(&volume)
            && let Some(disk) = &mut volume.disk
        {
            disk.write(start, bytes);
        }
    }

    /// The SHA-256 that will be found in an image file; any other source has the one asked for.
    pub fn set_sum(&self, file: &str, sha256: &str) {
        let mut state = self.state();
        state.image_sums.insert(file.to_owned(), sha256.to_owned());
    }

    /// The size of the disk that will be found in an image.
    pub fn set_virtual_size(&self, image: ImageUid, size: Bytes) {
        self.state().image_sizes.insert(image, size);
    }
}
