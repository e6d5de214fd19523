//! The roles of a department's namespace, and who has them.
//!
//! Secrets are the administrators' alone. Leaders answer requests and change nothing else. An operator may change machines, to stop, start and
//! restart them; that he changes nothing else is the department API's to see to.

use std::collections::BTreeMap;

use dc_crds::DEPARTMENT_LABEL;
use dc_crds::department::{Members, Subject as Member, SubjectKind};
use dc_types::DepartmentName;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const RBAC: &str = "rbac.authorization.k8s.io";

/// The roles, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant {
    Administrator,
    Leader,
    Operator,
    Auditor,
}

impl Tenant {
    pub const ALL: [Tenant; 4] = [
        Tenant::Administrator,
        Tenant::Leader,
        Tenant::Operator,
        Tenant::Auditor,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Tenant::Administrator => "tenant-administrator",
            Tenant::Leader => "tenant-leader",
            Tenant::Operator => "tenant-operator",
            Tenant::Auditor => "tenant-auditor",
        }
    }

    fn members(self, members: &Members) -> &[Member] {
        match self {
            Tenant::Administrator => &members.administrators,
            Tenant::Leader => &members.leaders,
            Tenant::Operator => &members.operators,
            Tenant::Auditor => &members.auditors,
        }
    }

    fn rules(self) -> Vec<PolicyRule> {
        const OURS: [&str; 5] = [
            "informationsystems",
            "subnets",
            "virtualmachines",
            "volumes",
            "volumesnapshots",
        ];
        // Made, never changed; what is done is the platform's to remove.
        const BACKUPS: [&str; 3] = ["backups", "machinerestores", "restores"];
        // The platform's to make: what they tell is evidence.
        const PROOFS: [&str; 1] = ["restoreproofs"];
        const REQUESTS: [&str; 2] = ["approvals", "resourcerequests"];
        const READ: [&str; 3] = ["get", "list", "watch"];
        const ALL: [&str; 7] = [
            "get", "list", "watch", "create", "update", "patch", "delete",
        ];
        let events = rule("events.k8s.io", &["events"], &READ);
        let old_events = rule("", &["events"], &READ);
        // The objects are the cluster's: this opens them through the departments' API alone.
        const USAGE: [&str; 1] = ["usagerecords"];
        let read = rule(
            dc_crds::GROUP,
            &[&OURS[..], &REQUESTS, &BACKUPS, &USAGE, &PROOFS].concat(),
            &READ,
        );
        match self {
            Tenant::Administrator => vec![
                rule(dc_crds::GROUP, &OURS, &ALL),
                rule(dc_crds::GROUP, &["approvals"], &READ),
                rule(dc_crds::GROUP, &USAGE, &READ),
                rule(
                    dc_crds::GROUP,
                    &BACKUPS,
                    &["get", "list", "watch", "create"],
                ),
                // What still writes is stopped by it.
                rule(
                    dc_crds::GROUP,
                    &["machinerestores", "restores"],
                    &["delete"],
                ),
                rule(dc_crds::GROUP, &PROOFS, &READ),
                rule(dc_crds::GROUP, &["resourcerequests"], &ALL),
                rule("", &["secrets"], &ALL),
                events,
                old_events,
            ],
            // `approve` is no verb of the API server: its policies ask for it.
            Tenant::Leader => vec![
                read,
                rule(dc_crds::GROUP, &["resourcerequests"], &["approve"]),
                rule(dc_crds::GROUP, &["approvals"], &["create"]),
                events,
                old_events,
            ],
            Tenant::Operator => vec![
                read,
                rule(dc_crds::GROUP, &["virtualmachines"], &["update", "patch"]),
                rule(dc_crds::GROUP, &["backups"], &["create"]),
                events,
                old_events,
            ],
            Tenant::Auditor => vec![
                read,
                rule(RBAC, &["rolebindings", "roles"], &READ),
                events,
                old_events,
            ],
        }
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

fn labels(department: &DepartmentName) -> BTreeMap<String, String> {
    BTreeMap::from([(DEPARTMENT_LABEL.to_owned(), department.to_string())])
}

fn meta(department: &DepartmentName, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(department.to_string()),
        labels: Some(labels(department)),
        ..ObjectMeta::default()
    }
}

#[must_use]
pub fn namespace(department: &DepartmentName) -> Namespace {
    Namespace {
        metadata: ObjectMeta {
            name: Some(department.to_string()),
            labels: Some(labels(department)),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

#[must_use]
pub fn role(department: &DepartmentName, tenant: Tenant) -> Role {
    Role {
        metadata: meta(department, tenant.name()),
        rules: Some(tenant.rules()),
    }
}

#[must_use]
pub fn binding(department: &DepartmentName, tenant: Tenant, members: &Members) -> RoleBinding {
    let subjects = tenant.members(members).iter().map(subject).collect();
    RoleBinding {
        metadata: meta(department, tenant.name()),
        role_ref: RoleRef {
            api_group: Some(RBAC.to_owned()),
            kind: "Role".to_owned(),
            name: tenant.name().to_owned(),
        },
        subjects: Some(subjects),
    }
}

fn subject(member: &Member) -> Subject {
    let Member { kind, name } = member;
    Subject {
        api_group: Some(RBAC.to_owned()),
        kind: match kind {
            SubjectKind::User => "User".to_owned(),
            SubjectKind::Group => "Group".to_owned(),
        },
        name: name.clone(),
        namespace: None,
    }
}

/// Whether the label that makes an object the department's is on it.
#[must_use]
pub fn is_ours(meta: &ObjectMeta, department: &DepartmentName) -> bool {
    let label = meta
        .labels
        .iter()
        .flatten()
        .find(|(key, _)| *key == DEPARTMENT_LABEL);
    label.is_some_and(|(_, value)| value == department.as_str())
}
