//! The pure crates stay pure: none depends on a client, a runtime, the network or chance.

use anyhow::Result;
use dc_lab::{cargo, progress};

use super::Finding;

const PURE: &[(&str, &str)] = &[
    ("dc-types", "api/types"),
    ("dc-operator-core", "operator/core"),
    ("dc-agent-core", "agent/core"),
];

/// With any of these a function could look at the world instead of at its arguments.
const FORBIDDEN: &[&str] = &[
    "etcd-client",
    "hyper",
    "kube-client",
    "kube-runtime",
    "nix",
    "rand",
    "reqwest",
    "tokio",
    "tonic",
    "virt",
];

pub fn check() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, folder) in PURE {
        let mut tree = cargo::command();
        tree.args(["tree", "--offline", "--edges", "normal", "--prefix", "none"]);
        tree.args(["--format", "{p}", "--package", name]);
        let answer = progress::run(&mut tree)?;
        findings.extend(impurities(&answer).into_iter().map(|dependency| {
            let what = format!("depends on {dependency}; a pure crate cannot do I/O");
            Finding::new(&format!("{folder}/Cargo.toml"), what)
        }));
    }
    Ok(findings)
}

/// The forbidden ones among the lines `name vVERSION …` of a dependency tree.
fn impurities(tree: &str) -> Vec<&'static str> {
    let named = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let names: Vec<String> = tree.lines().filter_map(named).collect();
    FORBIDDEN
        .iter()
        .copied()
        .filter(|bad| names.iter().any(|name| name == bad))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_dependency_is_found_by_its_whole_name() {
        let tree = "dc-types v0.1.0\nserde v1.0.0\ntokio v1.50.0\nrandom-words v0.1.0\n";
        assert_eq!(impurities(tree), ["tokio"]);
    }
}
