//! Rules on Cargo.toml: every crate takes its versions and lints from the workspace.

use super::{Finding, Source};

pub fn check(source: &Source) -> Vec<Finding> {
    let is_crate = source.path.ends_with("/Cargo.toml");
    if !is_crate {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut find = |what: String| findings.push(Finding::new(&source.path, what));
    for inherited in ["version", "edition", "rust-version", "license", "publish"] {
        if !source
            .text
            .contains(&format!("{inherited}.workspace = true"))
        {
            find(format!(
                "{inherited} is not the workspace's; write {inherited}.workspace = true"
            ));
        }
    }
    if !source.text.contains("[lints]\nworkspace = true") {
        find("its lints are not the workspace's".to_owned());
    }
    for (number, line) in dependency_lines(&source.text) {
        if !line.contains("workspace = true") {
            find(format!(
                "line {number}: take the version from [workspace.dependencies]"
            ));
        }
    }
    findings
}

/// The lines of the dependency tables, with their numbers.
fn dependency_lines(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside && line.contains('=') && !line.starts_with('#') {
            lines.push((number + 1, line));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIDY: &str = "[package]\nname = \"x\"\nversion.workspace = true\n\
        edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n\
        publish.workspace = true\n\n[lints]\nworkspace = true\n\n[dependencies]\n\
        serde.workspace = true\nkube = { workspace = true, features = [\"ws\"] }\n";

    fn found(text: &str) -> Vec<Finding> {
        check(&Source {
            path: "x/Cargo.toml".to_owned(),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_crate_that_inherits_everything_is_tidy() {
        assert_eq!(found(TIDY), []);
    }

    #[test]
    fn a_version_of_its_own_is_found() {
        let own = format!("{TIDY}serde_json = \"1\"\n");
        assert!(found(&own)[0].what.contains("[workspace.dependencies]"));
    }
}
