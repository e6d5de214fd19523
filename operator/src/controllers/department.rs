//! Department: its namespace with roles and bindings, and its transit network.

use std::collections::BTreeSet;

use dc_crds::{BackupPolicy, Department, Volume};
use dc_operator_core::backup_policy::{selects, works};
use dc_operator_core::claims::Claims;
use dc_operator_core::conditions::Judged;
use dc_operator_core::department::{
    Budget, Counts as Owned, DepartmentPlan, ObjectStep, Seen, plan, status,
};
use dc_operator_core::object;
use dc_operator_core::protection;
use dc_operator_core::words::Fact;
use dc_types::{DepartmentName, ObjectRef};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;

use super::api::{self, ApiError};
use super::look::Look;
use super::settle::{Decision, SettleError, Settled, settle};
use super::status::Counts;
use super::{Context, now, quota};
use crate::stores::{Key, Kind};

pub async fn reconcile(context: &Context, key: &Key) -> Result<Settled, SettleError> {
    let Some(department) = context.stores.departments.get("", &key.name) else {
        context.parts.metrics.forget_quota(&key.name);
        context.wishes.forget(&key.name);
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
            let budget = budget(context, &department, &me.name, claims);
            let seen = Seen {
                department: &department,
                me: &me,
                name: name.as_ref(),
                namespace: read.namespace.as_deref(),
                roles: &read.roles,
                bindings: &read.bindings,
                counts: &read.counts,
                quota: &budget,
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
            tell_budget(context, &me.name, &budget, claims);
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
    // Whatever makes it look here may have changed what it holds.
    context.queue.wake(Key::global(Kind::Showback, &me.name));
    settle(context, key, &department, Kind::Department, |look, _| {
        note_sizes(look, &me.name);
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

fn budget(context: &Context, department: &Department, name: &str, claims: &Claims) -> Budget {
    Budget {
        limits: quota::limits_of(department),
        wishes: context.wishes.recount(context, name, claims),
        classes: quota::classes(context),
    }
}

/// Whoever waits for room and has it now is woken, and the numbers are shown.
fn tell_budget(context: &Context, name: &str, budget: &Budget, claims: &Claims) {
    let admitted = budget.admitted(claims, name);
    quota::wake_admitted(context, name, &admitted);
    let rows = budget.rows(claims, name);
    context.parts.metrics.quota(name, &rows);
}

/// What a department wants changes with the pools and classes that its objects name.
fn note_sizes(look: &mut Look<'_>, name: &str) {
    for pool in look.context.stores.pools.keys(Kind::Pool) {
        look.pool("", &pool.name);
    }
    let vms = look.context.stores.vms.in_namespace(name);
    let classes: BTreeSet<&str> = vms.iter().map(|vm| vm.spec.class.as_str()).collect();
    for class in classes {
        look.class("", class);
    }
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
            unprotected: unprotected(context, name),
            unprotected_volumes: bare_volumes(context, name),
        };
        context.parts.metrics.backups.unprotected(
            name,
            counts.unprotected.len(),
            counts.unprotected_volumes,
        );
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

/// Machines that no policy backs up. Policies are few.
fn unprotected(context: &Context, department: &str) -> Vec<String> {
    let stores = &context.stores;
    let mut policies = stores.backup_policies.all();
    policies.retain(|policy| works(policy));
    let machines = stores.vms.in_namespace(department);
    let bare = machines.iter().filter(|vm| {
        let system = stores.systems.get(department, &vm.spec.system);
        let mut policies = policies.iter();
        !policies.any(|policy| selects(policy, vm, system.as_deref()))
    });
    let mut names: Vec<String> = bare.filter_map(|vm| vm.metadata.name.clone()).collect();
    names.sort();
    names
}

/// Volumes that no policy backs up.
fn bare_volumes(context: &Context, department: &str) -> usize {
    let stores = &context.stores;
    let policies = stores.backup_policies.all();
    let policies: Vec<&BackupPolicy> = policies.iter().map(|one| &**one).collect();
    let machines = stores.vms.in_namespace(department).into_iter().map(|vm| {
        let system = stores.systems.get(department, &vm.spec.system);
        (vm, system)
    });
    let machines: Vec<_> = machines.collect();
    let machines: Vec<_> = machines
        .iter()
        .map(|(vm, of)| (&**vm, of.as_deref()))
        .collect();
    let volumes = stores.volumes.in_namespace(department);
    let volumes: Vec<&Volume> = volumes.iter().map(|one| &**one).collect();
    protection::bare(&protection::Seen {
        policies: &policies,
        machines: &machines,
        volumes: &volumes,
        // When they were last backed up does not matter here.
        backups: &[],
    })
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
            api::apply(
                context,
                "Department",
                &Api::all(client.clone()),
                &**namespace,
            )
            .await
        }
        ObjectStep::ApplyRole(role) => {
            let api = Api::namespaced(client.clone(), &of(&role.metadata));
            api::apply(context, "Department", &api, role).await
        }
        ObjectStep::ApplyBinding(binding) => {
            let api = Api::namespaced(client.clone(), &of(&binding.metadata));
            api::apply(context, "Department", &api, binding).await
        }
        ObjectStep::DeleteNamespace { name, uid } => {
            let api: Api<Namespace> = Api::all(client.clone());
            api::delete(context, "Department", &api, name, Some(uid.clone())).await
        }
        ObjectStep::DeleteBinding { namespace, name } => {
            let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
            api::delete(context, "Department", &api, name, None).await
        }
    }
}
