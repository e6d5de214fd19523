//! Requests: what a department asks for, handed in, withdrawn; where it is, with whom, since when.

use dc_crds::ResourceRequest;
use dc_crds::lease::Lease;
use dc_crds::request::{
    self, Phase, ResourceRequestSpec, ResourceRequestStatus, Template, TemplateKind, WantedPhase,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::approvals::DecisionRole;
use super::{Change, Create, Facts, Kind, Patch, named, view};
use crate::rights::{Person, Resource};
use dc_audit::chain::hex;

pub struct Requests;

/// A wish for objects of the department.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ResourceRequest)]
pub struct RequestView {
    #[serde(flatten)]
    pub meta: view::Meta,
    /// What its authors want of it.
    pub wanted: Wanted,
    /// Where it is: Draft, Submitted, Approved, Rejected, Withdrawn, Granted or Provisioned.
    pub state: String,
    /// With whom it is now: authors, leader, centre, operator, or nobody.
    pub waits_for: String,
    /// RFC 3339: since when it is in this state.
    pub since: Option<String>,
    /// Why it is needed.
    pub reason: String,
    pub document: Option<Document>,
    /// The day by which it is needed.
    pub needed_by: Option<String>,
    /// RFC 3339: until when its machines may run.
    pub lease_until: Option<String>,
    /// What is to be there. Of cloud-init's user data its digest is shown.
    pub objects: Vec<Wish>,
    /// Everybody who wrote in it; none of them may answer it.
    pub authors: Vec<String>,
    /// Of all that is decided on; an answer names it. Empty until the operator has read it.
    pub hash: String,
    /// Whose answers the policies ask for.
    pub needs: Vec<DecisionRole>,
    /// What would be otherwise than it is, one line for each field.
    pub changes: Vec<String>,
    /// Every step, the oldest first.
    pub history: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Wanted {
    /// Nobody's work yet.
    #[default]
    Draft,
    /// Handed in.
    Submitted,
    /// Taken back, for good.
    Withdrawn,
}

impl Wanted {
    fn of(phase: WantedPhase) -> Self {
        match phase {
            WantedPhase::Draft => Self::Draft,
            WantedPhase::Submitted => Self::Submitted,
            WantedPhase::Withdrawn => Self::Withdrawn,
        }
    }

    fn spec(self) -> WantedPhase {
        match self {
            Self::Draft => WantedPhase::Draft,
            Self::Submitted => WantedPhase::Submitted,
            Self::Withdrawn => WantedPhase::Withdrawn,
        }
    }
}

/// An official document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// Such as 123/TTr-SNNMT.
    #[schema(min_length = 1, max_length = 128)]
    pub number: String,
    /// Such as 2027-01-15.
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length = 10)]
    pub date: String,
    /// Who issued it.
    #[schema(min_length = 1, max_length = 512)]
    pub issuer: String,
}

impl Document {
    fn spec(self) -> request::Document {
        let Self {
            number,
            date,
            issuer,
        } = self;
        request::Document {
            number,
            date,
            issuer,
        }
    }
}

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wish {
    pub kind: WishKind,
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    /// As in a manifest of the kind; checked before anybody decides.
    #[schema(value_type = Object)]
    pub spec: Map<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum WishKind {
    InformationSystem,
    Subnet,
    Volume,
    VirtualMachine,
}

impl Wish {
    fn of(template: &Template) -> Self {
        let Template { kind, name, spec } = template;
        Self {
            kind: match kind {
                TemplateKind::InformationSystem => WishKind::InformationSystem,
                TemplateKind::Subnet => WishKind::Subnet,
                TemplateKind::Volume => WishKind::Volume,
                TemplateKind::VirtualMachine => WishKind::VirtualMachine,
            },
            name: name.clone(),
            spec: spec.clone(),
        }
        .without_secrets()
    }

    fn spec(self) -> Template {
        let Self { kind, name, spec } = self;
        Template {
            kind: match kind {
                WishKind::InformationSystem => TemplateKind::InformationSystem,
                WishKind::Subnet => TemplateKind::Subnet,
                WishKind::Volume => TemplateKind::Volume,
                WishKind::VirtualMachine => TemplateKind::VirtualMachine,
            },
            name,
            spec,
        }
    }

    /// User data may hold passwords: its digest tells whether it is the same.
    fn without_secrets(mut self) -> Self {
        hide_user_data(&mut self.spec);
        self
    }
}

fn hide_user_data(spec: &mut Map<String, Value>) {
    let user_data = spec
        .get_mut("cloudInit")
        .and_then(|init| init.get_mut("userData"));
    if let Some(user_data) = user_data {
        let text = match user_data.as_str() {
            Some(text) => text.to_owned(),
            None => user_data.to_string(),
        };
        *user_data = json!({ "sha256": hex(&Sha256::digest(text)) });
    }
}

/// One step of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The state that it led to.
    pub state: String,
    /// The user, or the policies that ask for nobody.
    pub by: String,
    /// RFC 3339.
    pub at: String,
    pub why: String,
}

/// A request to be written.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewResourceRequest {
    #[schema(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", max_length = 63)]
    pub name: String,
    #[serde(default)]
    pub wanted: Wanted,
    /// Why it is needed, for those who decide.
    #[schema(min_length = 1, max_length = 4096)]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// Such as 2027-03-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length = 10)]
    pub needed_by: Option<String>,
    /// RFC 3339: until when its machines may run; each gets it that states none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, max_length = 40)]
    pub lease_until: Option<String>,
    /// New objects, or those of the department that are to be otherwise.
    #[schema(min_items = 1, max_items = 64)]
    pub objects: Vec<Wish>,
}

/// What may change, until it is decided on; at least one of them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(min_properties = 1)]
pub struct ResourceRequestChange {
    /// To hand it in, to take it back for writing, or to withdraw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 4096)]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", max_length = 10)]
    pub needed_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, max_length = 40)]
    pub lease_until: Option<String>,
    /// All of them, also those that stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub objects: Option<Vec<Wish>>,
}

/// As lists are filtered by it, and as people are told it.
#[must_use]
pub fn state_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Draft => "Draft",
        Phase::Submitted => "Submitted",
        Phase::Approved => "Approved",
        Phase::Rejected => "Rejected",
        Phase::Withdrawn => "Withdrawn",
        Phase::Granted => "Granted",
        Phase::Provisioned => "Provisioned",
    }
}

impl Kind for Requests {
    type Object = ResourceRequest;
    type View = RequestView;
    const RESOURCE: Resource = Resource {
        group: dc_crds::GROUP,
        plural: "resourcerequests",
    };

    fn view(object: &ResourceRequest) -> RequestView {
        let ResourceRequestSpec {
            phase: wanted,
            reason,
            document,
            needed_by,
            lease,
            objects,
            authors,
        } = object.spec.clone();
        let ResourceRequestStatus {
            conditions,
            phase,
            hash,
            approved_hash: _,
            needs,
            waits_for,
            since,
            changes,
            history,
        } = object.status.clone().unwrap_or_default();
        let document = document.map(|document| Document {
            number: document.number,
            date: document.date,
            issuer: document.issuer,
        });
        let history = history.into_iter().map(|step| Step {
            state: state_name(step.phase).to_owned(),
            by: step.by,
            at: step.at,
            why: step.why,
        });
        RequestView {
            meta: view::meta(&object.metadata, &conditions),
            wanted: Wanted::of(wanted),
            state: state_name(phase).to_owned(),
            waits_for,
            since,
            reason,
            document,
            needed_by,
            lease_until: lease.map(|lease| lease.until),
            objects: objects.iter().map(Wish::of).collect(),
            authors,
            hash,
            needs: needs.into_iter().map(DecisionRole::of).collect(),
            changes,
            history: history.collect(),
        }
    }

    fn meta(object: &ResourceRequest) -> view::Meta {
        let status = object.status.as_ref();
        view::meta(
            &object.metadata,
            status.map_or(&[], |status| &status.conditions),
        )
    }

    fn facts(object: &ResourceRequest) -> Facts<'_> {
        let phase = object.status.as_ref().map(|status| status.phase);
        Facts {
            system: None,
            state: Some(state_name(phase.unwrap_or_default())),
            virtual_machine: None,
        }
    }
}

impl Create for Requests {
    type New = NewResourceRequest;

    fn name(new: &NewResourceRequest, _: &Person) -> String {
        new.name.clone()
    }

    fn object(department: &str, name: &str, new: NewResourceRequest) -> ResourceRequest {
        let NewResourceRequest {
            name: _,
            wanted,
            reason,
            document,
            needed_by,
            lease_until,
            objects,
        } = new;
        let spec = ResourceRequestSpec {
            phase: wanted.spec(),
            reason,
            document: document.map(Document::spec),
            needed_by,
            lease: lease_until.map(Lease::until),
            objects: objects.into_iter().map(Wish::spec).collect(),
            // The API server writes them.
            authors: Vec::new(),
        };
        let mut request = ResourceRequest::new("", spec);
        request.metadata = named(department, name);
        request
    }

    fn audited(new: &NewResourceRequest) -> Value {
        let mut new = new.clone();
        let objects = new.objects.into_iter().map(Wish::without_secrets);
        new.objects = objects.collect();
        json!(new)
    }
}

impl Change for Requests {
    type Change = ResourceRequestChange;

    fn patch(change: ResourceRequestChange) -> Patch {
        let ResourceRequestChange {
            wanted,
            reason,
            document,
            needed_by,
            lease_until,
            objects,
        } = change;
        let objects: Option<Vec<Template>> =
            objects.map(|objects| objects.into_iter().map(Wish::spec).collect());
        let fields = [
            ("phase", wanted.map(|wanted| json!(wanted.spec()))),
            ("reason", reason.map(|reason| json!(reason))),
            ("document", document.map(|document| json!(document))),
            ("neededBy", needed_by.map(|day| json!(day))),
            ("lease", lease_until.map(|until| json!({ "until": until }))),
            ("objects", objects.map(|objects| json!(objects))),
        ];
        let spec: Map<String, Value> = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        Patch {
            spec: Value::Object(spec),
            needs: None,
        }
    }

    fn audited_change(spec: &Value) -> Value {
        let mut audited = spec.clone();
        let objects = audited.get_mut("objects").and_then(Value::as_array_mut);
        for object in objects.into_iter().flatten() {
            if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
                hide_user_data(spec);
            }
        }
        audited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> NewResourceRequest {
        let value = json!({
            "name": "portal", "wanted": "Submitted", "reason": "land records",
            "document": {"number": "12/TTr", "date": "2027-01-15", "issuer": "so-nnmt"},
            "leaseUntil": "2029-12-31T17:00:00Z",
            "objects": [{"kind": "VirtualMachine", "name": "web", "spec": {
                "cloudInit": {"userData": "#! a-password"}, "class": "small"}}],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn neither_the_view_nor_the_audit_log_shows_user_data() {
        let audited = Requests::audited(&new()).to_string();
        let object = Requests::object("so-nnmt", "portal", new());
        let view = serde_json::to_string(&Requests::view(&object)).unwrap();
        let change = Requests::patch(ResourceRequestChange {
            objects: Some(new().objects),
            ..ResourceRequestChange::default()
        });
        let changed = Requests::audited_change(&change.spec).to_string();
        for text in [audited, view, changed] {
            assert!(!text.contains("a-password"), "{text}");
            assert!(text.contains("sha256") && text.contains("small"), "{text}");
        }
        // What is built gets it, of course.
        assert!(change.spec.to_string().contains("a-password"));
        assert!(json!(object).to_string().contains("a-password"));
    }

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let submit = json!({"wanted": "Withdrawn"});
        let patch = Requests::patch(serde_json::from_value(submit).unwrap());
        assert_eq!(patch.spec, json!({"phase": "Withdrawn"}));
    }

    #[test]
    fn nobody_names_its_authors_or_its_state() {
        for field in [
            "authors",
            "status",
            "state",
            "hash",
            "approvedHash",
            "phase",
        ] {
            let mut sent = json!(new());
            sent[field] = json!([]);
            let read: Result<NewResourceRequest, _> = serde_json::from_value(sent);
            assert!(read.is_err(), "{field}");
        }
    }
}
