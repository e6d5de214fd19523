//! Who may do what: the operator's own rights, and what everybody may look up, from tables.
//! The roles of a department are the operator's to make: `operator/core/src/department/roles.rs`.

use anyhow::Result;
use serde_json::{Value, json};

use super::{Files, HEADER};

const DC: &str = "dc.sonla.gov.vn";
const RBAC: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const KEEP: &[&str] = &[
    "get", "list", "watch", "create", "patch", "update", "delete",
];
const ALL: &[&str] = &[
    "get", "list", "watch", "create", "update", "patch", "delete",
];

const CLUSTER_KINDS: &[&str] = &[
    "departments",
    "hosts",
    "zones",
    "storagepools",
    "images",
    "machineclasses",
    "requestpolicies",
    "backuprepositories",
    "backuppolicies",
];
const NAMESPACED_KINDS: &[&str] = &[
    "informationsystems",
    "virtualmachines",
    "volumes",
    "volumesnapshots",
    "subnets",
    "resourcerequests",
    "approvals",
    "backups",
    "restores",
    "machinerestores",
    "restoreproofs",
];
/// What everybody who signs in may look up before asking for something.
const CATALOGUE: &[&str] = &[
    "zones",
    "storagepools",
    "images",
    "machineclasses",
    "backuprepositories",
    "backuppolicies",
];
/// The roles that the operator makes in each department's namespace. Of these it may hand out what
/// it does not have itself; of no other.
const TENANT_ROLES: &[&str] = &[
    "tenant-administrator",
    "tenant-leader",
    "tenant-operator",
    "tenant-auditor",
];

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn with(resources: &[&str], suffix: &str) -> Vec<String> {
    resources.iter().map(|r| format!("{r}/{suffix}")).collect()
}

fn cluster_role(name: &str, rules: &[Value]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
           "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: Value, subjects: Value, namespace: bool) -> Value {
    let mut metadata = json!({"name": name});
    if namespace {
        metadata["namespace"] = json!("{{ .Release.Namespace }}");
    }
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
           "roleRef": role, "subjects": subjects})
}

fn role_ref(kind: &str, name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name})
}

fn operator() -> Vec<Value> {
    let kinds: Vec<&str> = [CLUSTER_KINDS, NAMESPACED_KINDS].concat();
    let status: Vec<String> = with(&kinds, "status");
    let status: Vec<&str> = status.iter().map(String::as_str).collect();
    let finalizers: Vec<String> = with(&kinds, "finalizers");
    let finalizers: Vec<&str> = finalizers.iter().map(String::as_str).collect();
    let rules = [
        rule(DC, &kinds, READ),
        // Takes its finalizer off.
        rule(DC, &kinds, &["patch", "update"]),
        rule(DC, &status, &["patch", "update"]),
        rule(DC, &finalizers, &["update"]),
        // Evidence: made once, looked at, and never changed or deleted.
        rule(DC, &["erasurecertificates"], &["get", "create"]),
        // Records of what departments hold: they stay.
        rule(DC, &["usagerecords"], &["get", "list", "create", "patch"]),
        rule(DC, &["usagerecords/status"], &["patch"]),
        // Volumes from a machine's templates, and for restores.
        rule(DC, &["volumes"], &["create", "delete"]),
        // What is due by a policy, and the volumes of a machine that is restored.
        rule(DC, &["backups", "restores", "restoreproofs"], &["create"]),
        // What was there before a restore in place.
        rule(DC, &["volumesnapshots"], &["create"]),
        // What was granted, and machines that are restored.
        rule(
            DC,
            &["informationsystems", "subnets", "virtualmachines"],
            &["create"],
        ),
        // A department's namespace, roles and bindings.
        rule("", &["namespaces"], KEEP),
        rule(RBAC, &["rolebindings", "roles"], KEEP),
        json!({"apiGroups": [RBAC], "resources": ["roles"], "verbs": ["bind", "escalate"],
               "resourceNames": TENANT_ROLES}),
        // cloud-init's user-data, one by name; never listed.
        rule("", &["secrets"], &["get"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        rule("", &["events"], &["create", "patch"]),
    ];
    // Its own keys, certificates and join tokens.
    let own = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
    "metadata": {"name": "dc-operator", "namespace": "{{ .Release.Namespace }}"},
    "rules": [
        rule("", &["configmaps", "secrets"], ALL),
        // Sandboxes, in which backups are tried. Nowhere else may it delete a machine.
        rule(DC, &["restores", "virtualmachines", "volumes"], &["create", "delete"]),
    ]});
    let account = json!([{"kind": "ServiceAccount", "name": "dc-operator",
                          "namespace": "{{ .Release.Namespace }}"}]);
    vec![
        cluster_role("dc-operator", &rules),
        binding(
            "ClusterRoleBinding",
            "dc-operator",
            role_ref("ClusterRole", "dc-operator"),
            account.clone(),
            false,
        ),
        own,
        binding(
            "RoleBinding",
            "dc-operator",
            role_ref("Role", "dc-operator"),
            account,
            true,
        ),
    ]
}

fn everybody() -> Vec<Value> {
    vec![
        // For auditors: bound to nobody until the platform's administrators say to whom.
        cluster_role(
            "dc-evidence-reader",
            &[rule(DC, &["erasurecertificates"], READ)],
        ),
        cluster_role("dc-catalogue-reader", &[rule(DC, CATALOGUE, READ)]),
        binding(
            "ClusterRoleBinding",
            "dc-catalogue-reader",
            role_ref("ClusterRole", "dc-catalogue-reader"),
            json!([{"apiGroup": RBAC, "kind": "Group", "name": "system:authenticated"}]),
            false,
        ),
    ]
}

/// What the departments' API shows.
const SERVED_KINDS: &[&str] = &[
    "departments",
    "informationsystems",
    "virtualmachines",
    "volumes",
    "volumesnapshots",
    "subnets",
    "resourcerequests",
    "approvals",
    "images",
    "machineclasses",
    "storagepools",
    "zones",
    "backups",
    "restores",
    "machinerestores",
    "restoreproofs",
    "backuppolicies",
    "backuprepositories",
];
/// What departments may change through the API. It may do so as somebody only: of all that a user
/// may do, these verbs on these kinds, and never as Kubernetes' own users (constrained
/// impersonation). By itself it may look, ask for reviews, and nothing else.
const WRITTEN_KINDS: &[(&[&str], &[&str])] = &[
    (
        &["virtualmachines", "volumes"],
        &["create", "delete", "get", "patch"],
    ),
    (&["volumesnapshots"], &["create", "delete", "get"]),
    (&["resourcerequests"], &["create", "get", "patch"]),
    // A restore is stopped by deleting it; what is done is the platform's to remove.
    (&["backups", "restoreproofs"], &["create", "get"]),
    (
        &["restores", "machinerestores"],
        &["create", "delete", "get"],
    ),
    // An answer is never changed.
    (&["approvals"], &["create", "get"]),
];

fn as_a_user(kinds: &[&str], verbs: &[&str]) -> Value {
    let verbs = verbs.iter();
    let verbs: Vec<String> = verbs
        .map(|verb| format!("impersonate-on:user-info:{verb}"))
        .collect();
    let verbs: Vec<&str> = verbs.iter().map(String::as_str).collect();
    rule(DC, kinds, &verbs)
}

fn api() -> Vec<Value> {
    let mut rules = vec![
        rule(DC, SERVED_KINDS, READ),
        rule(DC, &["usagerecords"], &["list"]),
        rule(
            "authorization.k8s.io",
            &["subjectaccessreviews"],
            &["create"],
        ),
        rule(
            "authentication.k8s.io",
            &["groups", "users"],
            &["impersonate:user-info"],
        ),
        rule(
            "events.k8s.io",
            &["events"],
            &["impersonate-on:user-info:list"],
        ),
    ];
    let written = WRITTEN_KINDS.iter();
    rules.extend(written.map(|(kinds, verbs)| as_a_user(kinds, verbs)));
    // The lists of people, which it watches, and of prices.
    let own = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "dc-api", "namespace": "{{ .Release.Namespace }}"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"],
                   "resourceNames": ["dc-api-people"], "verbs": READ},
                  {"apiGroups": [""], "resources": ["configmaps"],
                   "resourceNames": ["dc-api-prices"], "verbs": ["get"]}]});
    let account = json!([{"kind": "ServiceAccount", "name": "dc-api",
                          "namespace": "{{ .Release.Namespace }}"}]);
    vec![
        cluster_role("dc-api", &rules),
        binding(
            "ClusterRoleBinding",
            "dc-api",
            role_ref("ClusterRole", "dc-api"),
            account.clone(),
            false,
        ),
        own,
        binding(
            "RoleBinding",
            "dc-api",
            role_ref("Role", "dc-api"),
            account,
            true,
        ),
    ]
}

/// Roles of the province, bound to groups of the identity provider by its administrator: the
/// operator of the centre, who grants, and the auditor, who reads. Neither reads Secrets.
fn province() -> Vec<Value> {
    let kinds: Vec<&str> = [CLUSTER_KINDS, NAMESPACED_KINDS].concat();
    let read = [
        rule(DC, &kinds, READ),
        rule(DC, &["usagerecords"], READ),
        rule("events.k8s.io", &["events"], READ),
        rule("", &["events", "namespaces"], READ),
    ];
    let mut centre = read.to_vec();
    centre.push(rule(DC, &["resourcerequests"], &["grant"]));
    centre.push(rule(DC, &["approvals"], &["create"]));
    let mut auditor = read.to_vec();
    auditor.push(rule(RBAC, &["rolebindings", "roles"], READ));
    vec![
        cluster_role("dc-centre", &centre),
        cluster_role("dc-auditor", &auditor),
    ]
}

pub fn add(files: &mut Files) -> Result<()> {
    for (name, objects) in [
        ("operator", operator()),
        ("api", api()),
        ("everybody", everybody()),
        ("province", province()),
    ] {
        let mut text = HEADER.to_owned();
        for object in objects {
            text.push_str("---\n");
            text.push_str(&serde_norway::to_string(&object)?);
        }
        files.insert(
            format!("charts/datacenter/templates/access/{name}.yaml").into(),
            text,
        );
    }
    Ok(())
}
