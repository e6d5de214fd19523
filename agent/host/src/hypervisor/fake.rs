//! A hypervisor that remembers. Guests boot at once, hear their power button unless they are deaf,
//! and do by themselves what a test tells them.
//!
//! Like libvirt it refuses what makes no sense: a start without the secrets of its disks, another
//! name under a known uuid, a resume of what is off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use dc_agent_core::vm::hold::Freeze;
use dc_agent_core::vm::seen::{Domain, ForeignDomain, LiveDisk, Off, Paused, Power};
use dc_agent_core::vm::xml::disk::read_live_disks;
use dc_agent_core::vm::xml::secret::read_secrets;
use dc_agent_core::vm::xml::slots::SPARE_SLOTS;
use dc_agent_core::vm::xml::{DiskSecret, Metadata, SecretBytes, SecretLabel};
use dc_agent_core::wanted::Capabilities;
use dc_types::plan::{Firmware, Qos};
use dc_types::{Bytes, InstanceId, MiB};
use tokio::sync::watch;
use uuid::Uuid;

use super::{CommandState, CopyEnding, Domains, Hypervisor, HypervisorError, HypervisorFacts};
use crate::knobs::Knobs;

mod definition;
mod disks;
mod guest;

use definition::read_definition;

/// Clones share what is remembered.
#[derive(Clone)]
pub struct FakeHypervisor {
    knobs: Knobs,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    domains: BTreeMap<InstanceId, FakeDomain>,
    foreign: Vec<ForeignDomain>,
    secrets: BTreeMap<Uuid, (SecretLabel, SecretBytes)>,
    /// Guests that take no notice of their power button.
    deaf: BTreeSet<InstanceId>,
    /// Guests with no agent in them.
    mute: BTreeSet<InstanceId>,
    /// With which code programs end in a guest, where it is not 0.
    commands_end: BTreeMap<InstanceId, i32>,
    /// Guests that let go of no disk.
    clinging: BTreeSet<InstanceId>,
    facts: Option<HypervisorFacts>,
    /// How large disks are at their storage, by machine and device, where a test has said it.
    storage: BTreeMap<(InstanceId, String), Bytes>,
}

struct FakeDomain {
    name: String,
    /// The definition; a running domain keeps the metadata it was started with.
    xml: String,
    defined: Metadata,
    live: Option<Metadata>,
    power: Power,
    disks: BTreeMap<String, LiveDisk>,
    /// Its file systems, which only a guest with an agent freezes.
    frozen: bool,
    free_slots: usize,
    /// Devices that the guest was asked to let go of.
    asked: BTreeSet<String>,
}

impl FakeHypervisor {
    #[must_use]
    pub fn new(knobs: Knobs) -> Self {
        Self {
            knobs,
            state: Arc::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// What the host offers, in place of 64 vCPUs and 512 GiB.
    pub fn set_facts(&self, facts: HypervisorFacts) {
        self.state().facts = Some(facts);
    }

    pub fn add_foreign(&self, uuid: Uuid, name: &str) {
        self.state().foreign.push(ForeignDomain {
            uuid,
            name: name.to_owned(),
            why: "it carries no metadata of ours".to_owned(),
        });
    }

    #[must_use]
    pub fn power(&self, vm: InstanceId) -> Option<Power> {
        self.state().domains.get(&vm).map(|domain| domain.power)
    }

    /// The definition of a domain.
    #[must_use]
    pub fn xml(&self, vm: InstanceId) -> Option<String> {
        self.state()
            .domains
            .get(&vm)
            .map(|domain| domain.xml.clone())
    }

    #[must_use]
    pub fn running(&self) -> usize {
        let state = self.state();
        let running = |domain: &&FakeDomain| domain.power == Power::Running;
        state.domains.values().filter(running).count()
    }

    #[must_use]
    pub fn secret_value(&self, uuid: Uuid) -> Option<SecretBytes> {
        self.state()
            .secrets
            .get(&uuid)
            .map(|(_, value)| value.clone())
    }

    /// libvirtd is started anew: guests run on, ephemeral secrets are gone.
    pub fn restart_libvirtd(&self) {
        self.state().secrets.clear();
        self.changed();
    }

    /// The host is started anew: guests and secrets are gone, definitions stay.
    pub fn reboot(&self) {
        let mut state = self.state();
        state.secrets.clear();
        for domain in state.domains.values_mut() {
            domain.end(Off::Unknown);
        }
        drop(state);
        self.changed();
    }

    fn change(&self, vm: InstanceId, change: impl FnOnce(&mut FakeDomain)) {
        if let Some(domain) = self.state().domains.get_mut(&vm) {
            change(domain);
        }
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|value| *value += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the knobs, makes the change, tells the watchers, and asks the knobs for the answer.
    async fn act(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut State) -> Result<(), HypervisorError> + Send,
    ) -> Result<(), HypervisorError> {
        let call = format!("libvirt.{call}");
        self.knobs.gate(&call).await?;
        act(&mut self.state())?;
        self.changed();
        Ok(self.knobs.answer(&call)?)
    }
}

impl State {
    fn get(&mut self, vm: InstanceId) -> Result<&mut FakeDomain, HypervisorError> {
        if self.foreign.iter().any(|foreign| foreign.uuid == vm.0) {
            return Err(HypervisorError::Foreign { vm });
        }
        self.domains
            .get_mut(&vm)
            .ok_or(HypervisorError::NoDomain { vm })
    }

    fn define(&mut self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        let (name, metadata) = read_definition(vm, xml)?;
        match self.get(vm) {
            Ok(domain) if domain.name != name => Err(refused(
                "define",
                format!("domain {:?} is already defined with uuid {vm}", domain.name),
            )),
            Ok(domain) => {
                xml.clone_into(&mut domain.xml);
                domain.defined = metadata;
                Ok(())
            }
            Err(HypervisorError::NoDomain { .. }) => {
                let domain = FakeDomain {
                    name,
                    xml: xml.to_owned(),
                    defined: metadata,
                    live: None,
                    power: Power::Off(Off::Unknown),
                    disks: BTreeMap::new(),
                    frozen: false,
                    free_slots: 0,
                    asked: BTreeSet::new(),
                };
                self.domains.insert(vm, domain);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn start(&mut self, vm: InstanceId) -> Result<(), HypervisorError> {
        let domain = self.get(vm)?;
        if domain.is_active() {
            return Ok(());
        }
        let asked = read_secrets(&domain.xml);
        let missing = asked
            .into_iter()
            .find(|uuid| !self.secrets.contains_key(uuid));
        let domain = self.get(vm)?;
        if let Some(uuid) = missing {
            domain.power = Power::Off(Off::Failed);
            return Err(refused("start", format!("no secret with uuid {uuid}")));
        }
        domain.live = Some(domain.defined.clone());
        domain.disks = read_live_disks(&domain.xml);
        domain.free_slots = SPARE_SLOTS;
        domain.power = Power::Paused(Paused::Ordered);
        Ok(())
    }
}

fn refused(call: &'static str, message: String) -> HypervisorError {
    HypervisorError::Refused { call, message }
}

#[async_trait]
impl Hypervisor for FakeHypervisor {
    async fn domains(&self) -> Result<Domains, HypervisorError> {
        self.knobs.gate("libvirt.domains").await?;
        let state = self.state();
        let ours = state.domains.iter().map(|(vm, domain)| {
            let seen = Domain {
                name: domain.name.clone(),
                metadata: domain.live.as_ref().unwrap_or(&domain.defined).clone(),
                power: domain.power,
                disks: domain.disks.clone(),
                free_slots: Some(domain.free_slots),
            };
            (*vm, seen)
        });
        Ok(Domains {
            ours: ours.collect(),
            foreign: state.foreign.clone(),
        })
    }

    async fn define(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        self.act("define", |state| state.define(vm, xml)).await
    }

    async fn undefine(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("undefine", |state| match state.get(vm) {
            Ok(domain) if domain.is_active() => {
                Err(refused("undefine", "the domain is running".into()))
            }
            Ok(_) => {
                state.domains.remove(&vm);
                Ok(())
            }
            Err(HypervisorError::NoDomain { .. }) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn start_paused(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("start", |state| state.start(vm)).await
    }

    async fn resume(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("resume", |state| {
            let domain = state.get(vm)?;
            if !domain.is_active() {
                return Err(refused("resume", "the domain is not running".into()));
            }
            domain.power = Power::Running;
            Ok(())
        })
        .await
    }

    async fn pause(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("suspend", |state| {
            let domain = state.get(vm)?;
            if !domain.is_active() {
                return Err(refused("suspend", "the domain is not running".into()));
            }
            domain.power = Power::Paused(Paused::Ordered);
            Ok(())
        })
        .await
    }

    async fn freeze(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("freeze", |state| {
            let mute = state.mute.contains(&vm);
            let domain = state.get(vm)?;
            domain.frozen |= !mute && domain.power == Power::Running;
            Ok(())
        })
        .await
    }

    async fn thaw(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("thaw", |state| {
            let mute = state.mute.contains(&vm);
            let domain = state.get(vm)?;
            if mute || domain.power != Power::Running {
                return Err(refused("thaw", "the guest agent is not connected".into()));
            }
            domain.frozen = false;
            Ok(())
        })
        .await
    }

    async fn freeze_state(&self, vm: InstanceId) -> Result<Freeze, HypervisorError> {
        self.knobs.gate("libvirt.freeze_state").await?;
        let mut state = self.state();
        let mute = state.mute.contains(&vm);
        let domain = state.get(vm)?;
        Ok(
            match (mute || domain.power != Power::Running, domain.frozen) {
                (true, _) => Freeze::Unanswered,
                (false, true) => Freeze::Frozen,
                (false, false) => Freeze::Thawed,
            },
        )
    }

    async fn ping(&self, vm: InstanceId) -> Result<bool, HypervisorError> {
        Ok(self.freeze_state(vm).await? != Freeze::Unanswered)
    }

    async fn start_command(
        &self,
        vm: InstanceId,
        _: &[String],
    ) -> Result<Option<i64>, HypervisorError> {
        Ok(self.ping(vm).await?.then_some(1))
    }

    async fn command_state(&self, vm: InstanceId, _: i64) -> Result<CommandState, HypervisorError> {
        self.knobs.gate("libvirt.command_state").await?;
        Ok(CommandState::Ended(self.command_ends(vm)))
    }

    async fn limit(&self, vm: InstanceId, device: &str, qos: &Qos) -> Result<(), HypervisorError> {
        let (device, qos) = (device.to_owned(), *qos);
        self.act("limit", move |state| {
            let disks = state.get(vm)?.disks.values_mut();
            for disk in disks.filter(|disk| disk.device == device) {
                disk.qos = qos;
            }
            Ok(())
        })
        .await
    }

    async fn resize(
        &self,
        vm: InstanceId,
        device: &str,
        size: Bytes,
    ) -> Result<(), HypervisorError> {
        let device = device.to_owned();
        self.act("resize", move |state| state.resize(vm, &device, size))
            .await
    }

    async fn start_copy(
        &self,
        vm: InstanceId,
        device: &str,
        xml: &str,
    ) -> Result<(), HypervisorError> {
        let (device, xml) = (device.to_owned(), xml.to_owned());
        self.act("copy", move |state| state.start_copy(vm, &device, &xml))
            .await
    }

    async fn end_copy(
        &self,
        vm: InstanceId,
        device: &str,
        ending: CopyEnding,
    ) -> Result<(), HypervisorError> {
        let device = device.to_owned();
        self.act("end_copy", move |state| state.end_copy(vm, &device, ending))
            .await
    }

    async fn attach_disk(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        self.act("attach", |state| state.attach(vm, xml)).await
    }

    async fn detach_disk(&self, vm: InstanceId, device: &str) -> Result<(), HypervisorError> {
        self.act("detach", |state| state.ask_to_let_go(vm, device))
            .await
    }

    async fn press_power_button(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("shutdown", |state| {
            let deaf = state.deaf.contains(&vm);
            let domain = state.get(vm)?;
            if domain.power == Power::Running && !deaf {
                domain.end(Off::ByGuest);
            }
            Ok(())
        })
        .await
    }

    async fn destroy(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.act("destroy", |state| match state.get(vm) {
            Ok(domain) if domain.is_active() => {
                domain.end(Off::Destroyed);
                Ok(())
            }
            Ok(_) | Err(HypervisorError::NoDomain { .. }) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn set_metadata(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        self.act("set_metadata", |state| {
            let metadata = Metadata::read_alone(xml)
                .map_err(|error| refused("set metadata", error.to_string()))?;
            let domain = state.get(vm)?;
            domain.live = domain.is_active().then(|| metadata.clone());
            domain.defined = metadata;
            Ok(())
        })
        .await
    }

    async fn secrets(&self) -> Result<Vec<SecretLabel>, HypervisorError> {
        self.knobs.gate("libvirt.secrets").await?;
        Ok(self
            .state()
            .secrets
            .values()
            .map(|(label, _)| *label)
            .collect())
    }

    async fn define_secret(&self, secret: &DiskSecret) -> Result<(), HypervisorError> {
        self.act("define_secret", |state| {
            let label = SecretLabel::parse(&secret.xml)
                .ok_or_else(|| refused("define secret", "it is not ours".into()))?;
            state
                .secrets
                .insert(label.uuid, (label, secret.value.clone()));
            Ok(())
        })
        .await
    }

    async fn remove_secret(&self, uuid: Uuid) -> Result<(), HypervisorError> {
        self.act("remove_secret", |state| {
            state.secrets.remove(&uuid);
            Ok(())
        })
        .await
    }

    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        self.knobs.gate("libvirt.facts").await?;
        Ok(self
            .state()
            .facts
            .clone()
            .unwrap_or_else(|| HypervisorFacts {
                vcpus: 64,
                memory: MiB(512 << 10),
                capabilities: Capabilities {
                    machine_types: vec!["pc-q35-7.2".into(), "pc-q35-7.1".into()],
                    firmwares: vec![Firmware::Bios, Firmware::Uefi],
                    cpu_models: vec!["Nehalem".into(), "qemu64".into()],
                },
            }))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
