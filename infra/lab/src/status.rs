//! How a data centre stands, in numbers: read from its objects, counted and nothing more.

use serde::Serialize;
use serde_json::Value;

use anyhow::Result;

use crate::kubectl::Kubectl;

/// How many are as they should be, of how many are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    pub ready: usize,
    pub wanted: usize,
}

impl Count {
    pub fn is_complete(self) -> bool {
        self.ready == self.wanted
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.ready, self.wanted)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Of those that are wanted running.
    pub vms: Count,
    pub departments: Count,
    pub systems: Count,
    pub hosts: Count,
    pub pools: Count,
    pub images: Count,
    pub volumes: Count,
    pub subnets: Count,
}

impl Counts {
    pub fn is_complete(&self) -> bool {
        let Self {
            vms,
            departments,
            systems,
            hosts,
            pools,
            images,
            volumes,
            subnets,
        } = self;
        [
            vms,
            departments,
            systems,
            hosts,
            pools,
            images,
            volumes,
            subnets,
        ]
        .iter()
        .all(|count| count.is_complete())
    }
}

/// Counts the objects of the data centre. A kind that the cluster does not know counts as none.
pub fn read(kubectl: &Kubectl) -> Result<Counts> {
    let count = |kind: &str| read_kind(kubectl, kind);
    Ok(Counts {
        vms: count("virtualmachines")?,
        departments: count("departments")?,
        systems: count("informationsystems")?,
        hosts: count("hosts")?,
        pools: count("storagepools")?,
        images: count("images")?,
        volumes: count("volumes")?,
        subnets: count("subnets")?,
    })
}

/// Counts one kind, by its plural name.
pub fn read_kind(kubectl: &Kubectl, kind: &str) -> Result<Count> {
    Ok(count(&kubectl.list(&format!("{kind}.dc.sonla.gov.vn"))?))
}

fn count(objects: &[Value]) -> Count {
    let wanted = objects.iter().filter(|object| is_wanted(object));
    let ready = wanted
        .clone()
        .filter(|object| condition(object, "Ready") == Some("True"))
        .count();
    Count {
        ready,
        wanted: wanted.count(),
    }
}

/// What is being deleted, or is to be stopped, is not wanted running.
fn is_wanted(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_none()
        && object
            .pointer("/spec/powerState")
            .is_none_or(|state| state == "Running")
}

/// The status of a condition, as long as it was judged from the present spec.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a str> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)?;
    let generation = object.pointer("/metadata/generation");
    match found.get("observedGeneration") {
        Some(observed) if generation.is_some_and(|generation| generation != observed) => None,
        _ => found["status"].as_str(),
    }
}

/// What is not ready, one line each, for the message about a wait in vain.
pub fn read_unready(kubectl: &Kubectl, kind: &str) -> Result<Vec<String>> {
    let objects = kubectl.list(&format!("{kind}.dc.sonla.gov.vn"))?;
    Ok(unready(kind, &objects))
}

/// The same of objects that were read already.
#[must_use]
pub fn unready(kind: &str, objects: &[Value]) -> Vec<String> {
    let unready = objects
        .iter()
        .filter(|object| is_wanted(object) && condition(object, "Ready") != Some("True"));
    unready
        .map(|object| format!("{kind} {}", describe(object)))
        .collect()
}

fn describe(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let name = match text("/metadata/namespace") {
        "" => text("/metadata/name").to_owned(),
        namespace => format!("{namespace}/{}", text("/metadata/name")),
    };
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Ready");
    match ready {
        None => format!("{name}: no condition yet"),
        Some(ready) => {
            let reason = ready["reason"].as_str().unwrap_or_default();
            let message = ready["message"].as_str().unwrap_or_default();
            format!("{name}: {reason}: {message}")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vm(state: &str, ready: &str, observed: i64) -> Value {
        let ready = json!({ "type": "Ready", "status": ready, "observedGeneration": observed });
        json!({
            "metadata": { "name": "web", "namespace": "so-tai-chinh", "generation": 2 },
            "spec": { "powerState": state },
            "status": { "conditions": [ready] },
        })
    }

    #[test]
    fn only_what_is_wanted_running_and_ready_now_counts_as_ready() {
        let objects = [
            vm("Running", "True", 2),
            vm("Running", "False", 2),
            vm("Running", "True", 1),
            vm("Stopped", "False", 2),
        ];
        assert_eq!(
            count(&objects),
            Count {
                ready: 1,
                wanted: 3
            }
        );
    }

    #[test]
    fn what_is_being_deleted_is_not_wanted() {
        let mut deleted = vm("Running", "True", 2);
        deleted["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(count(&[deleted]), Count::default());
    }
}
