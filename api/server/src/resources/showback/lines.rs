//! Records to lines: hours of what was held, with their price.

use dc_crds::usage::days::Month;
use dc_crds::usage::{StorageUse, SystemUse};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::Span;
use super::prices::{Prices, Thing};

/// Digits behind the point of what is told: a second of an hour is 0.0003.
const DIGITS: u32 = 3;
const SECONDS: i64 = 3600;
const MIB: i64 = 1024;

/// What one system held of one thing on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// As 2026-11-27.
    pub day: String,
    /// The InformationSystem's name.
    pub system: String,
    /// Such as virtualMachines, vcpus, memory, addresses, or storage/ with its class.
    pub resource: String,
    /// How much for how long, in `unit`.
    #[schema(value_type = String)]
    pub amount: Decimal,
    /// h, or GiB·h.
    pub unit: String,
    /// Of one unit; absent where the province has set none.
    #[schema(value_type = Option<String>)]
    pub price: Option<Decimal>,
    #[schema(value_type = Option<String>)]
    pub cost: Option<Decimal>,
    pub currency: Option<String>,
}

/// What one system held of one thing on all days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Total {
    /// The InformationSystem's name.
    pub system: String,
    /// As in a line.
    pub resource: String,
    #[schema(value_type = String)]
    pub amount: Decimal,
    pub unit: String,
    /// Of the days that have a price.
    #[schema(value_type = Option<String>)]
    pub cost: Option<Decimal>,
    pub currency: Option<String>,
}

/// Of the days of the span, by day, system and thing.
#[must_use]
pub fn lines(months: &[Month], span: Span, prices: &Prices) -> Vec<Line> {
    let mut lines = Vec::new();
    for day in months.iter().flat_map(|month| &month.status.days) {
        let Ok(date) = day.day.parse::<Date>() else {
            continue;
        };
        if date < span.from || date > span.to {
            continue;
        }
        for used in &day.systems {
            for (thing, amount) in amounts(used) {
                lines.push(line(date, &used.system, thing, amount, prices));
            }
        }
    }
    lines
}

/// What a system held, each with its sum.
fn amounts(used: &SystemUse) -> Vec<(Thing<'_>, i64)> {
    let SystemUse {
        system: _,
        machine_seconds,
        vcpu_seconds,
        memory_mib_seconds,
        address_seconds,
        storage,
    } = used;
    let mut amounts = vec![
        (Thing::VirtualMachines, *machine_seconds),
        (Thing::Vcpus, *vcpu_seconds),
        (Thing::Memory, *memory_mib_seconds),
        (Thing::Addresses, *address_seconds),
    ];
    let storage = storage.iter().map(|used| {
        let StorageUse {
            class,
            size_mib_seconds,
        } = used;
        (Thing::Storage(class), *size_mib_seconds)
    });
    amounts.extend(storage);
    amounts.retain(|(_, amount)| *amount > 0);
    amounts
}

fn line(day: Date, system: &str, thing: Thing<'_>, amount: i64, prices: &Prices) -> Line {
    let (resource, unit, divisor) = match thing {
        Thing::VirtualMachines => ("virtualMachines".to_owned(), "h", SECONDS),
        Thing::Vcpus => ("vcpus".to_owned(), "h", SECONDS),
        Thing::Addresses => ("addresses".to_owned(), "h", SECONDS),
        Thing::Memory => ("memory".to_owned(), "GiB·h", SECONDS * MIB),
        Thing::Storage(class) => (format!("storage/{class}"), "GiB·h", SECONDS * MIB),
    };
    let exact = Decimal::from(amount) / Decimal::from(divisor);
    let list = prices.on(day);
    let price = list.and_then(|list| list.of(thing));
    // The price is of what was held, not of what is told of it.
    let cost = price.and_then(|price| Some(rounded(exact.checked_mul(price)?)));
    Line {
        day: day.to_string(),
        system: system.to_owned(),
        resource,
        amount: rounded(exact),
        unit: unit.to_owned(),
        price,
        currency: cost.and(list).map(|list| list.currency.clone()),
        cost,
    }
}

fn rounded(mut exact: Decimal) -> Decimal {
    exact = exact.round_dp(DIGITS);
    exact.rescale(DIGITS);
    exact
}

/// By system and thing; prices of two currencies are two totals.
#[must_use]
pub fn totals(lines: &[Line]) -> Vec<Total> {
    let mut totals: Vec<Total> = Vec::new();
    for line in lines {
        let same = |total: &&mut Total| {
            (&total.system, &total.resource, &total.currency)
                == (&line.system, &line.resource, &line.currency)
        };
        match totals.iter_mut().find(same) {
            Some(total) => {
                total.amount = total.amount.saturating_add(line.amount);
                total.cost = total
                    .cost
                    .zip(line.cost)
                    .map(|(one, more)| one.saturating_add(more));
            }
            None => totals.push(Total {
                system: line.system.clone(),
                resource: line.resource.clone(),
                amount: line.amount,
                unit: line.unit.clone(),
                cost: line.cost,
                currency: line.currency.clone(),
            }),
        }
    }
    totals.sort_by(|one, other| {
        let key = |total: &Total| (total.system.clone(), total.resource.clone());
        key(one).cmp(&key(other))
    });
    totals
}

/// One line for each, with the names of the fields in the first; `None` only without memory.
#[must_use]
pub fn csv(department: &str, lines: &[Line]) -> Option<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "department",
        "day",
        "system",
        "resource",
        "amount",
        "unit",
        "price",
        "cost",
        "currency",
    ];
    writer.write_record(head).ok()?;
    for line in lines {
        let number = |amount: Option<Decimal>| amount.map_or(String::new(), |a| a.to_string());
        let record = [
            department,
            &line.day,
            &line.system,
            &line.resource,
            &line.amount.to_string(),
            &line.unit,
            &number(line.price),
            &number(line.cost),
            line.currency.as_deref().unwrap_or_default(),
        ];
        writer.write_record(record).ok()?;
    }
    String::from_utf8(writer.into_inner().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::usage::{UsageDay, UsageRecordStatus};

    fn month() -> Month {
        let used = SystemUse {
            system: "a01".into(),
            machine_seconds: 3600,
            vcpu_seconds: 2 * 5400,
            memory_mib_seconds: 2048 * 3600,
            address_seconds: 0,
            storage: vec![StorageUse {
                class: "standard".into(),
                size_mib_seconds: 10 * 1024 * 86_400,
            }],
        };
        let day = |day: &str| UsageDay {
            day: day.into(),
            systems: vec![used.clone()],
        };
        Month {
            month: "2026-11".into(),
            status: UsageRecordStatus {
                days: vec![day("2026-11-26"), day("2026-11-27")],
                ..UsageRecordStatus::default()
            },
        }
    }

    fn told(from: &str, to: &str, prices: &str) -> Vec<Line> {
        let span = Span {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        lines(&[month()], span, &Prices::parse(prices).unwrap())
    }

    fn text(decimal: Decimal) -> String {
        decimal.to_string()
    }

    #[test]
    fn hours_and_gibibyte_hours_are_told_and_nothing_of_what_was_not_held() {
        let lines = told("2026-11-27", "2026-11-27", "[]");
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.resource.as_str(),
                    text(line.amount),
                    line.unit.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("virtualMachines", "1.000".to_owned(), "h"),
                ("vcpus", "3.000".to_owned(), "h"),
                ("memory", "2.000".to_owned(), "GiB·h"),
                ("storage/standard", "240.000".to_owned(), "GiB·h"),
            ]
        );
        assert!(lines.iter().all(|line| line.cost.is_none()));
    }

    #[test]
    fn a_price_counts_from_its_day_and_totals_are_sums() {
        let prices = "- {from: 2026-11-27, currency: VND, vcpuHour: 250.5}";
        let lines = told("2026-11-01", "2026-11-30", prices);
        let vcpus: Vec<_> = lines.iter().filter(|l| l.resource == "vcpus").collect();
        assert_eq!(vcpus[0].cost, None);
        assert_eq!(vcpus[1].cost.map(text), Some("751.500".to_owned()));
        assert_eq!(vcpus[1].currency.as_deref(), Some("VND"));
        let storage = totals(&lines)
            .into_iter()
            .find(|t| t.resource == "storage/standard");
        assert_eq!(
            storage.map(|total| text(total.amount)),
            Some("480.000".to_owned())
        );
    }

    #[test]
    fn a_table_has_the_same_lines() {
        let table = csv("so-khcn", &told("2026-11-27", "2026-11-27", "[]")).unwrap();
        let mut rows = table.lines();
        assert_eq!(
            rows.next(),
            Some("department,day,system,resource,amount,unit,price,cost,currency")
        );
        assert_eq!(
            rows.next(),
            Some("so-khcn,2026-11-27,a01,virtualMachines,1.000,h,,,")
        );
        assert_eq!(rows.count(), 3);
    }
}
