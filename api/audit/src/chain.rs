//! Lines chained by hash. Pure.
//!
//! A line is `{"hash":"<64 hex>","entry":<entry>}`, where the hash is SHA-256 over the hash of the
//! line before (64 hex digits; zeros before the first) and the bytes of the entry as they stand.
//! To change, insert, remove or reorder a line, all that follow must be made anew, and then the
//! head differs from the one that was noted elsewhere: each head is in the server's own log.

use sha2::{Digest, Sha256};

use crate::Entry;

/// Before the first line.
pub const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const OPEN: &str = "{\"hash\":\"";
const MIDDLE: &str = "\",\"entry\":";

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the last line; 0 when there is none.
    pub sequence: u64,
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: START.to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("line {line}: it is no line of an audit log")]
    Malformed { line: u64 },
    #[error(
        "line {line}: its hash does not follow from the line before: it, or one before it, was changed, inserted, removed or moved"
    )]
    Hash { line: u64 },
    #[error("line {line}: its sequence is {found} instead of {line}")]
    Sequence { line: u64, found: u64 },
}

/// The line for an entry, with its newline, and the head after it.
pub fn line(head: &Head, entry: &Entry) -> Result<(String, Head), serde_json::Error> {
    let text = serde_json::to_string(entry)?;
    let hash = hash(&head.hash, &text);
    let line = format!("{OPEN}{hash}{MIDDLE}{text}}}\n");
    let head = Head {
        sequence: entry.sequence,
        hash,
    };
    Ok((line, head))
}

/// The head after one more line, given without its newline.
pub fn follow(head: &Head, line: &str) -> Result<Head, Broken> {
    let number = head.sequence + 1;
    let malformed = Broken::Malformed { line: number };
    let Some((said, text)) = split(line) else {
        return Err(malformed);
    };
    let hash = hash(&head.hash, text);
    if said != hash {
        return Err(Broken::Hash { line: number });
    }
    let entry: Entry = serde_json::from_str(text).map_err(|_| malformed)?;
    if entry.sequence != number {
        return Err(Broken::Sequence {
            line: number,
            found: entry.sequence,
        });
    }
    Ok(Head {
        sequence: number,
        hash,
    })
}

/// The hash that a line says, and the text of its entry.
pub(crate) fn split(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix(OPEN)?;
    let (hash, rest) = rest.split_at_checked(START.len())?;
    let text = rest.strip_prefix(MIDDLE)?.strip_suffix('}')?;
    Some((hash, text))
}

fn hash(before: &str, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(text);
    hex(&hash.finalize())
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Stage};
    use proptest::prelude::*;
    use serde_json::Value;

    fn entry(sequence: u64, name: &str) -> Entry {
        Entry {
            sequence,
            time: "2026-01-01T00:00:00Z".to_owned(),
            event: Event {
                stage: Stage::Done,
                request: "r".to_owned(),
                user: "an@sokhcn.sonla.gov.vn".to_owned(),
                groups: vec!["so-khcn:administrators".to_owned()],
                from: "127.0.0.1".to_owned(),
                department: "so-khcn".to_owned(),
                verb: "create".to_owned(),
                resource: "virtualmachines".to_owned(),
                name: name.to_owned(),
                change: Value::Null,
                status: Some(201),
                problem: None,
            },
        }
    }

    fn log(names: &[String]) -> (Vec<String>, Head) {
        let mut head = Head::default();
        let mut lines = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let (text, next) = line(&head, &entry(index as u64 + 1, name)).unwrap();
            lines.push(text.trim_end().to_owned());
            head = next;
        }
        (lines, head)
    }

    fn verify(lines: &[String]) -> Result<Head, Broken> {
        let start = Ok(Head::default());
        lines.iter().fold(start, |head, line| follow(&head?, line))
    }

    proptest! {
        #[test]
        fn what_was_written_is_verified(names in prop::collection::vec(".{0,20}", 0..6)) {
            let (lines, head) = log(&names);
            prop_assert_eq!(verify(&lines), Ok(head));
        }

        #[test]
        fn any_changed_byte_is_found(
            names in prop::collection::vec("[a-z]{1,9}", 1..5),
            at in any::<prop::sample::Index>(),
            by in 1_u8..128,
        ) {
            let (mut lines, _) = log(&names);
            let line = at.index(lines.len());
            let mut bytes = lines[line].clone().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= by;
            lines[line] = String::from_utf8_lossy(&bytes).into_owned();
            prop_assert!(verify(&lines).is_err());
        }
    }

    #[test]
    fn a_removed_inserted_or_moved_line_is_found_and_named() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let (lines, _) = log(&names);
        let mut removed = lines.clone();
        removed.remove(1);
        assert_eq!(verify(&removed), Err(Broken::Hash { line: 2 }));
        let mut moved = lines.clone();
        moved.swap(1, 2);
        assert_eq!(verify(&moved), Err(Broken::Hash { line: 2 }));
        let mut doubled = lines.clone();
        doubled.insert(1, lines[0].clone());
        assert_eq!(verify(&doubled), Err(Broken::Hash { line: 2 }));
    }
}
