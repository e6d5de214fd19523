//! The province's manifests from its register: what its admin keeps in git.
//!
//! Input are the tables under `infra/sonla/source`. Where they say nothing, nothing is invented
//! in silence: an assumed value is named in the annotation [`ASSUMED`] of its object.

mod catalogue;
mod departments;
mod machines;
mod quota;
mod register;

use std::path::Path;

use anyhow::Result;
use kube::Resource;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Files, HEADER};

/// Lists the fields of an object that the source does not state.
const ASSUMED: &str = "dc.sonla.gov.vn/assumed";
/// Where the generated manifests lie.
const FOLDER: &str = "infra/sonla";

pub fn add(files: &mut Files, source: &Path) -> Result<()> {
    let register = register::read(source)?;
    let mut put = |path: String, objects: Vec<Value>| -> Result<()> {
        let mut text = HEADER.to_owned();
        for object in objects {
            text.push_str("---\n");
            text.push_str(&serde_norway::to_string(&object)?);
        }
        files.insert(format!("{FOLDER}/{path}").into(), text);
        Ok(())
    };
    put("province/zones.yaml".into(), catalogue::zones())?;
    put("province/classes.yaml".into(), catalogue::classes())?;
    put(
        "province/departments.yaml".into(),
        departments::departments(&register),
    )?;
    for (department, systems) in register.systems_by_owner() {
        put(
            format!("systems/{department}.yaml"),
            machines::systems(department, &systems),
        )?;
    }
    for system in &register.systems {
        let wave = if system.first_wave {
            "first-wave"
        } else {
            "later-waves"
        };
        put(
            format!("{wave}/{}.yaml", system.slug()),
            machines::manifests(system),
        )?;
    }
    Ok(())
}

/// One object as a manifest: kind and version from its type, the rest as given.
fn manifest<K>(namespace: Option<&str>, name: &str, assumed: &str, spec: &impl Serialize) -> Value
where
    K: Resource<DynamicType = ()>,
{
    let mut metadata = json!({"name": name});
    if let Some(namespace) = namespace {
        metadata["namespace"] = json!(namespace);
    }
    if !assumed.is_empty() {
        metadata["annotations"] = json!({ASSUMED: assumed});
    }
    json!({
        "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "spec": spec,
    })
}
