//! Asking the cluster by kubectl: it speaks to any cluster in any way its kubeconfig asks for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::progress;

#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        Self {
            program: program.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
        }
    }

    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    pub fn run<S: AsRef<str>>(&self, args: &[S]) -> Result<String> {
        progress::run(self.command().args(args.iter().map(AsRef::as_ref)))
    }

    pub fn json<S: AsRef<str>>(&self, args: &[S]) -> Result<Value> {
        let mut command = self.command();
        command
            .args(args.iter().map(AsRef::as_ref))
            .args(["--output", "json"]);
        let answer = progress::run(&mut command)?;
        serde_json::from_str(&answer).context("kubectl's answer is not JSON")
    }

    /// All objects of a kind in all namespaces; none when the cluster does not know the kind.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>> {
        let answer = self.json(&["get", kind, "--all-namespaces", "--ignore-not-found"]);
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(error)
                if error
                    .to_string()
                    .contains("the server doesn't have a resource type") =>
            {
                return Ok(Vec::new());
            }
            // With --ignore-not-found nothing at all is printed for an empty list.
            Err(error) if error.to_string().contains("is not JSON") => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        Ok(match answer.get_mut("items") {
            Some(Value::Array(items)) => std::mem::take(items),
            _ => Vec::new(),
        })
    }

    /// Server-side apply of files or folders (with all below them).
    pub fn apply(&self, paths: &[&Path], field_manager: &str) -> Result<()> {
        let mut command = self.command();
        command.args(["apply", "--server-side", "--force-conflicts", "--recursive"]);
        command.arg(format!("--field-manager={field_manager}"));
        for path in paths {
            command.arg("--filename").arg(path);
        }
        progress::run(&mut command).map(drop)
    }

    /// What server-side apply of the objects would answer; nothing is changed.
    pub fn dry_run(&self, manifests: &str) -> Result<()> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        file.write_all(manifests.as_bytes())?;
        let mut command = self.command();
        command
            .args(["apply", "--server-side", "--dry-run=server", "--filename"])
            .arg(file.path());
        progress::run(&mut command).map(drop)
    }

    /// Server-side apply of objects given as YAML or JSON text.
    pub fn apply_text(&self, manifests: &str, field_manager: &str) -> Result<()> {
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        file.write_all(manifests.as_bytes())?;
        self.apply(&[file.path()], field_manager)
    }
}
