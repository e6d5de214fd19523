//! ResourceRequest: what a department asks for, who answered, and what became of it.

use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Condition;
use crate::lease::Lease;

/// A wish for objects of the department, decided by those whom policies name. What was granted is
/// built, and nothing else.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "ResourceRequest",
    namespaced,
    status = "ResourceRequestStatus",
    shortname = "rreq",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Phase","type":"string","jsonPath":".status.phase"}"#,
    printcolumn = r#"{"name":"Waits for","type":"string","jsonPath":".status.waitsFor"}"#,
    printcolumn = r#"{"name":"Since","type":"date","jsonPath":".status.since"}"#,
    printcolumn = r#"{"name":"Needed by","type":"string","jsonPath":".spec.neededBy"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("oldSelf.phase != 'Withdrawn' || self.phase == 'Withdrawn'").message("phase: a request that was withdrawn stays so; write another one"))]
pub struct ResourceRequestSpec {
    /// What its authors want of it: a draft is nobody's work yet.
    #[serde(default)]
    pub phase: WantedPhase,
    /// Why it is needed, for those who decide.
    #[schemars(length(min = 1, max = 4096))]
    pub reason: String,
    /// The official document that asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Document>,
    /// The day by which it is needed, such as 2027-03-01.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), length(max = 10))]
    pub needed_by: Option<String>,
    /// Until when its machines may run; each gets it that states none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// What is to be there: new objects, or those of the department that are to be otherwise.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub objects: Vec<Template>,
    /// Everybody who wrote in it; put there by the API server, not by them.
    #[serde(default)]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    pub authors: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WantedPhase {
    #[default]
    Draft,
    Submitted,
    Withdrawn,
}

/// An official document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Such as 123/TTr-SNNMT.
    #[schemars(length(min = 1, max = 128))]
    pub number: String,
    /// Such as 2027-01-15.
    #[schemars(regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"), length(max = 10))]
    pub date: String,
    /// Who issued it.
    #[schemars(length(min = 1, max = 512))]
    pub issuer: String,
}

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Of the kinds a department may ask for.
    pub kind: TemplateKind,
    /// Its name in the department's namespace.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub name: String,
    /// As in an object of the kind; checked against it before anybody decides.
    #[schemars(schema_with = "any_object")]
    pub spec: Map<String, Value>,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "description": "As in an object of the kind; checked against it before anybody decides.",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TemplateKind {
    InformationSystem,
    Subnet,
    Volume,
    VirtualMachine,
}

/// Where a request is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    #[default]
    Draft,
    Submitted,
    Approved,
    Rejected,
    Withdrawn,
    Granted,
    Provisioned,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRequestStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub phase: Phase,
    /// Of all that is decided on: SHA-256, lower-case hexadecimal. An Approval names it.
    #[serde(default)]
    pub hash: String,
    /// The hash that was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_hash: Option<String>,
    /// Whose approval policies ask for, for this wish.
    #[serde(default)]
    pub needs: Vec<DecisionRole>,
    /// With whom it is now.
    #[serde(default)]
    pub waits_for: String,
    /// Since when it is in its phase, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What would be otherwise than it is, one line for each field.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Every step, the oldest first.
    #[serde(default)]
    pub history: Vec<Step>,
}

/// One step of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub phase: Phase,
    /// The user, or the policies that ask for nobody.
    pub by: String,
    /// RFC 3339.
    pub at: String,
    pub why: String,
}

/// As whom somebody decides.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DecisionRole {
    /// The department's leader: who may `approve` its ResourceRequests.
    Leader,
    /// The operator of the centre: who may `grant` them.
    Centre,
}

/// One person's answer to one request as it stood. It is never changed.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "Approval",
    namespaced,
    status = "ApprovalStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Request","type":"string","jsonPath":".spec.request"}"#,
    printcolumn = r#"{"name":"Verdict","type":"string","jsonPath":".spec.verdict"}"#,
    printcolumn = r#"{"name":"As","type":"string","jsonPath":".spec.role"}"#,
    printcolumn = r#"{"name":"Approver","type":"string","jsonPath":".spec.approver"}"#,
    printcolumn = r#"{"name":"Counts","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("an answer is never changed; write another Approval"))]
pub struct ApprovalSpec {
    /// The ResourceRequest of the same namespace.
    #[schemars(
        regex(pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
        length(max = 63)
    )]
    pub request: String,
    /// Its uid, so that it is not taken for an answer to a later request of the name.
    #[schemars(regex(pattern = "^[0-9a-f-]{36}$"), length(max = 36))]
    pub request_uid: String,
    /// `status.hash` of the request that was read.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"), length(max = 64))]
    pub hash: String,
    /// As whom it is given.
    pub role: DecisionRole,
    /// The answer.
    pub verdict: Verdict,
    /// Put there by the API server: who asks it to write this.
    #[serde(default)]
    #[schemars(length(max = 253))]
    pub approver: String,
    /// For the department and for the record.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    Approve,
    Reject,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Which wishes need whose approval. Rules of all policies add up; a department that no policy
/// names needs both for everything.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "dc.sonla.gov.vn",
    version = "v1alpha1",
    kind = "RequestPolicy",
    status = "RequestPolicyStatus",
    category = "dc",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')").message("metadata.name: a DNS label: a-z, 0-9 and -, at most 63"),
    printcolumn = r#"{"name":"Departments","type":"string","jsonPath":".spec.departments"}"#,
    printcolumn = r#"{"name":"Needs","type":"string","jsonPath":".spec.rules[*].needs"}"#,
    printcolumn = r#"{"name":"Above percent","type":"string","jsonPath":".spec.rules[*].when.aboveQuotaPercent"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct RequestPolicySpec {
    /// Departments it is for; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)))]
    pub departments: Vec<String>,
    /// Each rule that applies adds whom it names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<PolicyRule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRule {
    /// All that is named here must be so; without anything it always applies.
    #[serde(default)]
    pub when: When,
    /// Whose approval is then needed.
    #[schemars(length(min = 1, max = 2))]
    pub needs: Vec<DecisionRole>,
}

/// What a wish is like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// With it the department holds or waits for more than this share of some limit of its quota.
    /// Without a limit there is no share, and the rule applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub above_quota_percent: Option<u32>,
    /// A machine of it publishes something to the outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<Exposure>,
    /// A system of it has at least this security level, or none determined yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 5))]
    pub security_level: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Exposure {
    Public,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestPolicyStatus {
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
