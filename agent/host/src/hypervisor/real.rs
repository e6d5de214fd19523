//! libvirt through its own client library. How it is reached and given up is in [`connection`].

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::Duration;

use async_trait::async_trait;
use dc_agent_core::vm::hold::Freeze;
use dc_agent_core::vm::xml::features::domain_type;
use dc_agent_core::vm::xml::metadata::{NAMESPACE, PREFIX};
use dc_agent_core::vm::xml::os::{OVMF_CODE, OVMF_VARS};
use dc_agent_core::vm::xml::{DiskSecret, SecretLabel};
use dc_agent_core::wanted::Capabilities;
use dc_types::plan::{Firmware, Qos};
use dc_types::report::Accelerator;
use dc_types::{Bytes, InstanceId, MiB};
use tokio::sync::watch;
use uuid::Uuid;
use virt::connect::Connect;
use virt::enumutil::Enum;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys;

use super::capabilities::{cpu_models, machine_types};
use super::{CommandState, CopyEnding, Domains, Hypervisor, HypervisorError, HypervisorFacts};

mod connection;
mod copy;
mod guest;
mod iotune;
mod look;
mod plug;
mod power;
mod resize;
mod stats;

use connection::{CallError, Connection};
use look::{read_domains, read_metadata};

/// Most calls take milliseconds.
const QUICK: Duration = Duration::from_secs(20);
/// QEMU logs in to every target of the machine before it answers.
const START: Duration = Duration::from_secs(120);
/// One login, under a guest that stands still meanwhile. What waits for it is told of soon.
const ATTACH: Duration = Duration::from_secs(30);
/// Measured: 12 s when the storage is fenced.
const DESTROY: Duration = Duration::from_secs(60);
/// QEMU waits for what the storage still owes it.
const PAUSE: Duration = Duration::from_secs(30);
/// Asked of every QEMU, at every look.
const STATS: Duration = Duration::from_secs(3);
/// How often the states of all domains are compared.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// One libvirtd.
pub struct Libvirt {
    connection: Arc<Connection>,
    accelerator: Accelerator,
    changes: watch::Receiver<u64>,
    watcher: tokio::task::JoinHandle<()>,
}

impl Libvirt {
    /// Connects when it is first asked something: libvirtd may come up after the agent. Must be
    /// called on a runtime.
    #[must_use]
    pub fn new(uri: impl Into<String>, accelerator: Accelerator) -> Self {
        // libvirt would write every error to our standard error as well.
        static QUIET: Once = Once::new();
        QUIET.call_once(virt::error::clear_error_callback);
        let connection = Arc::new(Connection::new(uri.into()));
        let (sender, changes) = watch::channel(0);
        let watcher = tokio::spawn(watch_states(Arc::clone(&connection), sender));
        Self {
            connection,
            accelerator,
            changes,
            watcher,
        }
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// The domain of a machine, if it is there; refused when it is not ours.
fn find(connection: &Connect, vm: InstanceId) -> Result<Option<virt::domain::Domain>, CallError> {
    let domain = match connection.lookup_domain_by_uuid(vm.0) {
        Ok(domain) => domain,
        Err(error) if is(&error, ErrorNumber::NoDomain) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match read_metadata(&domain)? {
        Some(_) => Ok(Some(domain)),
        None => Err(CallError::Told(HypervisorError::Foreign { vm })),
    }
}

fn get(connection: &Connect, vm: InstanceId) -> Result<virt::domain::Domain, CallError> {
    find(connection, vm)?.ok_or(CallError::Told(HypervisorError::NoDomain { vm }))
}

fn is(error: &VirtError, number: ErrorNumber) -> bool {
    error.code() == Enum::Known(number)
}

/// Bumps the value when any domain came, went or changed its state.
async fn watch_states(connection: Arc<Connection>, changes: watch::Sender<u64>) {
    let mut last = None;
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let states = connection
            .look("watch", |connection| {
                let mut states = Vec::new();
                for domain in connection.list_all_domains(0)? {
                    if let (Ok(uuid), Ok((_, reason))) = (domain.uuid(), domain.state()) {
                        states.push((uuid, power::power(reason)));
                    }
                }
                states.sort_by_key(|(uuid, _)| *uuid);
                Ok(states)
            })
            .await
            .ok();
        if states != last {
            changes.send_modify(|value| *value += 1);
            last = states;
        }
    }
}

#[async_trait]
impl Hypervisor for Libvirt {
    async fn domains(&self) -> Result<Domains, HypervisorError> {
        let stats = self.connection.look_within("stats", STATS, stats::read);
        let (domains, stats) = tokio::join!(self.connection.look("domains", read_domains), stats);
        let mut domains = domains?;
        match stats {
            Ok(stats) => stats::put(&mut domains, &stats),
            // A QEMU that does not answer hides no domain: what it shows its guest is not known then.
            Err(error) => {
                tracing::warn!(%error, "what disks are to their guests is not known")
            }
        }
        Ok(domains)
    }

    async fn define(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        let xml = xml.to_owned();
        self.connection
            .call("define", QUICK, move |connection| {
                find(connection, vm)?;
                connection.define_domain_xml(&xml)?;
                Ok(())
            })
            .await
    }

    async fn undefine(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        let flags = sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM;
        self.connection
            .call("undefine", QUICK, move |connection| {
                if let Some(domain) = find(connection, vm)? {
                    domain.undefine_flags(flags)?;
                }
                Ok(())
            })
            .await
    }

    async fn start_paused(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("start", START, move |connection| {
                let domain = get(connection, vm)?;
                if !domain.is_active()? {
                    domain.create_with_flags(sys::VIR_DOMAIN_START_PAUSED)?;
                }
                Ok(())
            })
            .await
    }

    async fn resume(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("resume", QUICK, move |connection| {
                let domain = get(connection, vm)?;
                let (state, _) = domain.state()?;
                if state != Enum::Known(virt::domain::DomainState::Running) {
                    domain.resume()?;
                }
                Ok(())
            })
            .await
    }

    async fn pause(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("suspend", PAUSE, move |connection| {
                let domain = get(connection, vm)?;
                let (state, _) = domain.state()?;
                if state != Enum::Known(virt::domain::DomainState::Paused) {
                    domain.suspend()?;
                }
                Ok(())
            })
            .await
    }

    async fn freeze(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("freeze", QUICK, move |connection| {
                guest::freeze(&get(connection, vm)?);
                Ok(())
            })
            .await
    }

    async fn thaw(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("thaw", QUICK, move |connection| {
                Ok(guest::thaw(&get(connection, vm)?)?)
            })
            .await
    }

    async fn freeze_state(&self, vm: InstanceId) -> Result<Freeze, HypervisorError> {
        self.connection
            .call("freeze state", QUICK, move |connection| {
                Ok(guest::freeze_state(&get(connection, vm)?))
            })
            .await
    }

    async fn ping(&self, vm: InstanceId) -> Result<bool, HypervisorError> {
        self.connection
            .call("ping", QUICK, move |connection| {
                Ok(guest::ping(&get(connection, vm)?))
            })
            .await
    }

    async fn start_command(
        &self,
        vm: InstanceId,
        command: &[String],
    ) -> Result<Option<i64>, HypervisorError> {
        let command = command.to_vec();
        self.connection
            .call("guest exec", QUICK, move |connection| {
                Ok(guest::start(&get(connection, vm)?, &command))
            })
            .await
    }

    async fn command_state(
        &self,
        vm: InstanceId,
        number: i64,
    ) -> Result<CommandState, HypervisorError> {
        self.connection
            .call("guest exec status", QUICK, move |connection| {
                Ok(guest::state(&get(connection, vm)?, number))
            })
            .await
    }

    async fn limit(&self, vm: InstanceId, device: &str, qos: &Qos) -> Result<(), HypervisorError> {
        let (device, qos) = (device.to_owned(), *qos);
        self.connection
            .call("limit", QUICK, move |connection| {
                let domain = get(connection, vm)?;
                iotune::limit(&domain, &device, &qos).map_err(CallError::Told)
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
        self.connection
            .call("resize", QUICK, move |connection| {
                resize::resize(&get(connection, vm)?, &device, size)
            })
            .await
    }

    async fn start_copy(
        &self,
        vm: InstanceId,
        device: &str,
        xml: &str,
    ) -> Result<(), HypervisorError> {
        let (device, xml) = (device.to_owned(), xml.to_owned());
        self.connection
            .call("copy", START, move |connection| {
                let domain = get(connection, vm)?;
                copy::start(&domain, &device, &xml).map_err(CallError::Told)
            })
            .await
    }

    async fn end_copy(
        &self,
        vm: InstanceId,
        device: &str,
        ending: CopyEnding,
    ) -> Result<(), HypervisorError> {
        let device: Arc<str> = device.into();
        let name = Arc::clone(&device);
        self.connection
            .call("end copy", QUICK, move |connection| {
                let domain = get(connection, vm)?;
                copy::end(&domain, &name, ending).map_err(CallError::Told)
            })
            .await?;
        let ended = async {
            let mut ticks = tokio::time::interval(copy::LOOK_EVERY);
            loop {
                ticks.tick().await;
                let name = Arc::clone(&device);
                let look = move |connection: &Connect| {
                    let domain = get(connection, vm)?;
                    copy::is_there(&domain, &name).map_err(CallError::Told)
                };
                if !self.connection.look("copy", look).await? {
                    return Ok(());
                }
            }
        };
        // One that has not ended by then is seen as ending.
        let waited = tokio::time::timeout(copy::PATIENCE, ended).await;
        waited.unwrap_or(Ok(()))
    }

    async fn attach_disk(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        let xml = xml.to_owned();
        self.connection
            .call("attach", ATTACH, move |connection| {
                plug::attach(&get(connection, vm)?, &xml)
            })
            .await
    }

    async fn detach_disk(&self, vm: InstanceId, device: &str) -> Result<(), HypervisorError> {
        let device = device.to_owned();
        self.connection
            .call("detach", QUICK, move |connection| {
                plug::ask_to_let_go(&get(connection, vm)?, &device)
            })
            .await
    }

    async fn press_power_button(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("shutdown", QUICK, move |connection| {
                let domain = get(connection, vm)?;
                if domain.is_active()? {
                    domain.shutdown_flags(sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)?;
                }
                Ok(())
            })
            .await
    }

    async fn destroy(&self, vm: InstanceId) -> Result<(), HypervisorError> {
        self.connection
            .call("destroy", DESTROY, move |connection| {
                if let Some(domain) = find(connection, vm)?
                    && domain.is_active()?
                {
                    domain.destroy()?;
                }
                Ok(())
            })
            .await
    }

    async fn set_metadata(&self, vm: InstanceId, xml: &str) -> Result<(), HypervisorError> {
        let xml = xml.to_owned();
        self.connection
            .call("set metadata", QUICK, move |connection| {
                let domain = get(connection, vm)?;
                let live = if domain.is_active()? {
                    sys::VIR_DOMAIN_AFFECT_LIVE
                } else {
                    0
                };
                domain.set_metadata(
                    sys::VIR_DOMAIN_METADATA_ELEMENT.cast_signed(),
                    Some(&xml),
                    Some(PREFIX),
                    Some(NAMESPACE),
                    sys::VIR_DOMAIN_AFFECT_CONFIG | live,
                )?;
                Ok(())
            })
            .await
    }

    async fn secrets(&self) -> Result<Vec<SecretLabel>, HypervisorError> {
        self.connection
            .look("secrets", |connection| {
                let mut labels = Vec::new();
                for secret in connection.list_all_secrets(0)? {
                    // One that vanished meanwhile is not there.
                    if let Ok(xml) = secret.xml_desc(0) {
                        labels.extend(SecretLabel::parse(&xml));
                    }
                }
                Ok(labels)
            })
            .await
    }

    async fn define_secret(&self, secret: &DiskSecret) -> Result<(), HypervisorError> {
        let secret = secret.clone();
        self.connection
            .call("define secret", QUICK, move |connection| {
                let defined = connection.define_secret_xml(&secret.xml, 0)?;
                defined.set_value(&secret.value.0, 0)?;
                Ok(())
            })
            .await
    }

    async fn remove_secret(&self, uuid: Uuid) -> Result<(), HypervisorError> {
        self.connection
            .call("remove secret", QUICK, move |connection| {
                match connection.lookup_secret_by_uuid(uuid) {
                    Ok(secret) => Ok(secret.undefine()?),
                    Err(error) if is(&error, ErrorNumber::NoSecret) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }

    async fn facts(&self) -> Result<HypervisorFacts, HypervisorError> {
        let kind = domain_type(self.accelerator);
        self.connection
            .look("facts", move |connection| read_facts(connection, kind))
            .await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

fn read_facts(connection: &Connect, kind: &'static str) -> Result<HypervisorFacts, CallError> {
    let unreadable =
        |call| move |message| CallError::Told(HypervisorError::Unreadable { call, message });
    let node = connection.node_info()?;
    let host = connection.capabilities()?;
    let machine_types = machine_types(&host, kind).map_err(unreadable("capabilities"))?;
    let newest = machine_types.first().map(String::as_str);
    let domain = connection.domain_capabilities(None, Some("x86_64"), newest, Some(kind), 0)?;
    let cpu_models = cpu_models(&domain).map_err(unreadable("domain capabilities"))?;
    let mut firmwares = vec![Firmware::Bios];
    if Path::new(OVMF_CODE).exists() && Path::new(OVMF_VARS).exists() {
        firmwares.push(Firmware::Uefi);
    }
    Ok(HypervisorFacts {
        vcpus: node.cpus,
        // libvirt tells KiB.
        memory: MiB(node.memory >> 10),
        capabilities: Capabilities {
            machine_types,
            firmwares,
            cpu_models,
        },
    })
}
