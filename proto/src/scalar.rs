//! Ids, epochs and enums.

use dc_types::plan::{
    Disposition, Firmware, ImageFormat, ItemHash, ItemKey, ItemKind, MirrorOrder, NetworkRole,
    OnStop, PeerRole, Portal, Power, ZoneType,
};
use dc_types::report::{Accelerator, Consistency, Guest, HoldState, OrphanKind, Role, Stop, Verb};
use dc_types::{Epoch, ObjectRef, ObjectUid, Protocol, Term};
use uuid::Uuid;

use crate::field::{choice, number, text};
use crate::{OnWire, WireError, wire};

/// Both ways of an enum whose variants have the same names here and there.
macro_rules! same_names {
    ($($name:ident { $($variant:ident),+ })+) => {$(
        impl OnWire for $name {
            type Wire = i32;
            fn to_wire(&self) -> i32 {
                (match self {
                    $( $name::$variant => wire::$name::$variant, )+
                }) as i32
            }
            fn from_wire(number: i32) -> Result<Self, WireError> {
                match wire::$name::try_from(number) {
                    $( Ok(wire::$name::$variant) => Ok($name::$variant), )+
                    Ok(wire::$name::Unspecified) => Err(WireError::new("", "is missing")),
                    Err(_) => Err(WireError::new(
                        "",
                        format!(
                            "{number} is no value of {} that this version knows",
                            stringify!($name)
                        ),
                    )),
                }
            }
        }
    )+};
}

same_names! {
    ItemKind { Image, Volume, Snapshot, Backup, Restore, Manifest, Grant, Network, Endpoint, Vm }
    ImageFormat { Raw, Qcow2 }
    NetworkRole { Compute, Gateway }
    ZoneType { Outside, Dmz, Internal, Database, Storage, Management, Soc }
    Protocol { Tcp, Udp, Icmp }
    PeerRole { Compute, Gateway }
    Power { On, Off }
    Firmware { Bios, Uefi }
    OnStop { Restart, RestartOnFailure, Stay }
    MirrorOrder { Copy, Switch }
    Disposition { Remove, Retain, EraseDiscard, EraseZero, EraseRandom }
    Verb { Snapshot, Clone, ChangedExtents, GrowOnline, Fence, Discard }
    OrphanKind { Volume, Snapshot, Image, Grant, Other }
    Role { Compute, Storage, Gateway }
    Accelerator { Tcg, Kvm }
    Guest { Absent, Starting, Running, Paused, Stopping, Stopped, Crashed }
    Stop { Clean, Forced, ByGuest, Crashed, HostLost }
    Consistency { Crash, FileSystem, Application }
    HoldState { Holding, Kept, Broken }
}

impl OnWire for Epoch {
    type Wire = wire::Epoch;
    fn to_wire(&self) -> wire::Epoch {
        let Self {
            incarnation,
            revision,
        } = *self;
        wire::Epoch {
            incarnation,
            revision,
        }
    }
    fn from_wire(wire: wire::Epoch) -> Result<Self, WireError> {
        let wire::Epoch {
            incarnation,
            revision,
        } = wire;
        Ok(Self {
            incarnation,
            revision,
        })
    }
}

impl OnWire for Term {
    type Wire = wire::Term;
    fn to_wire(&self) -> wire::Term {
        let Self {
            incarnation,
            revision,
        } = *self;
        wire::Term {
            incarnation,
            revision,
        }
    }
    fn from_wire(wire: wire::Term) -> Result<Self, WireError> {
        let wire::Term {
            incarnation,
            revision,
        } = wire;
        Ok(Self {
            incarnation,
            revision,
        })
    }
}

impl OnWire for ItemHash {
    type Wire = u64;
    fn to_wire(&self) -> u64 {
        self.0
    }
    fn from_wire(wire: u64) -> Result<Self, WireError> {
        Ok(Self(wire))
    }
}

impl OnWire for ItemKey {
    type Wire = wire::ItemKey;
    fn to_wire(&self) -> wire::ItemKey {
        let Self { kind, id, card } = self;
        wire::ItemKey {
            kind: kind.to_wire(),
            id: id.to_string(),
            card: *card,
        }
    }
    fn from_wire(wire: wire::ItemKey) -> Result<Self, WireError> {
        let wire::ItemKey { kind, id, card } = wire;
        Ok(Self {
            kind: choice(kind, "kind")?,
            id: text::<Uuid>(&id, "id")?,
            card,
        })
    }
}

impl OnWire for ObjectRef {
    type Wire = wire::ObjectRef;
    fn to_wire(&self) -> wire::ObjectRef {
        let Self {
            namespace,
            name,
            uid,
        } = self;
        wire::ObjectRef {
            namespace: namespace.clone(),
            name: name.clone(),
            uid: uid.to_string(),
        }
    }
    fn from_wire(wire: wire::ObjectRef) -> Result<Self, WireError> {
        let wire::ObjectRef {
            namespace,
            name,
            uid,
        } = wire;
        Ok(Self {
            namespace,
            name,
            uid: text::<ObjectUid>(&uid, "uid")?,
        })
    }
}

impl OnWire for Portal {
    type Wire = wire::Portal;
    fn to_wire(&self) -> wire::Portal {
        let Self { address, port } = self;
        wire::Portal {
            address: address.to_string(),
            port: u32::from(*port),
        }
    }
    fn from_wire(wire: wire::Portal) -> Result<Self, WireError> {
        let wire::Portal { address, port } = wire;
        Ok(Self {
            address: text(&address, "address")?,
            port: number(port, "port")?,
        })
    }
}
