//! Waiting for objects: until a condition holds, with what was seen instead when it does not.

use std::time::Duration;

use anyhow::Result;
use dc_lab::status;
use dc_lab::wait::{self, Look};
use serde_json::Value;

use crate::centre::Centre;
use crate::objects::{ready_reason, text};

/// Waits until an object is ready as it is now wanted, and returns it.
pub async fn ready(
    centre: &Centre,
    kind: &str,
    department: &str,
    name: &str,
    limit: Duration,
) -> Result<Value> {
    object(
        centre,
        kind,
        department,
        name,
        "to be ready",
        limit,
        |object| status::condition(object, "Ready") == Some("True"),
    )
    .await
}

/// Waits until an object looks as it should, and returns it.
pub async fn object(
    centre: &Centre,
    kind: &str,
    department: &str,
    name: &str,
    what: &str,
    limit: Duration,
    holds: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let what = format!("{kind} {department}/{name} {what}");
    wait::until(&what, limit, async || {
        match centre.get(kind, department, name) {
            Ok(object) if holds(&object) => Look::Holds(object),
            Ok(object) => Look::NotYet(format!(
                "{}; status {}",
                ready_reason(&object),
                object["status"]
            )),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await
}

/// Waits until a machine's status says this state, judged from its present spec.
pub async fn state(
    centre: &Centre,
    department: &str,
    name: &str,
    state: &str,
    limit: Duration,
) -> Result<Value> {
    let what = format!("to be {state}");
    object(centre, "vm", department, name, &what, limit, |vm| {
        text(vm, "/status/state").as_deref() == Some(state)
            && status::condition(vm, "Ready").is_some()
    })
    .await
}

/// Waits until there is no such object.
pub async fn gone(
    centre: &Centre,
    kind: &str,
    department: &str,
    name: &str,
    limit: Duration,
) -> Result<()> {
    let what = format!("{kind} {department}/{name} to be gone");
    wait::until(&what, limit, async || {
        match centre.find(kind, department, name) {
            Ok(None) => Look::Holds(()),
            Ok(Some(object)) => Look::NotYet(format!(
                "it has the finalizers {}, {}",
                object["metadata"]["finalizers"],
                ready_reason(&object)
            )),
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await
}

/// Waits for an event about the object that `holds`, and returns its text.
pub async fn event(
    centre: &Centre,
    department: &str,
    name: &str,
    what: &str,
    limit: Duration,
    holds: impl Fn(&str) -> bool,
) -> Result<String> {
    let what = format!("an event of {department}/{name} that says {what}");
    wait::until(&what, limit, async || {
        match centre.events(department, name) {
            Ok(events) => match events.iter().find(|event| holds(event)) {
                Some(event) => Look::Holds(event.clone()),
                None => Look::NotYet(format!("{events:#?}")),
            },
            Err(error) => Look::NotYet(format!("{error:#}")),
        }
    })
    .await
}
