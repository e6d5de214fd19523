//! The province's manifests: which there are, in which order they are applied, when they are there.
//!
//! `infra/sonla` holds them in four folders. Departments come before what lives in them, because
//! the operator makes a department's namespace.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use dc_lab::kubectl::Kubectl;
use dc_lab::lab::work_tree;
use dc_lab::progress;
use dc_lab::status::{self, Count};
use dc_lab::wait::{self, Look};
use serde::Deserialize;
use serde_norway::Value;

use crate::Wave;

/// Who the administrator's `kubectl apply` is, to server-side apply.
pub const FIELD_MANAGER: &str = "sonla-admin";

/// Some hundred namespaces with roles and bindings each.
const DEPARTMENTS_DEADLINE: Duration = Duration::from_secs(300);
/// Twenty guests that share two cores with everything else.
const FIRST_WAVE_DEADLINE: Duration = Duration::from_secs(1200);

/// All systems, each told once its machines run.
const SYSTEMS_DEADLINE: Duration = Duration::from_secs(300);

/// How many of what is not ready are named when a wait was in vain.
const SHOWN: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// Zones, classes, departments: what has no namespace.
    Province,
    /// All information systems.
    Systems,
    FirstWave,
    LaterWaves,
}

impl Folder {
    fn path(self) -> PathBuf {
        work_tree().join("infra/sonla").join(match self {
            Self::Province => "province",
            Self::Systems => "systems",
            Self::FirstWave => "first-wave",
            Self::LaterWaves => "later-waves",
        })
    }
}

/// Applies what the wave asks for and waits until all of it is ready.
pub async fn apply(kubectl: &Kubectl, wave: Wave) -> Result<()> {
    apply_folder(kubectl, Folder::Province)?;
    wait_ready(kubectl, "departments", DEPARTMENTS_DEADLINE).await?;
    apply_folder(kubectl, Folder::Systems)?;
    let folders: &[Folder] = match wave {
        Wave::None => &[],
        Wave::First => &[Folder::FirstWave],
        Wave::All => &[Folder::FirstWave, Folder::LaterWaves],
    };
    for folder in folders {
        apply_folder(kubectl, *folder)?;
    }
    if !folders.is_empty() {
        wait_ready(kubectl, "virtualmachines", FIRST_WAVE_DEADLINE).await?;
    }
    // Systems say that their machines run a little after the machines do.
    wait_ready(kubectl, "informationsystems", SYSTEMS_DEADLINE).await
}

/// The departments that the province's manifests make.
pub fn departments() -> Result<Vec<String>> {
    let path = Folder::Province.path().join("departments.yaml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; `cargo xtask gen` makes it", path.display()))?;
    let documents = serde_norway::Deserializer::from_str(&text);
    let mut names = Vec::new();
    for document in documents {
        let object = Value::deserialize(document)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if object["kind"] == "Department" {
            names.extend(object["metadata"]["name"].as_str().map(str::to_owned));
        }
    }
    Ok(names)
}

fn apply_folder(kubectl: &Kubectl, folder: Folder) -> Result<()> {
    let path = folder.path();
    if !path.is_dir() {
        bail!("{} is missing; `cargo xtask gen` makes it", path.display());
    }
    let short = path
        .strip_prefix(work_tree())
        .unwrap_or(&path)
        .display()
        .to_string();
    let step = progress::step(format!("applying {short}"));
    kubectl.apply(&[&path], FIELD_MANAGER)?;
    step.done("applied");
    Ok(())
}

/// Waits until every object of the kind is ready; when that does not come true, the error names
/// those that are not, with their reasons.
pub async fn wait_ready(kubectl: &Kubectl, kind: &str, deadline: Duration) -> Result<()> {
    let step = progress::step(format!("waiting for all {kind} to be ready"));
    let mut said = (Count::default(), Instant::now());
    let count = wait::until(
        &format!("all {kind} to be ready"),
        deadline,
        async || match look_ready(kubectl, kind, &mut said) {
            Ok(count) if count.is_complete() && count.wanted > 0 => Look::Holds(count),
            Ok(count) => Look::NotYet(format!("{count} are ready")),
            Err(error) => Look::NotYet(format!("{error:#}")),
        },
    )
    .await;
    match count {
        Ok(count) => {
            step.done(format!("{count}"));
            Ok(())
        }
        Err(error) => {
            let mut unready = status::read_unready(kubectl, kind).unwrap_or_default();
            let others = unready.len().saturating_sub(SHOWN);
            unready.truncate(SHOWN);
            if others > 0 {
                unready.push(format!("and {others} more"));
            }
            Err(anyhow!("{error:#}\n  {}", unready.join("\n  ")))
        }
    }
}

/// Counts, and says so when it has changed and was not said a moment ago.
fn look_ready(kubectl: &Kubectl, kind: &str, said: &mut (Count, Instant)) -> Result<Count> {
    const PAUSE: Duration = Duration::from_secs(4);
    let count = status::read_kind(kubectl, kind)?;
    let (last, at) = *said;
    if count != last && (last == Count::default() || at.elapsed() >= PAUSE) {
        progress::note(format!("  {kind}: {count} ready"));
        *said = (count, Instant::now());
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_departments_of_the_manifests_are_found() {
        let departments = departments().unwrap();
        assert!(departments.len() > 20, "{departments:?}");
        assert!(departments.iter().any(|name| name == "so-y-te"));
    }
}
