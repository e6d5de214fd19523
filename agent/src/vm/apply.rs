//! Carries out one step. Every step may be repeated.

use dc_agent_core::vm::Step;
use dc_agent_core::vm::step::{Act, NewDisk};
use dc_host::Tools;
use dc_host::hypervisor::{CopyEnding, HypervisorError};
use dc_host::links::LinksError;
use dc_host::luks::LuksError;
use dc_host::seed::SeedError;
use dc_types::InstanceId;
use dc_types::report::Trouble;

/// Does what the step says; on failure, says what and why.
pub async fn apply(tools: &Tools, step: &Step) -> Result<(), Trouble> {
    do_act(tools, step).await.map_err(|failure| {
        let Failure { reason, message } = failure;
        Trouble {
            reason: reason.to_owned(),
            message: format!("cannot {}: {message}", words(&step.act)),
        }
    })
}

async fn do_act(tools: &Tools, step: &Step) -> Result<(), Failure> {
    let vm = step.vm;
    match &step.act {
        Act::Note(record) => tools.seeds.write_record(vm, record).await?,
        Act::WriteSeed(seed) => tools.seeds.write_seed(vm, seed).await?,
        Act::DefineSecret(secret) => tools.hypervisor.define_secret(secret).await?,
        Act::RemoveSecret(uuid) => tools.hypervisor.remove_secret(*uuid).await?,
        Act::MakeTap { name, mtu } => tools.links.make_tap(name, *mtu).await?,
        Act::DeleteTap(name) => tools.links.delete_tap(name).await?,
        Act::Define { xml } => tools.hypervisor.define(vm, xml).await?,
        Act::Undefine => tools.hypervisor.undefine(vm).await?,
        Act::Start => tools.hypervisor.start_paused(vm).await?,
        Act::PlugTap {
            name,
            netns,
            bridge,
        } => tools.links.plug_tap(name, netns, bridge).await?,
        Act::Resume => tools.hypervisor.resume(vm).await?,
        Act::Freeze => tools.hypervisor.freeze(vm).await?,
        Act::Thaw => tools.hypervisor.thaw(vm).await?,
        Act::Pause => tools.hypervisor.pause(vm).await?,
        Act::Limit { device, qos } => tools.hypervisor.limit(vm, device, qos).await?,
        Act::Resize { device, size } => tools.hypervisor.resize(vm, device, *size).await?,
        Act::Copy { device, xml } => tools.hypervisor.start_copy(vm, device, xml).await?,
        Act::EndCopy { device } => {
            let ending = CopyEnding::Abandon;
            tools.hypervisor.end_copy(vm, device, ending).await?;
        }
        Act::Pivot { device } => {
            let ending = CopyEnding::GoOver;
            tools.hypervisor.end_copy(vm, device, ending).await?;
        }
        Act::Format(order) => tools.formatter.format(order).await?,
        Act::StopFormat { place, grant } => tools.formatter.stop(*place, *grant).await?,
        Act::Plug(disks) => plug(tools, vm, disks).await?,
        Act::Unplug { device } => tools.hypervisor.detach_disk(vm, device).await?,
        Act::Press => tools.hypervisor.press_power_button(vm).await?,
        Act::Destroy => tools.hypervisor.destroy(vm).await?,
        Act::Adopt { metadata } => tools.hypervisor.set_metadata(vm, metadata).await?,
        Act::RemoveFiles => tools.seeds.remove_files(vm).await?,
        Act::Forget => tools.seeds.remove_record(vm).await?,
    }
    Ok(())
}

/// Tries each of them; the first failure is told.
async fn plug(tools: &Tools, vm: InstanceId, disks: &[NewDisk]) -> Result<(), Failure> {
    let mut first = Ok(());
    for NewDisk { name, secrets, xml } in disks {
        let attached = async {
            for secret in secrets {
                tools.hypervisor.define_secret(secret).await?;
            }
            tools.hypervisor.attach_disk(vm, xml).await
        };
        if let Err(error) = attached.await {
            let reason = error.reason();
            let message = format!("disk {name}: {}", with_sources(&error));
            first = first.and(Err(Failure { reason, message }));
        }
    }
    first
}

fn words(act: &Act) -> &'static str {
    match act {
        Act::Note(_) => "write down how the machine stands",
        Act::WriteSeed(_) => "write the cloud-init seed",
        Act::DefineSecret(_) => "hand a disk's secret to libvirt",
        Act::RemoveSecret(_) => "take a disk's secret from libvirt",
        Act::MakeTap { .. } => "make an interface's tap",
        Act::DeleteTap(_) => "delete an interface's tap",
        Act::Define { .. } => "define the machine",
        Act::Undefine => "remove the machine's definition",
        Act::Start => "start the machine",
        Act::PlugTap { .. } => "plug an interface into its subnet",
        Act::Resume => "let the machine run",
        Act::Freeze => "have the guest freeze its file systems",
        Act::Thaw => "have the guest thaw its file systems",
        Act::Pause => "pause the machine",
        Act::Limit { .. } => "limit a disk",
        Act::Resize { .. } => "tell the guest that a disk has grown",
        Act::Copy { .. } => "copy a disk to its other storage",
        Act::EndCopy { .. } => "end the copy of a disk",
        Act::Pivot { .. } => "go over to the copy of a disk",
        Act::Format(_) => "format an encrypted disk",
        Act::StopFormat { .. } => "end the formatting of an encrypted disk",
        Act::Plug(_) => "attach a disk",
        Act::Unplug { .. } => "ask the guest to let go of a disk",
        Act::Press => "press the power button",
        Act::Destroy => "stop the machine by force",
        Act::Adopt { .. } => "write the machine's metadata",
        Act::RemoveFiles => "remove the machine's files",
        Act::Forget => "remove the machine's record",
    }
}

/// What a tool said.
struct Failure {
    reason: &'static str,
    message: String,
}

impl From<HypervisorError> for Failure {
    fn from(error: HypervisorError) -> Self {
        Self {
            reason: error.reason(),
            message: with_sources(&error),
        }
    }
}

impl From<SeedError> for Failure {
    fn from(error: SeedError) -> Self {
        Self {
            reason: error.reason(),
            message: with_sources(&error),
        }
    }
}

impl From<LinksError> for Failure {
    fn from(error: LinksError) -> Self {
        Self {
            reason: "TapFailed",
            message: with_sources(&error),
        }
    }
}

impl From<LuksError> for Failure {
    fn from(error: LuksError) -> Self {
        Self {
            reason: error.reason(),
            message: with_sources(&error),
        }
    }
}

/// The error and its causes on one line: a trouble has no other place for them.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
