//! One thing to do for one machine. Carrying it out chooses nothing, and may be repeated.

use dc_types::plan::{ItemKey, ItemKind, Qos};
use dc_types::{Bytes, Epoch, InstanceId};
use uuid::Uuid;

use super::Record;
use super::luks::FormatOrder;
use super::seed::Seed;
use super::xml::DiskSecret;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub vm: InstanceId,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes the record down.
    Note(Record),
    /// Writes the seed image in place of the one there.
    WriteSeed(Seed),
    DefineSecret(DiskSecret),
    RemoveSecret(Uuid),
    /// Makes the tap in the host's namespace; one of that name is deleted first, wherever it is.
    MakeTap {
        name: String,
        mtu: u32,
    },
    DeleteTap(String),
    Define {
        xml: String,
    },
    /// Removes the definition of a domain that is off; its files stay.
    Undefine,
    /// Starts the domain with its CPUs halted.
    Start,
    /// Moves a tap into its namespace and onto its bridge, and brings it up.
    PlugTap {
        name: String,
        netns: String,
        bridge: String,
    },
    Resume,
    /// Asks the guest's agent to freeze its file systems; whether it did is seen afterwards.
    Freeze,
    Thaw,
    /// Halts the CPUs; what was written is at the storage when it returns.
    Pause,
    /// Sets how fast a disk of the running guest may be read and written.
    Limit {
        device: String,
        qos: Qos,
    },
    /// Has the running guest see the size that a disk's storage has already.
    Resize {
        device: String,
        size: Bytes,
    },
    /// Has QEMU copy a disk of the running guest to where the XML says.
    Copy {
        device: String,
        xml: String,
    },
    /// Ends such a copy; the guest stays where it is.
    EndCopy {
        device: String,
    },
    /// Has the halted guest go over to the copy, which is whole.
    Pivot {
        device: String,
    },
    /// Begins to format an encrypted volume; how far it is, is seen. When the last try has failed, tells
    /// why instead.
    Format(Box<FormatOrder>),
    /// Ends that, if it is still under way, and forgets it.
    StopFormat {
        place: InstanceId,
        grant: Epoch,
    },
    /// Attaches disks to the running guest. One that cannot be attached does not keep the others.
    Plug(Vec<NewDisk>),
    /// Asks the running guest to let go of a disk; whether it did is seen afterwards.
    Unplug {
        device: String,
    },
    /// Presses the power button.
    Press,
    /// Ends QEMU.
    Destroy,
    /// Writes our metadata anew, into the running domain and its definition.
    Adopt {
        metadata: String,
    },
    /// Removes seed, UEFI variables and console log.
    RemoveFiles,
    /// Removes the record.
    Forget,
}

/// A disk to be attached, with the login and the key that QEMU opens it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDisk {
    /// As people call it.
    pub name: String,
    pub secrets: Vec<DiskSecret>,
    pub xml: String,
}

impl Step {
    #[must_use]
    pub fn key(&self) -> ItemKey {
        ItemKey::new(ItemKind::Vm, self.vm.0)
    }

    /// The step's name for logs and metrics, from a closed set.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.act {
            Act::Note(_) => "note",
            Act::WriteSeed(_) => "write_seed",
            Act::DefineSecret(_) => "define_secret",
            Act::RemoveSecret(_) => "remove_secret",
            Act::MakeTap { .. } => "make_tap",
            Act::DeleteTap(_) => "delete_tap",
            Act::Define { .. } => "define",
            Act::Undefine => "undefine",
            Act::Start => "start",
            Act::PlugTap { .. } => "plug_tap",
            Act::Resume => "resume",
            Act::Freeze => "freeze",
            Act::Thaw => "thaw",
            Act::Pause => "pause",
            Act::Limit { .. } => "limit",
            Act::Resize { .. } => "resize",
            Act::Copy { .. } => "copy",
            Act::EndCopy { .. } => "end_copy",
            Act::Pivot { .. } => "pivot",
            Act::Format(_) => "format",
            Act::StopFormat { .. } => "stop_format",
            Act::Plug(_) => "plug",
            Act::Unplug { .. } => "unplug",
            Act::Press => "press",
            Act::Destroy => "destroy",
            Act::Adopt { .. } => "adopt",
            Act::RemoveFiles => "remove_files",
            Act::Forget => "forget",
        }
    }
}
