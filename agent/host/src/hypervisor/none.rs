//! The hypervisor of a host that carries no machines: nothing is there, and nothing can be made.

use async_trait::async_trait;
use dc_agent_core::vm::hold::Freeze;
use dc_agent_core::vm::xml::{DiskSecret, SecretLabel};
use dc_agent_core::wanted::Capabilities;
use dc_types::plan::Qos;
use dc_types::{Bytes, InstanceId, MiB};
use tokio::sync::watch;
use uuid::Uuid;

use super::{CommandState, CopyEnding, Domains, Hypervisor, HypervisorError, HypervisorFacts};

pub struct NoHypervisor {
    /// Kept so that those who wait for a change wait, rather than being told that none can come.
    changes: watch::Sender<u64>,
}

impl NoHypervisor {
    #[must_use]
    pub fn new() -> Self {
        Self {
            changes: watch::Sender::new(0),
        }
    }
}

impl Default for NoHypervisor {
    fn default() -> Self {
        Self::new()
    }
}

fn refuse(call: &'static str) -> Result<(), HypervisorError> {
    Err(HypervisorError::Refused {
        call,
        message: "this host's agent has no libvirt configured: give it one, or take the role \
                  compute from its Host"
            .to_owned(),
    })
}

#[async_trait]
impl Hypervisor for NoHypervisor {
    async fn domains(&self) -> Result<Domains, HypervisorError> {
        Ok(Domains::default())
    }

    async fn define(&self, _: InstanceId, _: &str) -> Result<(), HypervisorError> {
        refuse("define")
    }

    async fn undefine(&self, _: InstanceId) -> Result<(), HypervisorError> {
        Ok(())
    }

    async fn start_paused(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("start")
    }

    async fn resume(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("resume")
    }

    async fn pause(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("pause")
    }

    async fn freeze(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("freeze")
    }

    async fn thaw(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("thaw")
    }

    async fn freeze_state(&self, _: InstanceId) -> Result<Freeze, HypervisorError> {
        Ok(Freeze::Unanswered)
    }

    async fn ping(&self, _: InstanceId) -> Result<bool, HypervisorError> {
        Ok(false)
    }

    async fn start_command(
        &self,
        _: InstanceId,
        _: &[String],
    ) -> Result<Option<i64>, HypervisorError> {
        Ok(None)
    }

    async fn command_state(&self, _: InstanceId, _: i64) -> Result<CommandState, HypervisorError> {
        Ok(CommandState::Unknown)
    }

    async fn limit(&self, _: InstanceId, _: &str, _: &Qos) -> Result<(), HypervisorError> {
        refuse("limit")
    }

    async fn resize(&self, _: InstanceId, _: &str, _: Bytes) -> Result<(), HypervisorError> {
        refuse("resize")
    }

    async fn start_copy(&self, _: InstanceId, _: &str, _: &str) -> Result<(), HypervisorError> {
        refuse("copy")
    }

    async fn end_copy(&self, _: InstanceId, _: &str, _: CopyEnding) -> Result<(), HypervisorError> {
        refuse("end copy")
    }

    async fn attach_disk(&self, _: InstanceId, _: &str) -> Result<(), HypervisorError> {
        refuse("attach")
    }

    async fn detach_disk(&self, _: InstanceId, _: &str) -> Result<(), HypervisorError> {
        refuse("detach")
    }

    async fn press_power_button(&self, _: InstanceId) -> Result<(), HypervisorError> {
        refuse("shutdown")
    }

    async fn destroy(&self, _: InstanceId) -> Result<(), HypervisorError> {
        Ok(())
    }

    async fn set_metadata(&self, _: InstanceId, _: &str) -> Result<(), HypervisorError> {
        refuse("set metadata")
    }

    async fn secrets(&self) -> Result<Vec<SecretLabel>, HypervisorError> {
        Ok(Vec::new())
    }

    async fn define_secret(&self, _: &DiskSecret) -> Result<(), HypervisorError> {
        refuse("define secret")
    }

    async fn remove_secret(&self, _: Uuid) -> Result<(), HypervisorError> {
        Ok(())
    }

    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        Ok(HypervisorFacts {
            vcpus: 0,
            memory: MiB(0),
            capabilities: Capabilities::default(),
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
