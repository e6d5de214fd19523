//! What the province has set a price for: a ConfigMap beside the list of people.
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata: {name: dc-api-prices, namespace: dc-system}
//! data:
//!   prices.yaml: |
//!     - from: 2027-01-01
//!       currency: VND
//!       vcpuHour: 250
//!       memoryGiBHour: 60
//!       storageGiBHour: {standard: 1.5}
//! ```
//!
//! A day has the prices of the last list that was in force on it; what a list does not name has none.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Deserialize;

pub const CONFIG_MAP: &str = "dc-api-prices";
pub const FILE: &str = "prices.yaml";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Prices(Vec<List>);

/// The prices of one hour each, in force from a day on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct List {
    pub from: Date,
    pub currency: String,
    #[serde(default)]
    virtual_machine_hour: Option<Decimal>,
    #[serde(default)]
    vcpu_hour: Option<Decimal>,
    #[serde(default, rename = "memoryGiBHour")]
    memory_gib_hour: Option<Decimal>,
    #[serde(default)]
    address_hour: Option<Decimal>,
    /// By class.
    #[serde(default, rename = "storageGiBHour")]
    storage_gib_hour: BTreeMap<String, Decimal>,
}

/// What is held, as a quota names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing<'a> {
    VirtualMachines,
    Vcpus,
    Memory,
    Addresses,
    Storage(&'a str),
}

impl Prices {
    pub fn parse(text: &str) -> Result<Self, serde_norway::Error> {
        let mut prices: Self = serde_norway::from_str(text)?;
        prices.0.sort_by_key(|list| list.from);
        Ok(prices)
    }

    #[must_use]
    pub fn on(&self, day: Date) -> Option<&List> {
        self.0.iter().rfind(|list| list.from <= day)
    }
}

impl List {
    #[must_use]
    pub fn of(&self, thing: Thing<'_>) -> Option<Decimal> {
        match thing {
            Thing::VirtualMachines => self.virtual_machine_hour,
            Thing::Vcpus => self.vcpu_hour,
            Thing::Memory => self.memory_gib_hour,
            Thing::Addresses => self.address_hour,
            Thing::Storage(class) => self.storage_gib_hour.get(class).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
- {from: 2027-01-01, currency: VND, vcpuHour: 300}
- {from: 2026-01-01, currency: VND, vcpuHour: 250, storageGiBHour: {standard: 1.5}}
";

    #[test]
    fn a_day_has_the_prices_that_were_in_force() {
        let prices = Prices::parse(TEXT).unwrap();
        let on = |day: &str| prices.on(day.parse().unwrap());
        assert_eq!(on("2025-12-31"), None);
        let old = on("2026-12-31").unwrap();
        assert_eq!(old.of(Thing::Vcpus), Some(Decimal::from(250)));
        let storage = old.of(Thing::Storage("standard"));
        assert_eq!(storage, Some("1.5".parse().unwrap()));
        assert_eq!(old.of(Thing::Storage("fast")), None);
        let new = on("2027-01-01").unwrap();
        assert_eq!(new.of(Thing::Vcpus), Some(Decimal::from(300)));
        assert_eq!(new.of(Thing::Storage("standard")), None);
    }

    #[test]
    fn what_is_misspelt_is_no_price() {
        for text in [
            "- {from: 2027-01-01, currency: VND, cpuHour: 300}",
            "- {currency: VND, vcpuHour: 300}",
            "- {from: soon, currency: VND}",
        ] {
            assert!(Prices::parse(text).is_err(), "{text}");
        }
    }
}
