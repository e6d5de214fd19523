//! The keys and values of a RADOS object, as `rados listomapvals` prints them.
//!
//! ```text
//! key
//! value (24 bytes) :
//! 00000000  7b 22 61 22 3a 31 2c 20  22 6e 61 6d 65 22 3a 22  |{"a":1, "name":"|
//! *
//! 00000018
//!
//! ```
//! A star stands for lines that are like the one before.

use std::collections::BTreeMap;

const PER_LINE: usize = 16;

pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut all = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(key) = lines.next() {
        if key.is_empty() {
            continue;
        }
        let head = lines.next().unwrap_or_default();
        let length = head
            .strip_prefix("value (")
            .and_then(|rest| rest.strip_suffix(" bytes) :"))
            .and_then(|length| length.parse().ok());
        let length: usize = length.ok_or_else(|| format!("after the key {key}: {head:?}"))?;
        let mut dump = Vec::new();
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            dump.push(line);
        }
        let value = parse_dump(&dump, length).ok_or_else(|| format!("the value of {key}"))?;
        all.insert(key.to_owned(), value);
    }
    Ok(all)
}

fn parse_dump(lines: &[&str], length: usize) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::with_capacity(length);
    let mut repeats = false;
    for line in lines {
        if *line == "*" {
            repeats = true;
            continue;
        }
        let (offset, rest) = line.split_once(' ').unwrap_or((line, ""));
        let offset = usize::from_str_radix(offset, 16).ok()?;
        if repeats {
            let last = bytes.len().checked_sub(PER_LINE)?;
            let last = bytes.get(last..)?.to_vec();
            while bytes.len() < offset {
                bytes.extend_from_slice(&last);
            }
            repeats = false;
        }
        if bytes.len() != offset {
            return None;
        }
        // Behind the bar is the same as text, which may hold anything.
        let hex = rest.split('|').next().unwrap_or_default();
        for byte in hex.split_ascii_whitespace() {
            bytes.push(u8::from_str_radix(byte, 16).ok()?);
        }
    }
    (bytes.len() == length).then_some(bytes)
}
