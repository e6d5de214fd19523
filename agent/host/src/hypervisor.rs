//! The hypervisor: domains and secrets of libvirt.
//!
//! What always holds: only domains that carry our metadata are changed; every call has a time
//! limit; every change may be repeated, and doing again what is done already is no error. Taps,
//! seeds and records are other tools'.

use std::collections::BTreeMap;

use async_trait::async_trait;
use dc_agent_core::vm::hold::Freeze;
use dc_agent_core::vm::meter::DiskCounts;
use dc_agent_core::vm::seen::{Domain, ForeignDomain};
use dc_agent_core::vm::xml::{DiskSecret, SecretLabel};
use dc_agent_core::wanted::Capabilities;
use dc_types::plan::Qos;
use dc_types::{Bytes, InstanceId, MiB};
use thiserror::Error;
use tokio::sync::watch;
use uuid::Uuid;

use crate::knobs::Injected;

mod capabilities;
mod fake;
mod none;
mod real;

pub use fake::FakeHypervisor;
pub use none::NoHypervisor;
pub use real::Libvirt;

/// What a call of the hypervisor ran into.
#[derive(Debug, Error)]
pub enum HypervisorError {
    #[error("libvirt cannot be reached at {uri}: {message}; is libvirtd running?")]
    Unreachable { uri: String, message: String },
    #[error("libvirt did not answer {call} within {limit_s} s")]
    TimedOut { call: &'static str, limit_s: u64 },
    #[error("domain {vm} is not on this host")]
    NoDomain { vm: InstanceId },
    #[error("domain {vm} does not carry our metadata and is not touched")]
    Foreign { vm: InstanceId },
    #[error("libvirt refused {call}: {message}")]
    Refused { call: &'static str, message: String },
    #[error("libvirt's answer to {call} cannot be read: {message}")]
    Unreadable { call: &'static str, message: String },
    #[error(transparent)]
    Injected(#[from] Injected),
}

impl HypervisorError {
    /// The fact for a status, in PascalCase, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "LibvirtUnreachable",
            Self::TimedOut { .. } => "LibvirtTimedOut",
            Self::NoDomain { .. } => "DomainMissing",
            Self::Foreign { .. } => "ForeignDomain",
            // QEMU opens its disks when it is started: the words are libiscsi's.
            Self::Refused { call, message }
                if ["start", "attach"].contains(call) && message.contains("iSCSI") =>
            {
                "DiskNotOpened"
            }
            Self::Refused { .. } => "LibvirtRefused",
            Self::Unreadable { .. } => "LibvirtUnreadable",
            Self::Injected(_) => "Injected",
        }
    }
}

/// All domains of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domains {
    pub ours: BTreeMap<InstanceId, Domain>,
    pub foreign: Vec<ForeignDomain>,
}

/// What the host offers its guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HypervisorFacts {
    pub vcpus: u32,
    pub memory: MiB,
    pub capabilities: Capabilities,
}

/// What QEMU counts of one disk of a running domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// As the guest sees it; `None` while QEMU has not said.
    pub size: Option<Bytes>,
    pub counts: Option<DiskCounts>,
}

/// How a program in a guest stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandState {
    Runs,
    /// With this code; one that a signal ended has 128 and the signal's number.
    Ended(i32),
    /// The guest's agent does not answer, or knows no such number.
    Unknown,
}

/// How a copy of a disk ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEnding {
    Abandon,
    GoOver,
}

#[async_trait]
pub trait Hypervisor: Send + Sync {
    async fn domains(&self) -> Result<Domains, HypervisorError>;

    /// Puts a definition in place of the one there; a running domain is not changed by it.
    async fn define(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError>;

    /// Removes the definition of a domain that is off. Its files stay.
    async fn undefine(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Starts QEMU with its CPUs halted. Its disks are opened here.
    async fn start_paused(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    async fn resume(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Halts the CPUs. When it returns, QEMU has sent all that the guest had written and has got
    /// the storage's answers.
    async fn pause(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Asks the guest's agent to freeze its file systems. That it does not answer is no error: what
    /// came of it is seen by [`freeze_state`](Self::freeze_state).
    async fn freeze(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Has the guest's agent thaw its file systems; an error when it does not answer.
    async fn thaw(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// How the file systems of a running guest are, as its agent says.
    async fn freeze_state(&self, vm: InstanceId) -> Result<Freeze, HypervisorError>;

    /// Whether the agent of a running guest answers.
    async fn ping(&self, vm: InstanceId) -> Result<bool, HypervisorError>;

    /// Has the guest's agent start a program with its arguments; the number that it gives it, or
    /// `None` when no agent takes it. What the program prints is not kept.
    async fn start_command(
        &self,
        vm: InstanceId,
        command: &[String],
    ) -> Result<Option<i64>, HypervisorError>;

    /// How a program stands that was started.
    async fn command_state(
        &self,
        vm: InstanceId,
        number: i64,
    ) -> Result<CommandState, HypervisorError>;

    /// Limits a disk of a running guest from now on; zeros are no limit.
    async fn limit(&self, vm: InstanceId, device: &str, qos: &Qos) -> Result<(), HypervisorError>;

    /// Has a running guest see a disk as large as its storage has it by now. Never less than it sees
    /// already; what its storage does not have is an error.
    async fn resize(
        &self,
        vm: InstanceId,
        device: &str,
        size: Bytes,
    ) -> Result<(), HypervisorError>;

    /// Begins to copy a disk of a running guest to where the XML says, which is as large and opened
    /// for this machine. One that is under way already is no error, wherever it goes: that is seen.
    async fn start_copy(
        &self,
        vm: InstanceId,
        device: &str,
        xml: &str,
    ) -> Result<(), HypervisorError>;
    /// Ends a copy: the guest stays where it is, or goes over to the copy, which must be whole.
    /// Whether it has ended by then is seen.
    async fn end_copy(
        &self,
        vm: InstanceId,
        device: &str,
        ending: CopyEnding,
    ) -> Result<(), HypervisorError>;
    /// Attaches a disk to a running guest: QEMU opens it here, and the guest finds it. One of that
    /// serial that is there already is no error. A storage that cannot be reached is one, and is found
    /// out before QEMU is asked, whose guest would stand still while it waits.
    async fn attach_disk(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError>;

    /// Asks a running guest to let go of a disk. It may take its time, or keep it: that is seen. One
    /// that is not there, or was asked for already, is no error.
    async fn detach_disk(&self, vm: InstanceId, device: &str) -> Result<(), HypervisorError>;

    /// Presses the ACPI power button; whether the guest heard it is seen later.
    async fn press_power_button(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Ends QEMU at once. Takes some twelve seconds when its storage is fenced.
    async fn destroy(&self, vm: InstanceId) -> Result<(), HypervisorError>;

    /// Writes our metadata anew, into the running domain and its definition.
    async fn set_metadata(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError>;

    /// The secrets that are ours.
    async fn secrets(&self) -> Result<Vec<SecretLabel>, HypervisorError>;

    async fn define_secret(&self, secret: &DiskSecret) -> Result<(), HypervisorError>;

    async fn remove_secret(&self, uuid: Uuid) -> Result<(), HypervisorError>;

    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError>;

    /// Changes its value when a domain may have come, gone or changed its state. A wake-up, not a
    /// message: look again.
    fn changes(&self) -> watch::Receiver<u64>;
}
