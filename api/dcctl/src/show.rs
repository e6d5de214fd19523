//! What was found, for people in columns, for programs as JSON or YAML. Pure.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use crate::Kind;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
    Yaml,
}

/// One object, or an array of them, as text that ends with a newline.
pub fn show(output: Output, kind: Kind, found: &Value) -> Result<String> {
    Ok(match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(found)?),
        Output::Yaml => serde_norway::to_string(found)?,
        Output::Table => match found {
            Value::Array(all) => table(kind, all),
            one => table(kind, std::slice::from_ref(one)),
        },
    })
}

/// Heading, and where in the object it stands.
type Column = (&'static str, &'static str);

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Departments => &[
            ("NAME", "/name"),
            ("TITLE", "/titleVi"),
            ("SYSTEMS", "/systems"),
            ("MACHINES", "/virtualMachines"),
            ("VOLUMES", "/volumes"),
        ],
        Kind::Systems => &[
            ("NAME", "/name"),
            ("TITLE", "/titleVi"),
            ("LEVEL", "/securityLevel"),
            ("MACHINES", "/machines"),
        ],
        Kind::Machines => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("SYSTEM", "/system"),
            ("CLASS", "/class"),
            ("ADDRESS", "/interfaces/0/ipv4"),
            ("REASON", "/ready/reason"),
        ],
        Kind::Volumes => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("SIZE", "/size"),
            ("POOL", "/pool"),
            ("USED BY", "/attachedTo"),
            ("REASON", "/ready/reason"),
        ],
        Kind::Snapshots => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("VOLUME", "/volume"),
            ("MACHINE", "/virtualMachine"),
            ("TAKEN", "/takenAt"),
        ],
        Kind::Subnets => &[
            ("NAME", "/name"),
            ("ZONE", "/zone"),
            ("IPV4", "/ipv4"),
            ("IPV6", "/ipv6"),
        ],
        Kind::Requests => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("WAITS FOR", "/waitsFor"),
            ("SINCE", "/since"),
            ("NEEDED BY", "/neededBy"),
        ],
        Kind::Approvals => &[
            ("NAME", "/name"),
            ("REQUEST", "/request"),
            ("VERDICT", "/verdict"),
            ("AS", "/role"),
            ("APPROVER", "/approver"),
            ("COUNTS", "/ready/reason"),
        ],
        Kind::Backups => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("MACHINE", "/virtualMachine"),
            ("TAKEN", "/takenAt"),
            ("SIZE", "/size"),
            ("ADDED", "/added"),
            ("PROVEN", "/proven/reason"),
            ("POLICY", "/policy"),
            ("REASON", "/ready/reason"),
        ],
        Kind::Restores => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("BACKUP", "/backup"),
            ("NEW VOLUME", "/to/newVolume/name"),
            ("OVER", "/to/inPlace/volume"),
            ("PROGRESS", "/progress"),
            ("REASON", "/ready/reason"),
        ],
        Kind::MachineRestores => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("BACKUP", "/backup"),
            ("MACHINE", "/virtualMachine"),
            ("IDENTITY", "/identity"),
            ("VOLUMES", "/progress"),
            ("REASON", "/ready/reason"),
        ],
        Kind::Proofs => &[
            ("NAME", "/name"),
            ("STATE", "/state"),
            ("BACKUP", "/backup"),
            ("MACHINE", "/virtualMachine"),
            ("RESULT", "/verdict/result"),
            ("FAILED AT", "/verdict/failedAt"),
            ("REASON", "/ready/reason"),
        ],
        Kind::Policies => &[
            ("NAME", "/name"),
            ("SCHEDULE", "/schedule/cron"),
            ("NEXT", "/next"),
            ("REPOSITORY", "/repository"),
            ("BACKED UP", "/backedUp"),
            ("LATE", "/late"),
            ("FAILING", "/failing"),
            ("UNPROVEN", "/unproven"),
            ("UNUSUAL", "/unusual"),
        ],
        Kind::Protection => &[
            ("DEPARTMENT", "/department"),
            ("VOLUME", "/volume"),
            ("MACHINE", "/virtualMachine"),
            ("PROTECTED", "/protected"),
            ("POLICIES", "/policies"),
            ("LAST", "/lastBackup/takenAt"),
            ("PROVEN", "/lastBackup/provenAt"),
            ("WHY", "/reason"),
        ],
        Kind::Events => &[
            ("AT", "/at"),
            ("KIND", "/kind"),
            ("NAME", "/name"),
            ("REASON", "/reason"),
            ("MESSAGE", "/message"),
        ],
    }
}

/// What each system held, and what is worth saying about prices.
pub fn usage(output: Output, found: &Value) -> Result<String> {
    if output != Output::Table {
        return show(output, Kind::Events, found);
    }
    const COLUMNS: &[Column] = &[
        ("SYSTEM", "/system"),
        ("RESOURCE", "/resource"),
        ("AMOUNT", "/amount"),
        ("UNIT", "/unit"),
        ("COST", "/cost"),
        ("CURRENCY", "/currency"),
    ];
    let totals = found["totals"].as_array();
    let mut text = in_columns(COLUMNS, totals.map_or(&[], Vec::as_slice));
    if found["prices"] == "unreadable" {
        text.push_str(
            "The list of prices cannot be read; the platform's administrators keep it.\n",
        );
    }
    Ok(text)
}

/// In columns, each as wide as its longest text.
pub fn table(kind: Kind, found: &[Value]) -> String {
    in_columns(columns(kind), found)
}

fn in_columns(columns: &[Column], found: &[Value]) -> String {
    let head = columns.iter().map(|(heading, _)| (*heading).to_owned());
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    for one in found {
        rows.push(
            columns
                .iter()
                .map(|(_, at)| cell(one.pointer(at)))
                .collect(),
        );
    }
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One line; what a terminal would take for an order is not shown.
fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(all)) if all.is_empty() => "-".to_owned(),
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
            let names: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            names.join(",")
        }
        Some(other) => other.to_string(),
    };
    harmless(&text).replace('\n', " ")
}

fn harmless(text: &str) -> String {
    let harmless = |c: &char| !c.is_control() || *c == '\n';
    text.chars().filter(harmless).collect()
}

/// How it stands, why, and what became of it so far.
pub fn explained(one: &Value) -> String {
    let text = |at: &str| cell(one.pointer(at));
    let mut said = format!("{}: {}\n", text("/name"), text("/state"));
    said.push_str(&format!(
        "{}: {}\n",
        text("/ready/status"),
        text("/ready/reason")
    ));
    let message = one.pointer("/ready/message").and_then(Value::as_str);
    for sentence in message.unwrap_or_default().split(" · ") {
        said.push_str(&format!("  {}\n", harmless(sentence)));
    }
    if one.get("waitsFor").is_some() {
        said.push_str(&format!("{} ({})\n", text("/waitsFor"), text("/since")));
    }
    let list = |name: &str| one[name].as_array().cloned().unwrap_or_default();
    for line in list("changes") {
        said.push_str(&format!("  {}\n", cell(Some(&line))));
    }
    for step in list("history") {
        let of = |name: &str| cell(step.get(name));
        let line = format!("{}  {}  {}  {}", of("at"), of("state"), of("by"), of("why"));
        said.push_str(&format!("  {line}\n"));
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let found = [
            json!({"name": "portal", "state": "Submitted", "waitsFor": "leader"}),
            json!({"name": "a", "state": "Draft", "waitsFor": "authors"}),
        ];
        let text = table(Kind::Requests, &found);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME    STATE      WAITS FOR  SINCE  NEEDED BY");
        assert_eq!(lines[1], "portal  Submitted  leader     -      -");
        assert_eq!(lines[2], "a       Draft      authors    -      -");
    }

    #[test]
    fn nothing_that_is_shown_orders_a_terminal_about() {
        let evil = json!({"name": "a\u{1b}[2J", "history": [{"why": "\u{1b}]0;x\u{7}"}],
                          "ready": {"message": "\u{1b}[31m · \r"}});
        for text in [
            table(Kind::Requests, std::slice::from_ref(&evil)),
            explained(&evil),
        ] {
            assert!(
                !text.chars().any(|c| c.is_control() && c != '\n'),
                "{text:?}"
            );
        }
    }
}
