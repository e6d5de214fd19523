//! `nft -j list ruleset`, as the tables that are ours.

use std::collections::BTreeMap;

use dc_agent_core::network::firewall::{SetSeen, TableSeen};
use serde::Deserialize;
use serde_json::Value;

use super::{FirewallError, OURS};

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Metainfo(serde::de::IgnoredAny),
    Table(Named),
    Chain(Chain),
    Rule(Rule),
    Set(Set),
    Map(Set),
    #[serde(other, deserialize_with = "ignore")]
    Other,
}

fn ignore<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| ())
}

#[derive(Deserialize)]
struct Named {
    family: String,
    name: String,
}

#[derive(Deserialize)]
struct Chain {
    family: String,
    table: String,
    name: String,
    policy: Option<String>,
}

#[derive(Deserialize)]
struct Rule {
    family: String,
    table: String,
    chain: String,
}

#[derive(Deserialize)]
struct Set {
    family: String,
    table: String,
    name: String,
    #[serde(default)]
    elem: Vec<Value>,
}

/// Our tables, in the order of the listing.
pub(super) fn tables(text: &[u8]) -> Result<Vec<TableSeen>, FirewallError> {
    let listing: Listing = serde_json::from_slice(text)
        .map_err(|error| FirewallError::Unreadable(error.to_string()))?;
    let mut tables: BTreeMap<(String, String), TableSeen> = BTreeMap::new();
    let mut at = |family: String, name: String, fill: &mut dyn FnMut(&mut TableSeen)| {
        if !OURS.contains(&(family.as_str(), name.as_str())) {
            return;
        }
        let fresh = || TableSeen {
            family: family.clone(),
            name: name.clone(),
            ..TableSeen::default()
        };
        let key = (family.clone(), name.clone());
        fill(tables.entry(key).or_insert_with(fresh));
    };
    for entry in listing.nftables {
        match entry {
            Entry::Metainfo(_) | Entry::Other => {}
            Entry::Table(table) => at(table.family, table.name, &mut |_| {}),
            Entry::Chain(chain) => at(chain.family, chain.table, &mut |seen| {
                let made = seen.chains.entry(chain.name.clone()).or_default();
                made.policy.clone_from(&chain.policy);
            }),
            Entry::Rule(rule) => at(rule.family, rule.table, &mut |seen| {
                seen.chains.entry(rule.chain.clone()).or_default().rules += 1;
            }),
            Entry::Set(set) | Entry::Map(set) => at(set.family, set.table, &mut |seen| {
                seen.sets.insert(set.name.clone(), set_seen(&set.elem));
            }),
        }
    }
    Ok(tables.into_values().collect())
}

/// Elements of simple keys are told; of others only how many there are.
fn set_seen(elements: &[Value]) -> SetSeen {
    SetSeen {
        count: elements.len(),
        elements: elements.iter().filter_map(element).collect(),
    }
}

/// A bare value, or `{"elem": {"val": …, "comment": …}}` when something hangs on it.
fn element(value: &Value) -> Option<(String, Option<String>)> {
    let simple = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(text) = simple(value) {
        return Some((text, None));
    }
    let elem = value.get("elem")?;
    let comment = elem.get("comment").and_then(Value::as_str);
    Some((simple(elem.get("val")?)?, comment.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_back_and_foreign_tables_are_left_out() {
        let text = r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},
            {"table":{"family":"inet","name":"fw","handle":1}},
            {"table":{"family":"ip","name":"docker","handle":2}},
            {"counter":{"family":"inet","name":"c","table":"fw","packets":0}},
            {"set":{"family":"inet","name":"flows","table":"fw","type":"mark","elem":
              [{"elem":{"val":42,"comment":"aa"}},7]}},
            {"set":{"family":"inet","name":"cut4","table":"fw","type":"ipv4_addr"}},
            {"map":{"family":"inet","name":"pairs4","table":"fw","map":"verdict","elem":
              [[{"concat":["a","b"]},{"goto":{"target":"x"}}]]}},
            {"chain":{"family":"inet","table":"fw","name":"forward","policy":"drop"}},
            {"chain":{"family":"ip","table":"docker","name":"x"}},
            {"rule":{"family":"inet","table":"fw","chain":"forward","expr":[]}},
            {"rule":{"family":"inet","table":"fw","chain":"forward","expr":[]}}]}"#;
        let tables = tables(text.as_bytes()).unwrap();
        assert_eq!(tables.len(), 1);
        let fw = &tables[0];
        assert_eq!(fw.chains["forward"].rules, 2);
        assert_eq!(fw.chains["forward"].policy.as_deref(), Some("drop"));
        assert_eq!(fw.sets["pairs4"].count, 1);
        assert_eq!(fw.sets["cut4"].count, 0);
        assert_eq!(
            fw.elements("flows"),
            [("42".into(), Some("aa".into())), ("7".into(), None)]
        );
    }
}
