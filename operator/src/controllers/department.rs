//! Department: its namespace with roles and bindings, and its transit network.

use dc_operator_core::conditions::Judged;
use dc_operator_core::department::{
    Counts as Owned, DepartmentPlan, ObjectStep, Seen, plan, status,
};
use dc_operator_core::object;
use dc_operator_core::words::Fact;
use dc_types::{DepartmentName, ObjectRef};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;

use super::api::{self, ApiError};
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(department) = context.stores.departments.get("", &key.name) else {
        return Ok(Settled::gone());
    };
    let department = context.reports.latest(department);
    let Some(me) = object::object_ref(&department.metadata) else {
        return Ok(Settled::gone());
    };
    let name = DepartmentName::new(&*key.name).ok();
    let now = now();
    let decide = |refused: &[Fact]| {
        let read = Read::new(context, &me);
        context.parts.ledger.with_claims(|claims| {
            let seen = Seen {
                department: &department,
                me: &me,
                name: name.as_ref(),
                namespace: read.namespace.as_deref(),
                roles: &read.roles,
                bindings: &read.bindings,
                counts: read.counts,
                owned: &read.owned,
                claims,
            };
            let mut plan = plan(&seen);
            plan.plan.found.extend_from_slice(refused);
            let judged = Judged {
                generation: object::generation(&department.metadata),
                now: &now,
            };
            let status = status(&seen, &plan.plan, &judged);
            (plan, status)
        })
    };
    let (DepartmentPlan { objects, plan: _ }, _) = decide(&[]);
    // What is refused is told; it keeps nothing else from being done.
    let mut refused = Vec::new();
    for step in &objects {
        match apply(context, step).await {
            Ok(()) => {}
            Err(ApiError::Refused { what, why }) => {
                refused.push(Fact::ObjectRefused { what, why });
            }
            Err(error @ ApiError::Request { .. }) => return Err(error.into()),
        }
    }
    settle(context, key, &department, Kind::Department, |_, _| {
        let (DepartmentPlan { plan, objects: _ }, status) = decide(&refused);
        Decision {
            plan,
            status: Some(status),
            wake: vec![Key::global(Kind::Network, &key.name)],
            counts: Counts::Some,
        }
    })
    .await
}

/// What its namespace has.
struct Read {
    namespace: Option<std::sync::Arc<Namespace>>,
    roles: Vec<Role>,
    bindings: Vec<RoleBinding>,
    counts: Owned,
    owned: Vec<String>,
}

impl Read {
    fn new(context: &Context, me: &ObjectRef) -> Self {
        let stores = &context.stores;
        let name = &me.name;
        let counts = Owned {
            systems: stores.systems.count_in(name),
            machines: stores.vms.count_in(name),
            volumes: stores.volumes.count_in(name),
        };
        let keys = |kind: &str, names: Vec<Option<String>>| {
            let names = names.into_iter().flatten();
            names
                .map(|name| format!("{kind} {name}"))
                .collect::<Vec<_>>()
        };
        let mut owned = Vec::new();
        macro_rules! own {
            ($shelf:ident, $kind:literal) => {
                let objects = stores.$shelf.in_namespace(name);
                let names = objects.iter().map(|o| o.metadata.name.clone()).collect();
                owned.extend(keys($kind, names));
            };
        }
        own!(vms, "virtualmachine");
        own!(volumes, "volume");
        own!(subnets, "subnet");
        own!(systems, "informationsystem");
        Self {
            namespace: stores.namespaces.get("", name),
            roles: clones(&stores.roles.in_namespace(name)),
            bindings: clones(&stores.bindings.in_namespace(name)),
            counts,
            owned,
        }
    }
}

fn clones<K: Clone>(objects: &[std::sync::Arc<K>]) -> Vec<K> {
    objects.iter().map(|object| K::clone(object)).collect()
}

async fn apply(context: &Context, step: &ObjectStep) -> Result<(), ApiError> {
    let client = &context.parts.client;
    let of = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        meta.namespace.clone().unwrap_or_default()
    };
    match step {
        ObjectStep::ApplyNamespace(namespace) => {
            api::apply(context, &Api::all(client.clone()), &**namespace).await
        }
        ObjectStep::ApplyRole(role) => {
            let api = Api::namespaced(client.clone(), &of(&role.metadata));
            api::apply(context, &api, role).await
        }
        ObjectStep::ApplyBinding(binding) => {
            let api = Api::namespaced(client.clone(), &of(&binding.metadata));
            api::apply(context, &api, binding).await
        }
        ObjectStep::DeleteNamespace { name, uid } => {
            let api: Api<Namespace> = Api::all(client.clone());
            api::delete(context, &api, name, Some(uid.clone())).await
        }
        ObjectStep::DeleteBinding { namespace, name } => {
            let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
            api::delete(context, &api, name, None).await
        }
    }
}
