//! What a request asks for: its hash, its templates read as what they are to be, and how they differ
//! from what is there.

use std::fmt::Write;

use dc_crds::lease::Lease;
use dc_crds::request::{ResourceRequestSpec, Template, TemplateKind};
use dc_crds::vm::CloudInit;
use dc_crds::{InformationSystemSpec, SubnetSpec, VirtualMachineSpec, VolumeSpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::words::Fact;

/// SHA-256 over all that is decided on: everything but the phase and the authors, in one order.
#[must_use]
pub fn hash(spec: &ResourceRequestSpec) -> String {
    let ResourceRequestSpec {
        phase: _,
        reason,
        document,
        needed_by,
        lease,
        objects,
        authors: _,
    } = spec;
    let content = json!({
        "reason": reason, "document": document, "neededBy": needed_by, "lease": lease,
        "objects": objects,
    });
    let mut text = String::new();
    write_canonical(&content, &mut text);
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing into a String does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// JSON with its keys sorted and no space in it.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            text.push('{');
            for (at, (name, field)) in fields.into_iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{}:", Value::String(name.clone()));
                write_canonical(field, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at > 0 { "," } else { "" });
                write_canonical(item, text);
            }
            text.push(']');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

/// A template as an object of its kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    System(InformationSystemSpec),
    Subnet(SubnetSpec),
    Volume(VolumeSpec),
    Vm(Box<VirtualMachineSpec>),
}

/// The spec that is built: the template's, with the request's lease where it states none.
#[must_use]
pub fn spec_of(template: &Template, lease: Option<&Lease>) -> Value {
    let mut spec = Value::Object(template.spec.clone());
    if let (TemplateKind::VirtualMachine, Some(lease)) = (template.kind, lease)
        && spec.get("lease").is_none()
    {
        spec["lease"] = json!(lease);
    }
    spec
}

/// Reads a template; a field that its kind does not have, or that is of another form, is told.
pub fn read(template: &Template) -> Result<Asked, Fact> {
    let spec = Value::Object(template.spec.clone());
    match template.kind {
        TemplateKind::InformationSystem => parse(template, &spec).map(Asked::System),
        TemplateKind::Subnet => parse(template, &spec).map(Asked::Subnet),
        TemplateKind::Volume => parse(template, &spec).map(Asked::Volume),
        TemplateKind::VirtualMachine => {
            // What a parser says of a value that it does not take quotes the value.
            let init = spec.get("cloudInit").cloned().map(serde_json::from_value);
            if let Some(Err::<CloudInit, _>(_)) = init {
                return Err(Fact::RequestTemplate {
                    object: name_of(template),
                    error:
                        "spec.cloudInit holds something else than userData (text) or secret (name)"
                            .to_owned(),
                });
            }
            parse(template, &spec).map(|vm| Asked::Vm(Box::new(vm)))
        }
    }
}

fn parse<S: DeserializeOwned + Serialize>(template: &Template, spec: &Value) -> Result<S, Fact> {
    let wrong = |error: String| Fact::RequestTemplate {
        object: name_of(template),
        error,
    };
    let parsed: S = serde_json::from_value(spec.clone()).map_err(|e| wrong(e.to_string()))?;
    let understood = serde_json::to_value(&parsed).map_err(|e| wrong(e.to_string()))?;
    match differences(spec, &understood).first() {
        None => Ok(parsed),
        Some(Difference { path, .. }) => Err(wrong(format!("{path} is no field of this kind"))),
    }
}

#[must_use]
pub fn name_of(template: &Template) -> String {
    format!("{:?} {}", template.kind, template.name)
}

/// User-data of a machine may hold passwords, and more people read a request's status, its log lines
/// and its pages than may read how a machine begins: that it differs is told, and never how. Also
/// what does not belong there is not shown: somebody may have written user-data under another name.
const SECRET: &str = "spec.cloudInit";
/// The name of a Secret says nothing of what is in it.
const SECRET_NAME: &str = "spec.cloudInit.secret";

/// One field that is otherwise than it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub is: String,
    pub wanted: String,
}

/// The fields of `wanted` that `is` does not have so. What only `is` has (defaults) is no
/// difference; lists are compared item by item, and must be as long.
#[must_use]
pub fn differences(wanted: &Value, is: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare("spec", wanted, is, &mut found);
    found
}

fn compare(path: &str, wanted: &Value, is: &Value, found: &mut Vec<Difference>) {
    match (wanted, is) {
        (Value::Object(wanted), Value::Object(is)) => {
            for (name, wanted) in wanted {
                let is = is.get(name).unwrap_or(&Value::Null);
                compare(&format!("{path}.{name}"), wanted, is, found);
            }
        }
        (Value::Array(wanted), Value::Array(is)) if wanted.len() == is.len() => {
            for (at, (wanted, is)) in wanted.iter().zip(is).enumerate() {
                compare(&format!("{path}[{at}]"), wanted, is, found);
            }
        }
        // An empty list that is left out is the same.
        (Value::Array(wanted), Value::Null) if wanted.is_empty() => {}
        (wanted, is) if wanted == is => {}
        (wanted, is) => {
            found.push(Difference {
                path: path.to_owned(),
                is: short(&without_secrets(path, is)),
                wanted: short(&without_secrets(path, wanted)),
            });
        }
    }
}

/// The value of a field, without what must not be shown, however deep it is in it.
fn without_secrets(path: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(fields) => {
            let shown = fields.iter().map(|(name, field)| {
                let shown = without_secrets(&format!("{path}.{name}"), field);
                (name.clone(), shown)
            });
            Value::Object(shown.collect())
        }
        _ if path.starts_with(SECRET) && path != SECRET_NAME => {
            Value::String("(not shown)".to_owned())
        }
        plain => plain.clone(),
    }
}

fn short(value: &Value) -> String {
    const MAX: usize = 60;
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
