//! Whose answer a wish needs: the rules of all policies that are for its department, added up.

use std::collections::BTreeSet;

use dc_crds::request::{DecisionRole, Exposure, PolicyRule, TemplateKind, When};
use dc_crds::vm::Interface;
use dc_types::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::content::{Asked, read};
use super::{Live, Seen};
use crate::quota::wish::{Exposed, MachineSize, of_machine};
use crate::quota::{Amounts, Thing};

/// What a wish is like, as far as policies ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// What the department would hold or wait for more than now.
    pub asks: Amounts,
    pub exposure: Option<Exposure>,
    /// Of the systems it speaks of; 5 where none is determined.
    pub level: u8,
}

/// Whose answers are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    pub roles: BTreeSet<DecisionRole>,
    /// The policies that were asked; none: both are needed.
    pub policies: Vec<String>,
}

/// Systems whose level nobody has determined are taken for the strictest.
const UNDETERMINED: u8 = 5;

#[must_use]
pub fn likeness(seen: &Seen<'_>) -> Likeness {
    let mut like = Likeness {
        asks: Amounts::default(),
        exposure: None,
        level: 0,
    };
    let mut named = BTreeSet::new();
    for template in &seen.request.spec.objects {
        let live = (seen.live)(template.kind, &template.name);
        match read(template) {
            Ok(Asked::System(system)) => {
                let level = system.security_level.unwrap_or(UNDETERMINED);
                like.level = like.level.max(level);
            }
            Ok(Asked::Subnet(_)) => {
                like.asks.add(Thing::Subnets, u64::from(live.is_none()));
            }
            Ok(Asked::Volume(volume)) => {
                add_volume(
                    seen,
                    &mut like.asks,
                    &volume.pool,
                    &volume.size,
                    live.as_ref(),
                );
                named.insert(volume.system);
            }
            Ok(Asked::Vm(vm)) => {
                let before = live.as_ref().map(|live| size_of_live(seen, &live.spec));
                let size = size(seen, &vm.class, Exposed::of(&vm.interfaces));
                like.asks.add_all(&of_machine(size, before));
                for template in vm.disks.iter().filter_map(|disk| disk.template.as_ref()) {
                    if live.is_none() {
                        add_volume(seen, &mut like.asks, &template.pool, &template.size, None);
                    }
                }
                if vm.interfaces.iter().any(|card| !card.publish.is_empty()) {
                    like.exposure = Some(Exposure::Public);
                }
                named.insert(vm.system);
            }
            // What does not read is not decided on.
            Err(_) => {}
        }
    }
    for system in named {
        like.level = like.level.max(level_of(seen, &system));
    }
    like
}

/// Of a system that the request makes, or that is there.
fn level_of(seen: &Seen<'_>, system: &str) -> u8 {
    let kind = TemplateKind::InformationSystem;
    let mut templates = seen.request.spec.objects.iter();
    if templates.any(|template| template.kind == kind && template.name == system) {
        return 0;
    }
    let live = (seen.live)(kind, system);
    let level = live.and_then(|live| live.spec["securityLevel"].as_u64());
    level.map_or(UNDETERMINED, |level| {
        u8::try_from(level).unwrap_or(UNDETERMINED)
    })
}

fn size(seen: &Seen<'_>, class: &str, exposed: Exposed) -> MachineSize {
    let (vcpus, memory) = seen.sizes.of(class).unwrap_or_default();
    MachineSize {
        vcpus,
        memory,
        exposed,
    }
}

/// What of it does not read is nothing: all that is asked is then more.
fn size_of_live(seen: &Seen<'_>, spec: &Value) -> MachineSize {
    let cards = Vec::<Interface>::deserialize(&spec["interfaces"]);
    let exposed = Exposed::of(&cards.unwrap_or_default());
    size(seen, spec["class"].as_str().unwrap_or_default(), exposed)
}

fn add_volume(seen: &Seen<'_>, asks: &mut Amounts, pool: &str, size: &str, live: Option<&Live>) {
    let bytes = |text: &str| text.parse::<Bytes>().unwrap_or_default().0;
    let before = live.and_then(|live| live.spec["size"].as_str());
    let more = bytes(size).saturating_sub(before.map_or(0, bytes));
    // A pool that is not there is of no class; the volume says so.
    if let Some(class) = seen.classes.of(pool) {
        asks.add(Thing::Storage(class.to_owned()), more);
    }
}

#[must_use]
pub fn needs(seen: &Seen<'_>) -> Needs {
    let like = likeness(seen);
    let department = &seen.me.namespace;
    let mine = seen.policies.iter().filter(|policy| {
        let named = &policy.spec.departments;
        named.is_empty() || named.contains(department)
    });
    let mut needs = Needs {
        roles: BTreeSet::new(),
        policies: Vec::new(),
    };
    for policy in mine {
        needs.policies.extend(policy.metadata.name.clone());
        for PolicyRule { when, needs: roles } in &policy.spec.rules {
            if applies(seen, when, &like) {
                needs.roles.extend(roles);
            }
        }
    }
    if needs.policies.is_empty() {
        needs
            .roles
            .extend([DecisionRole::Leader, DecisionRole::Centre]);
    }
    needs
}

fn applies(seen: &Seen<'_>, when: &When, like: &Likeness) -> bool {
    let When {
        above_quota_percent,
        exposure,
        security_level,
    } = when;
    above_quota_percent.is_none_or(|percent| is_above(seen, &like.asks, percent))
        && exposure.is_none_or(|exposure| like.exposure == Some(exposure))
        && security_level.is_none_or(|level| like.level >= level)
}

/// Whether what it asks for takes something past this share of its limit, or has none.
fn is_above(seen: &Seen<'_>, asks: &Amounts, percent: u32) -> bool {
    asks.iter()
        .any(|(thing, asked)| match seen.limits.get(thing) {
            None => true,
            Some(limit) => {
                let then = u128::from(seen.taken.get(thing)) + u128::from(asked);
                then * 100 > u128::from(limit) * u128::from(percent)
            }
        })
}
