//! How a department stands with its quota, for its status and for metrics.

use dc_crds::ConditionStatus;
use dc_crds::condition::types;
use dc_crds::quota::QuotaLine;
use dc_types::Bytes;

use super::{Amounts, Limits, Over, Thing};
use crate::conditions::Draft;
use crate::words::Fact;

/// One thing, in numbers: counts, or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub thing: Thing,
    pub used: u64,
    pub reserved: u64,
    pub limit: Option<u64>,
}

/// What is always shown, whether or not it is limited or held.
const ALWAYS: [Thing; 7] = [
    Thing::VirtualMachines,
    Thing::Vcpus,
    Thing::Memory,
    Thing::Subnets,
    Thing::Snapshots,
    Thing::PublicAddresses,
    Thing::PublishedServices,
];

/// Every thing that is limited, held or wanted, in one order.
#[must_use]
pub fn rows(limits: &Limits, used: &Amounts, reserved: &Amounts) -> Vec<Row> {
    let mut things: Vec<Thing> = ALWAYS.to_vec();
    things.extend(limits.things().cloned());
    things.extend(used.iter().map(|(thing, _)| thing.clone()));
    things.extend(reserved.iter().map(|(thing, _)| thing.clone()));
    things.sort();
    things.dedup();
    things
        .into_iter()
        .map(|thing| Row {
            used: used.get(&thing),
            reserved: reserved.get(&thing),
            limit: limits.get(&thing),
            thing,
        })
        .collect()
}

#[must_use]
pub fn line(row: &Row) -> QuotaLine {
    let Row {
        thing,
        used,
        reserved,
        limit,
    } = row;
    let text = |amount: u64| amount_text(thing, amount);
    QuotaLine {
        resource: name(thing),
        used: text(*used),
        reserved: text(*reserved),
        limit: limit.map(text),
        free: limit.map(|limit| text(limit.saturating_sub(used.saturating_add(*reserved)))),
    }
}

/// As status and metrics name it.
#[must_use]
pub fn name(thing: &Thing) -> String {
    match thing {
        Thing::VirtualMachines => "virtualMachines".to_owned(),
        Thing::Vcpus => "vcpus".to_owned(),
        Thing::Memory => "memory".to_owned(),
        Thing::Storage(class) => format!("storage/{class}"),
        Thing::Subnets => "subnets".to_owned(),
        Thing::Snapshots => "snapshots".to_owned(),
        Thing::PublicAddresses => "publicAddresses".to_owned(),
        Thing::PublishedServices => "publishedServices".to_owned(),
    }
}

/// Sizes with the largest unit that divides them, so that they can be written back as they are.
#[must_use]
pub fn amount_text(thing: &Thing, amount: u64) -> String {
    match thing {
        Thing::VirtualMachines
        | Thing::Vcpus
        | Thing::Subnets
        | Thing::Snapshots
        | Thing::PublicAddresses
        | Thing::PublishedServices => amount.to_string(),
        Thing::Memory | Thing::Storage(_) => Bytes(amount).to_string(),
    }
}

/// `used/limit` as a column shows it.
#[must_use]
pub fn column(rows: &[Row], is: impl Fn(&Thing) -> bool) -> String {
    let texts = rows.iter().filter(|row| is(&row.thing)).map(|row| {
        let used = amount_text(&row.thing, row.used);
        match row.limit {
            Some(limit) => format!("{used}/{}", amount_text(&row.thing, limit)),
            None => used,
        }
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether claims hold more than the limits, which a limit that was lowered leaves as it is.
#[must_use]
pub fn within(rows: &[Row]) -> Draft {
    let over: Vec<Over> = rows
        .iter()
        .filter_map(|row| {
            let limit = row.limit.filter(|limit| row.used > *limit)?;
            Some(Over {
                thing: row.thing.clone(),
                asked: 0,
                used: row.used,
                ahead: 0,
                limit,
            })
        })
        .collect();
    let (status, fact) = match (over.is_empty(), rows.iter().all(|row| row.limit.is_none())) {
        (true, true) => (ConditionStatus::True, Fact::NoQuota),
        (true, false) => (ConditionStatus::True, Fact::WithinQuota),
        (false, _) => (ConditionStatus::False, Fact::OverQuota { over }),
    };
    Draft::new(types::WITHIN_QUOTA, status, fact.words())
}
