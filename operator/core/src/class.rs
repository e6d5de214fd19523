//! Machine classes: their memory must read; nothing else can be wrong with one.

use dc_crds::{MachineClass, MachineClassStatus};
use dc_types::Bytes;

use crate::conditions::{Draft, Judged, merge};
use crate::words::Fact;

#[must_use]
pub fn status(class: &MachineClass, judged: &Judged<'_>) -> MachineClassStatus {
    let fact = match class.spec.memory.parse::<Bytes>() {
        Ok(memory) if memory.to_mib().0 > 0 => Fact::Ready,
        Ok(_) | Err(_) => Fact::ClassBroken {
            class: class.metadata.name.clone().unwrap_or_default(),
            memory: class.spec.memory.clone(),
        },
    };
    let old = class.status.as_ref();
    MachineClassStatus {
        conditions: merge(
            old.map_or(&[], |old| &old.conditions),
            vec![Draft::ready(fact.words())],
            judged,
        ),
    }
}
