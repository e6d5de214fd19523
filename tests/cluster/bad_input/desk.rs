//! Where input is handed in, and its answers are read as their reader would.

use std::time::Duration;

use dc_crds::condition::types;
use dc_lab::wait::{Look, until};
use dc_operator::operator::Parts;
use dc_operator_core::claims::Claims;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::super::machines::province::{DEPARTMENT, Province};
use super::super::sessions::running::Operator;

/// An answer comes in a moment; a busy machine of two cores takes longer.
const DEADLINE: Duration = Duration::from_secs(300);

pub const OURS: &str = DEPARTMENT;
/// The other department.
pub const THEIRS: &str = "so-tc";

const NEIGHBOURS: &str = "
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Department
metadata: {name: so-tc}
spec: {displayName: {vi: Sở Tài chính, en: Finance}, kind: department}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Zone
metadata: {name: outside}
spec: {type: outside}
---
apiVersion: dc.sonla.gov.vn/v1alpha1
kind: Zone
metadata: {name: bare}
spec: {type: internal}
";

pub const KINDS: [&str; 10] = [
    "VirtualMachine",
    "Volume",
    "Subnet",
    "InformationSystem",
    "Image",
    "StoragePool",
    "MachineClass",
    "Zone",
    "Department",
    "Host",
];

/// Kind, namespace (empty for kinds without one) and name.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a>(pub &'a str, pub &'a str, pub &'a str);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.0, self.1, self.2)
    }
}

/// A machine of our department.
pub fn ours(name: &str) -> Named<'_> {
    Named("VirtualMachine", OURS, name)
}

/// Input and the answer it must get: the reason, and what its message has to say.
pub struct Case<'a> {
    pub object: Named<'a>,
    pub spec: Value,
    pub reason: &'a str,
    pub says: &'a [&'a str],
}

pub struct Desk {
    // Before the province: it has ended when the control plane is handed on.
    pub operator: Option<Operator>,
    pub province: Province,
    pub parts: Parts,
    wrong: Vec<String>,
}

impl Desk {
    pub async fn open() -> Self {
        let mut province = Province::start().await;
        province.place.apply(NEIGHBOURS);
        let operator = province.place.real_operator().await;
        let parts = operator.leading().await;
        province.start_agents().await;
        province.wait_connected().await;
        let mut desk = Self {
            province,
            operator: Some(operator),
            parts,
            wrong: Vec::new(),
        };
        for (department, subnet) in [(OURS, "app"), (THEIRS, "treasury")] {
            desk.wait_object(Named("Department", "", department), "Ready")
                .await;
            if department == THEIRS {
                let names = json!({"vi": "Thuế", "en": "Tax"});
                let system = Named("InformationSystem", THEIRS, "tax");
                desk.put(system, json!({"displayName": names})).await;
                let subnet = Named("Subnet", THEIRS, subnet);
                desk.put(subnet, json!({"zone": "internal"})).await;
            }
            desk.wait_object(Named("Subnet", department, subnet), "Ready")
                .await;
        }
        desk.wait_object(Named("StoragePool", "", "san-1"), "Ready")
            .await;
        desk
    }

    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("dc.sonla.gov.vn", "v1alpha1", kind);
        let lower = kind.to_lowercase();
        let plural = match lower.strip_suffix("ss") {
            Some(_) => format!("{lower}es"),
            None => format!("{lower}s"),
        };
        let resource = ApiResource::from_gvk_with_plural(&gvk, &plural);
        let client = self.province.place.client();
        match namespace {
            "" => Api::all_with(client, &resource),
            namespace => Api::namespaced_with(client, namespace, &resource),
        }
    }

    pub async fn put(&self, object: Named<'_>, spec: Value) -> DynamicObject {
        self.try_put(object, spec)
            .await
            .unwrap_or_else(|error| panic!("{object}: {error}"))
    }

    pub async fn try_put(
        &self,
        Named(kind, namespace, name): Named<'_>,
        spec: Value,
    ) -> Result<DynamicObject, kube::Error> {
        let mut metadata = json!({"name": name});
        if !namespace.is_empty() {
            metadata["namespace"] = json!(namespace);
        }
        let object = json!({"apiVersion": "dc.sonla.gov.vn/v1alpha1", "kind": kind,
                            "metadata": metadata, "spec": spec});
        let object = serde_json::from_value(object).unwrap();
        let api = self.api(kind, namespace);
        api.create(&PostParams::default(), &object).await
    }

    /// What the API server says to a changed spec.
    pub async fn change(
        &self,
        Named(kind, namespace, name): Named<'_>,
        spec: Value,
    ) -> Result<(), String> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let api = self.api(kind, namespace);
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(|error| error.to_string())
    }

    pub async fn delete(&self, Named(kind, namespace, name): Named<'_>) {
        let api = self.api(kind, namespace);
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub async fn get(&self, Named(kind, namespace, name): Named<'_>) -> Option<DynamicObject> {
        self.api(kind, namespace).get_opt(name).await.unwrap()
    }

    /// Hands all in at once, and looks at each answer.
    pub async fn answer(&mut self, cases: &[Case<'_>]) {
        for case in cases {
            self.put(case.object, case.spec.clone()).await;
        }
        for case in cases {
            self.expect(case.object, case.reason, case.says).await;
        }
    }

    /// Waits for the Ready condition to have this reason, and reads its message.
    pub async fn expect(&mut self, object: Named<'_>, reason: &str, says: &[&str]) {
        self.expect_of(object, types::READY, reason, says).await;
    }

    pub async fn expect_of(&mut self, object: Named<'_>, type_: &str, reason: &str, says: &[&str]) {
        let what = format!("{object} to say {reason}");
        let said = until(&what, DEADLINE, async || {
            let found = self.get(object).await;
            let said = found.and_then(|found| condition(&found, type_));
            match said {
                Some((found, message)) if found == reason => match lacks(&message, says) {
                    None => Look::Holds(message),
                    Some(lack) => Look::NotYet(format!("{message:?} does not say {lack:?}")),
                },
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await;
        match said {
            Ok(message) => {
                println!("{object}: {reason}: {message}");
                let poor = poor(&message);
                self.wrong
                    .extend(poor.map(|why| format!("{object}: {why}: {message}")));
            }
            Err(error) => self.check(false, format!("{error:#}")),
        }
    }

    /// Waits for a Ready condition of any reason whose status is True.
    pub async fn wait_object(&mut self, object: Named<'_>, reason: &str) {
        let what = format!("{object} to be ready");
        until(&what, DEADLINE, async || {
            let found = self.get(object).await;
            match found.and_then(|found| condition(&found, types::READY)) {
                Some((found, _)) if found == reason => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }

    /// Waits until an object that is judged as it stands has no such condition.
    pub async fn wait_without(&mut self, object: Named<'_>, type_: &str) {
        let what = format!("{object} to say nothing of {type_}");
        until(&what, DEADLINE, async || {
            let Some(found) = self.get(object).await else {
                return Look::NotYet("it is not there".to_owned());
            };
            let is_judged = condition(&found, types::READY).is_some();
            match condition(&found, type_) {
                None if is_judged => Look::Holds(()),
                other => Look::NotYet(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    }

    pub async fn wait_gone(&mut self, object: Named<'_>) {
        let what = format!("{object} to be gone");
        let gone = until(&what, DEADLINE, async || match self.get(object).await {
            None => Look::Holds(()),
            Some(found) => Look::NotYet(format!(
                "{:?}, {:?}",
                condition(&found, types::READY),
                found.finalizers()
            )),
        });
        gone.await.unwrap();
    }

    /// Something that does not hold, told at the end.
    pub fn check(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            let what = what.into();
            println!("WRONG: {what}");
            self.wrong.push(what);
        }
    }

    pub fn claims(&self) -> Claims {
        self.parts.ledger.with_claims(Clone::clone)
    }

    /// Deletes machines and waits until they are gone.
    pub async fn remove(&mut self, machines: &[&str]) {
        for name in machines {
            self.delete(ours(name)).await;
        }
        for name in machines {
            self.wait_gone(ours(name)).await;
        }
    }

    pub async fn close(mut self) {
        self.province.stop_agents().await;
        if let Some(operator) = self.operator.take() {
            operator.stop().await;
        }
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
    }
}

/// Reason and message of a condition, once it is of the spec that stands.
pub fn condition(object: &DynamicObject, type_: &str) -> Option<(String, String)> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|found| found["type"] == type_)?;
    if found["observedGeneration"].as_i64() != object.metadata.generation {
        return None;
    }
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("reason"), text("message")))
}

fn lacks<'a>(message: &str, says: &[&'a str]) -> Option<&'a str> {
    says.iter().find(|part| !message.contains(**part)).copied()
}

/// What a reader would not put up with.
fn poor(message: &str) -> Option<&'static str> {
    let internals = ["Some(", "None", " { ", "Uuid", "Err(", "Bytes("];
    let Some((english, vietnamese)) = message.split_once(" · ") else {
        return Some("it is in one language");
    };
    let cut_short = |text: &str| text.trim_end().ends_with([':', ',', ';']);
    match () {
        () if internals.iter().any(|word| message.contains(word)) => Some("it shows internals"),
        () if cut_short(english) || cut_short(vietnamese) => Some("it ends in the middle"),
        () if english.len() < 20 => Some("it says next to nothing"),
        () => None,
    }
}

/// The usual machine, with some fields of its spec in place of the usual ones.
pub fn machine(other: Value) -> Value {
    let mut spec = json!({
        "system": "land", "class": "tiny",
        "disks": [{"name": "root",
                   "template": {"pool": "san-1", "size": "1Gi", "reclaim": "Erase"}}],
        "interfaces": [{"subnet": "app"}],
    });
    replace(&mut spec, other);
    spec
}

/// The usual volume.
pub fn volume(other: Value) -> Value {
    let mut spec = json!({"system": "land", "pool": "san-1", "size": "2Gi", "reclaim": "Erase"});
    replace(&mut spec, other);
    spec
}

fn replace(spec: &mut Value, other: Value) {
    let Value::Object(fields) = other else {
        panic!("{other} is not an object");
    };
    for (field, value) in fields {
        spec[field] = value;
    }
}
