//! Rules on the text of a file: its length, its doc, its names, its last line.

use super::{Finding, Source};

/// Beyond this a file has more than one subject. Most are under 300.
const MAX_LINES: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common", "util", "utils", "helper", "helpers", "manager", "misc", "shared",
];

pub fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding::new(&source.path, what));
    if source.path.ends_with(".rs") {
        check_rust(source, &mut find);
    }
    if is_prose_or_code(&source.path) {
        check_lines(source, &mut find);
    }
    findings
}

fn is_prose_or_code(path: &str) -> bool {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(
        extension,
        "rs" | "toml" | "yaml" | "yml" | "md" | "sh" | "proto" | "json"
    )
}

fn check_rust(source: &Source, find: &mut impl FnMut(String)) {
    let (path, text) = (&source.path, &source.text);
    let lines = text.lines().count();
    if lines > MAX_LINES {
        find(format!(
            "{lines} lines; split it by subject (at most {MAX_LINES})"
        ));
    }
    let stem = path
        .rsplit('/')
        .next()
        .and_then(|file| file.strip_suffix(".rs"))
        .unwrap_or("");
    if EMPTY_NAMES.contains(&stem) {
        find(format!(
            "{stem} says nothing; name the module after what it does"
        ));
    }
    let is_test = stem == "tests" || path.starts_with("tests/");
    if !is_test && !text.starts_with("//!") {
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
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&source)
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
        assert!(found("operator/src/place/tests.rs", "fn f() {}\n").is_empty());
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
