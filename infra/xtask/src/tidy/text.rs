//! Rules on the text of a file: its length, its doc, its names, its last line.

use std::collections::BTreeSet;

use super::{Finding, Source};

/// Beyond this a file has more than one subject. Most are under 300. Tests do not count.
const MAX_LINES: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common", "util", "utils", "helper", "helpers", "manager", "misc", "shared",
];

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Code,
    Test,
}

pub fn check(source: &Source, role: Role) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding::new(&source.path, what));
    if source.path.ends_with(".rs") {
        check_rust(source, role, &mut find);
    }
    if is_prose_or_data(&source.path) {
        check_lines(source, &mut find);
    }
    findings
}

/// Files that are built for tests alone: those of test targets, and modules that are declared
/// behind `#[cfg(test)]`.
pub fn test_files(sources: &[Source]) -> BTreeSet<String> {
    let targets = sources.iter().map(|source| source.path.clone());
    let mut files: BTreeSet<String> = targets
        .filter(|path| path.split('/').any(|folder| folder == "tests"))
        .collect();
    for source in sources {
        let folder = match stem(&source.path) {
            "lib" | "main" => source
                .path
                .rsplit_once('/')
                .map_or("", |(folder, _)| folder),
            _ => source.path.trim_end_matches(".rs"),
        };
        let after = source.text.split("#[cfg(test)]\n").skip(1);
        let names =
            after.filter_map(|text| text.lines().next()?.strip_prefix("mod ")?.strip_suffix(';'));
        files.extend(names.map(|name| format!("{folder}/{name}.rs")));
    }
    files
}

fn stem(path: &str) -> &str {
    path.rsplit('/')
        .next()
        .and_then(|file| file.strip_suffix(".rs"))
        .unwrap_or("")
}

/// Fixtures stay as whoever wrote them has written them.
fn is_prose_or_data(path: &str) -> bool {
    if path.contains("/fixtures/") {
        return false;
    }
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "toml" | "yaml" | "yml" | "md" | "sh" | "proto" | "json"
    )
}

fn check_rust(source: &Source, role: Role, find: &mut impl FnMut(String)) {
    let (path, text) = (&source.path, &source.text);
    let stem = stem(path);
    let lines = text
        .lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count();
    if lines > MAX_LINES && role == Role::Code {
        find(format!(
            "{lines} lines; split it by subject (at most {MAX_LINES})"
        ));
    }
    if EMPTY_NAMES.contains(&stem) {
        find(format!(
            "{stem} says nothing; name the module after what it does"
        ));
    }
    if role == Role::Code && !text.starts_with("//!") {
        find("begins without a module doc (//!) that says what it decides or does".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        let allows = line.trim_start().starts_with("#[allow(");
        if allows && !line.contains("reason") {
            find(format!("line {}: an allow needs its reason", number + 1));
        }
    }
}

fn check_lines(source: &Source, find: &mut impl FnMut(String)) {
    for (number, line) in source.text.lines().enumerate() {
        if line.ends_with(' ') || line.ends_with('\t') {
            find(format!("line {}: ends in white space", number + 1));
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        find("the last line has no end".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        found_in(Role::Code, path, text)
    }

    fn found_in(role: Role, path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&source, role)
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn a_tidy_file_has_no_findings() {
        assert_eq!(
            found("operator/src/place.rs", "//! Places.\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_module_without_a_doc_is_found_and_a_test_module_needs_none() {
        assert_eq!(found("operator/src/place.rs", "fn f() {}\n").len(), 1);
        assert!(found_in(Role::Test, "operator/src/place/tests.rs", "fn f() {}\n").is_empty());
    }

    #[test]
    fn a_module_behind_cfg_test_is_a_test_file() {
        let lib = Source {
            path: "operator/core/src/lib.rs".to_owned(),
            text: "//! X.\n#[cfg(test)]\nmod sim;\nmod plan;\n".to_owned(),
        };
        let files = test_files(&[lib]);
        assert_eq!(
            files,
            BTreeSet::from(["operator/core/src/sim.rs".to_owned()])
        );
    }

    #[test]
    fn an_empty_name_is_found() {
        assert!(found("agent/src/utils.rs", "//! Things.\n")[0].contains("utils"));
    }

    #[test]
    fn a_file_of_several_subjects_is_found_by_its_length() {
        let long = format!("//! Long.\n{}", "\n".repeat(MAX_LINES));
        assert!(found("agent/src/long.rs", &long)[0].contains("501 lines"));
    }

    #[test]
    fn white_space_at_an_end_is_found() {
        assert_eq!(
            found("docs/tour.md", "a \nb"),
            ["line 1: ends in white space", "the last line has no end"]
        );
    }

    #[test]
    fn an_allow_without_a_reason_is_found() {
        let bare = "//! X.\n#[allow(dead_code)]\n";
        assert_eq!(found("a.rs", bare), ["line 2: an allow needs its reason"]);
        let reasoned = "//! X.\n#[allow(dead_code, reason = \"kept for N-1\")]\n";
        assert!(found("a.rs", reasoned).is_empty());
    }
}
