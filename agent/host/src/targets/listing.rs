//! The texts in which tgtd lists targets and connections, read by their indentation.

use std::path::PathBuf;

use super::{Connection, TargetSeen, Tid};

/// The parts of a target in tgtd's listing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    System,
    Sessions,
    Luns,
    Accounts,
    Acl,
    Unknown,
}

/// Reads what tgtd shows of all targets. What is not known is passed over, but a target whose
/// first line cannot be read is an error: its file would count as free.
pub fn parse_targets(text: &str) -> Result<Vec<TargetSeen>, String> {
    let mut targets: Vec<TargetSeen> = Vec::new();
    let mut section = Section::Unknown;
    let mut lun: Option<u64> = None;
    for line in text.trim_end_matches('\0').lines() {
        let (depth, rest) = indentation(line);
        if depth == 0 {
            if rest.is_empty() {
                continue;
            }
            targets.push(head(rest).ok_or_else(|| format!("no target in the line {rest:?}"))?);
            (section, lun) = (Section::Unknown, None);
            continue;
        }
        let target = targets.last_mut().ok_or("a part without its target")?;
        if depth == 1 {
            (section, lun) = (section_of(rest), None);
            continue;
        }
        match section {
            Section::Sessions => target.sessions.extend(initiator(rest)),
            Section::Luns => {
                if let Some(number) = rest.strip_prefix("LUN: ") {
                    lun = number.parse().ok();
                } else if let Some(path) = rest.strip_prefix("Backing store path: ")
                    && lun == Some(1)
                    && path != "None"
                {
                    target.lun = Some(PathBuf::from(path));
                }
            }
            Section::Accounts => target.accounts.push(rest.to_owned()),
            Section::Acl => target.acl.push(rest.to_owned()),
            Section::System | Section::Unknown => {}
        }
    }
    Ok(targets)
}

/// tgtd indents by four spaces for each level.
fn indentation(line: &str) -> (usize, &str) {
    let rest = line.trim_start_matches(' ');
    ((line.len() - rest.len()) / 4, rest.trim_end())
}

fn head(line: &str) -> Option<TargetSeen> {
    let (tid, name) = line.strip_prefix("Target ")?.split_once(": ")?;
    Some(TargetSeen {
        tid: Tid(tid.parse().ok()?),
        name: name.to_owned(),
        lun: None,
        accounts: Vec::new(),
        acl: Vec::new(),
        sessions: Vec::new(),
    })
}

fn section_of(line: &str) -> Section {
    match line {
        "System information:" => Section::System,
        "I_T nexus information:" => Section::Sessions,
        "LUN information:" => Section::Luns,
        "Account information:" => Section::Accounts,
        "ACL information:" => Section::Acl,
        _ => Section::Unknown,
    }
}

/// `Initiator: NAME alias: ALIAS`
fn initiator(line: &str) -> Option<String> {
    let rest = line.strip_prefix("Initiator: ")?;
    let name = rest.split_once(" alias: ").map_or(rest, |(name, _)| name);
    Some(name.to_owned())
}

/// Reads what tgtd shows of one target's connections.
pub fn parse_connections(text: &str) -> Vec<Connection> {
    let mut session = None;
    let mut found = Vec::new();
    for line in text.trim_end_matches('\0').lines() {
        let line = line.trim();
        if let Some(number) = line.strip_prefix("Session: ") {
            session = number.parse().ok();
        } else if let Some(number) = line.strip_prefix("Connection: ")
            && let (Some(session), Ok(connection)) = (session, number.parse())
        {
            found.push(Connection {
                session,
                connection,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As tgt 1.0.85 prints it.
    const TARGETS: &str = "\
Target 259: iqn.test:vol1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 1
            Initiator: iqn.init alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
            SCSI ID: IET     01030000
            Backing store type: null
            Backing store path: None
            Backing store flags: 
        LUN: 1
            Type: disk
            Size: 67 MB, Block size: 512
            Backing store type: rdwr
            Backing store path: /pools/p 1/vol.raw
            Backing store flags: 
    Account information:
        u1
    ACL information:
        iqn.init
        10.0.0.0/8
Target 260: iqn.test:empty
    System information:
        Driver: iscsi
    I_T nexus information:
    LUN information:
        LUN: 0
            Backing store path: None
    Account information:
    ACL information:
\0";

    #[test]
    fn a_listing_gives_each_target_with_what_it_has() {
        let targets = parse_targets(TARGETS).unwrap();
        let full = TargetSeen {
            tid: Tid(259),
            name: "iqn.test:vol1".into(),
            lun: Some("/pools/p 1/vol.raw".into()),
            accounts: vec!["u1".into()],
            acl: vec!["iqn.init".into(), "10.0.0.0/8".into()],
            sessions: vec!["iqn.init".into()],
        };
        let empty = TargetSeen {
            tid: Tid(260),
            name: "iqn.test:empty".into(),
            lun: None,
            accounts: vec![],
            acl: vec![],
            sessions: vec![],
        };
        assert_eq!(targets, [full, empty]);
        assert_eq!(parse_targets("\0"), Ok(vec![]));
    }

    #[test]
    fn a_listing_that_cannot_be_read_is_no_empty_listing() {
        for bad in ["Target x: iqn\n", "Ziel 3: iqn\n", "    LUN information:\n"] {
            assert!(parse_targets(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn connections_are_numbered_within_their_session() {
        let text = "Session: 3\n    Connection: 0\n        Initiator: iqn.init\n        \
                    IP Address: 127.0.0.1\n    Connection: 1\nSession: 9\n    Connection: 0\n\0";
        let of = |session, connection| Connection {
            session,
            connection,
        };
        assert_eq!(parse_connections(text), [of(3, 0), of(3, 1), of(9, 0)]);
    }
}
