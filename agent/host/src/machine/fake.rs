//! A machine of a stated size.

use async_trait::async_trait;
use dc_types::MiB;

use super::{Machine, MachineError, MachineSize};
use crate::Knobs;

pub struct FakeMachine {
    knobs: Knobs,
    size: MachineSize,
}

impl FakeMachine {
    /// The size of a usual server; nothing on it ever uses memory.
    pub const SIZE: MachineSize = MachineSize {
        vcpus: 64,
        memory: MiB(256 << 10),
        memory_available: MiB(250 << 10),
    };

    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            size: Self::SIZE,
        }
    }
}

#[async_trait]
impl Machine for FakeMachine {
    async fn size(&self) -> Result<MachineSize, MachineError> {
        self.knobs.gate("machine.size").await?;
        Ok(self.size)
    }
}
