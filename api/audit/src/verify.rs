//! A whole log, read once from its beginning: the first line that is wrong and how, or the head.
//! It needs the lines and nothing else.
//!
//! A chain cannot show by itself that its end is whole: a log without its last lines is a chain too.
//! A head that was noted elsewhere shows it, also when the log has grown since: it must be the hash
//! of one of the lines, and then all lines up to that one are as they were when it was noted.

use std::io::BufRead;

use serde::Deserialize;

use crate::chain::{self, Broken, Head};

/// All lines that end with a newline, which followed one from the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    pub head: Head,
    /// The length of these lines, in bytes.
    pub whole: u64,
    /// The length of what stands after them, in bytes: a line that was cut short.
    pub torn: u64,
}

/// A log without a wrong line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    pub head: Head,
    /// For each noted head the line that has it, `None` if there is no such line.
    pub noted: Vec<Option<u64>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("it cannot be read")]
    Unreadable(#[source] std::io::Error),
    #[error("{broken} ({cause:?})")]
    Line { broken: Broken, cause: Cause },
    #[error("line {line}: it was cut short")]
    Torn { line: u64 },
}

/// What seems to have become of the line that should stand at one place. Lines are told from each
/// other by the sequence that they say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The line that should be there is, with another content; or the one before it is another, made
    /// anew with its hash. Which of both, the log cannot tell.
    Changed,
    /// The lines from the first to the last of these are nowhere.
    Missing { from: u64, to: u64 },
    /// The line that should be there stands later, as this line.
    Moved { to: u64 },
    /// There is one too many: another follows with the same sequence.
    Inserted,
    /// It is a line that was there before, with this sequence.
    Repeated { sequence: u64 },
}

/// Follows a log to its end; `each` is given the head after each line.
pub fn walk(mut log: impl BufRead, mut each: impl FnMut(&Head)) -> Result<Walked, Wrong> {
    let mut head = Head::default();
    let (mut whole, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = log.read_until(b'\n', &mut line);
        let length = read.map_err(Wrong::Unreadable)? as u64;
        let Some(text) = line.strip_suffix(b"\n") else {
            let torn = length;
            return Ok(Walked { head, whole, torn });
        };
        let number = head.sequence + 1;
        let followed = std::str::from_utf8(text)
            .map_err(|_| Broken::Malformed { line: number })
            .and_then(|text| chain::follow(&head, text));
        head = match followed {
            Ok(next) => next,
            Err(broken) => {
                let cause = cause(number, text, log).map_err(Wrong::Unreadable)?;
                return Err(Wrong::Line { broken, cause });
            }
        };
        each(&head);
        whole += length;
    }
}

/// Verifies a whole log, and looks for the heads that were noted elsewhere.
pub fn verify(log: impl BufRead, noted: &[String]) -> Result<Whole, Wrong> {
    let mut found = vec![None; noted.len()];
    let Walked { head, torn, .. } = walk(log, |head| {
        for (noted, found) in noted.iter().zip(&mut found) {
            if *noted == head.hash {
                *found = Some(head.sequence);
            }
        }
    })?;
    if torn > 0 {
        let line = head.sequence + 1;
        return Err(Wrong::Torn { line });
    }
    Ok(Whole { head, noted: found })
}

/// What became of the line that should be the one with this number, where `text` stands, followed
/// by the rest of the log.
fn cause(number: u64, text: &[u8], mut rest: impl BufRead) -> std::io::Result<Cause> {
    let said = match sequence(text) {
        Some(said) if said < number => return Ok(Cause::Repeated { sequence: said }),
        Some(said) => said,
        None => return Ok(Cause::Changed),
    };
    let (mut at, mut line) = (number, Vec::new());
    loop {
        line.clear();
        if rest.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        at += 1;
        let next = sequence(line.trim_ascii_end());
        match (said == number, next == Some(number)) {
            (true, true) => return Ok(Cause::Inserted),
            // Only what follows at once tells an insertion.
            (true, false) => break,
            (false, true) => return Ok(Cause::Moved { to: at }),
            (false, false) => {}
        }
    }
    Ok(match said == number {
        true => Cause::Changed,
        false => Cause::Missing {
            from: number,
            to: said - 1,
        },
    })
}

/// The sequence that a line says, whatever its hash is.
fn sequence(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        sequence: u64,
    }
    let (_, entry) = chain::split(std::str::from_utf8(line).ok()?)?;
    let numbered: Numbered = serde_json::from_str(entry).ok()?;
    Some(numbered.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entry, Event, Stage};
    use serde_json::Value;

    fn log(names: &[&str]) -> Vec<String> {
        let mut head = Head::default();
        let mut lines = Vec::new();
        for (sequence, name) in (1..).zip(names) {
            let entry = Entry {
                sequence,
                time: "2026-01-01T00:00:00Z".to_owned(),
                event: Event {
                    stage: Stage::Done,
                    request: String::new(),
                    user: "an@sokhcn.sonla.gov.vn".to_owned(),
                    groups: Vec::new(),
                    from: "127.0.0.1".to_owned(),
                    department: "so-khcn".to_owned(),
                    verb: "create".to_owned(),
                    resource: "virtualmachines".to_owned(),
                    name: (*name).to_owned(),
                    change: Value::Null,
                    status: Some(201),
                    problem: None,
                },
            };
            let (line, next) = chain::line(&head, &entry).unwrap();
            lines.push(line);
            head = next;
        }
        lines
    }

    fn wrong(lines: &[String]) -> (u64, Cause) {
        match verify(lines.concat().as_bytes(), &[]) {
            Err(Wrong::Line { broken, cause }) => match broken {
                Broken::Malformed { line }
                | Broken::Hash { line }
                | Broken::Sequence { line, .. } => (line, cause),
            },
            other => panic!("a line is wrong, and it says {other:?}"),
        }
    }

    #[test]
    fn what_was_done_to_a_line_is_told_with_its_number() {
        let lines = log(&["a", "b", "c", "d", "e"]);
        let mut changed = lines.clone();
        changed[2] = changed[2].replace("\"c\"", "\"x\"");
        assert_eq!(wrong(&changed), (3, Cause::Changed));
        changed[2] = "rubbish\n".to_owned();
        assert_eq!(wrong(&changed), (3, Cause::Changed));
        // With its hash made anew, the next one does not follow.
        changed[2] = log(&["a", "b", "x"])[2].clone();
        assert_eq!(wrong(&changed), (4, Cause::Changed));

        let missing = [&lines[..1], &lines[3..]].concat();
        assert_eq!(wrong(&missing), (2, Cause::Missing { from: 2, to: 3 }));
        assert_eq!(wrong(&lines[1..]), (1, Cause::Missing { from: 1, to: 1 }));

        let mut moved = lines.clone();
        moved.swap(1, 3);
        assert_eq!(wrong(&moved), (2, Cause::Moved { to: 4 }));

        let mut inserted = lines.clone();
        inserted.insert(2, log(&["a", "b", "x"])[2].clone());
        // It follows from the line before; the one that was there does not follow from it.
        assert_eq!(wrong(&inserted), (4, Cause::Repeated { sequence: 3 }));
        let mut inserted = lines.clone();
        inserted.insert(2, log(&["x", "y", "z"])[2].clone());
        assert_eq!(wrong(&inserted), (3, Cause::Inserted));

        let mut doubled = lines.clone();
        doubled.insert(3, lines[1].clone());
        assert_eq!(wrong(&doubled), (4, Cause::Repeated { sequence: 2 }));
    }

    #[test]
    fn a_cut_end_is_found_by_a_noted_head_and_by_nothing_else() {
        let lines = log(&["a", "b", "c"]);
        let head_after = |count: usize| {
            let whole = verify(lines[..count].concat().as_bytes(), &[]);
            whole.unwrap().head.hash
        };
        let noted = [head_after(2), head_after(3)];
        let whole = verify(lines.concat().as_bytes(), &noted).unwrap();
        assert_eq!(whole.noted, [Some(2), Some(3)]);
        let cut = verify(lines[..2].concat().as_bytes(), &noted).unwrap();
        assert_eq!(cut.noted, [Some(2), None]);
        let emptied = verify(&b""[..], &noted).unwrap();
        assert_eq!(emptied.noted, [None, None]);
        // A log made anew is a chain, and has none of the heads.
        let anew = log(&["a", "x", "c"]).concat();
        assert_eq!(verify(anew.as_bytes(), &noted).unwrap().noted, [None, None]);
    }

    #[test]
    fn a_line_cut_short_is_told() {
        let text = log(&["a", "b"]).concat();
        for length in text.find('\n').unwrap() + 2..text.len() {
            let verified = verify(&text.as_bytes()[..length], &[]);
            assert!(matches!(verified, Err(Wrong::Torn { line: 2 })));
        }
    }
}
