//! Probes of a guest: what shows that it has come up. What it has shown stays shown until it is
//! started anew, which makes another machine of it: the tools ask, here it is decided whom.

use std::collections::BTreeMap;

use dc_types::InstanceId;
use dc_types::plan::{ItemBody, ItemKind, Probes, VmItem};

use super::seen::{Domain, Power, Seen};
use crate::wanted::Wanted;

/// Seconds between two looks while something is still to be shown.
const LOOK_EVERY_S: i64 = 2;

/// The guests that are to be asked, of those that run.
#[must_use]
pub fn asked<'a>(
    wanted: &Wanted<'a>,
    domains: &BTreeMap<InstanceId, Domain>,
) -> BTreeMap<InstanceId, &'a Probes> {
    let items = wanted.of_kind(ItemKind::Vm);
    let asked = items.filter_map(|item| {
        let ItemBody::Vm(vm) = &item.body else {
            return None;
        };
        let power = domains.get(&vm.vm)?.power;
        Some((vm.vm, vm.probes.as_ref()?)).filter(|_| power == Power::Running)
    });
    asked.collect()
}

/// In how many seconds to look again.
pub(super) fn next_look(asked: &VmItem, seen: &Seen) -> Option<i64> {
    let probes = asked.probes.as_ref()?;
    let probed = seen.probed.get(&asked.vm).copied().unwrap_or_default();
    (!probed.satisfies(probes)).then_some(LOOK_EVERY_S)
}
