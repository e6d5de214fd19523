//! The next step of one department.

use dc_types::DepartmentName;
use dc_types::claim::{DepartmentClaim, HeldBy, keys};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use super::Seen;
use super::roles::{Tenant, binding, is_ours, namespace, role};
use crate::object::{self, Life};
use crate::plan::Plan;
use crate::subnet::allocate::free_vni;
use crate::txn::Txn;
use crate::words::Fact;

/// One Kubernetes object to make, put right or delete.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectStep {
    ApplyNamespace(Box<Namespace>),
    ApplyRole(Role),
    ApplyBinding(RoleBinding),
    /// With the uid it was seen with.
    DeleteNamespace {
        name: String,
        uid: String,
    },
    /// A binding that names another role cannot be changed, only made anew.
    DeleteBinding {
        namespace: String,
        name: String,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DepartmentPlan {
    pub plan: Plan,
    /// In this order, before the rest.
    pub objects: Vec<ObjectStep>,
}

impl DepartmentPlan {
    fn only(plan: Plan) -> Self {
        Self {
            plan,
            objects: Vec::new(),
        }
    }
}

#[must_use]
pub fn plan(seen: &Seen<'_>) -> DepartmentPlan {
    let Some(name) = seen.name else {
        return DepartmentPlan::only(Plan::let_go());
    };
    if object::life(&seen.department.metadata) == Life::Deleting {
        return plan_deletion(seen, name);
    }
    if !object::is_held(&seen.department.metadata) {
        return DepartmentPlan::only(Plan::found(Fact::Creating));
    }
    let objects = match plan_objects(seen, name) {
        Ok(objects) => objects,
        Err(fact) => return DepartmentPlan::only(Plan::found(fact)),
    };
    let plan = match seen.claims.departments.get(name) {
        Some(claim) if claim.value.owner.uid == seen.me.uid => Plan::default(),
        Some(claim) => Plan::found(Fact::ClaimOfAnother {
            what: "the transit network".to_owned(),
            uid: claim.value.owner.uid.to_string(),
        }),
        None => match free_vni(seen.claims) {
            None => Plan::found(Fact::VnisUsedUp),
            Some(transit) => {
                let claim = DepartmentClaim {
                    owner: seen.me.clone(),
                    transit,
                };
                let holder = HeldBy {
                    holder: seen.me.uid,
                };
                Plan::claim(
                    Txn::new(format!("department {}: claim", seen.me))
                        .claim(format!("{}{name}", keys::DEPARTMENT), &claim)
                        .claim(keys::vni(transit), &holder),
                )
            }
        },
    };
    DepartmentPlan { plan, objects }
}

/// What is missing or differs of the namespace, its roles and its bindings.
fn plan_objects(seen: &Seen<'_>, name: &DepartmentName) -> Result<Vec<ObjectStep>, Fact> {
    let mut steps = Vec::new();
    match seen.namespace {
        None => steps.push(ObjectStep::ApplyNamespace(Box::new(namespace(name)))),
        Some(there) if object::life(&there.metadata) == Life::Deleting => {
            return Err(Fact::NamespaceDeleting {
                namespace: name.to_string(),
            });
        }
        Some(there) if !is_ours(&there.metadata, name) => {
            return Err(Fact::NamespaceForeign {
                namespace: name.to_string(),
            });
        }
        Some(_) => {}
    }
    for tenant in Tenant::ALL {
        let wanted = role(name, tenant);
        let there = seen
            .roles
            .iter()
            .find(|r| r.metadata.name == wanted.metadata.name);
        let same = there
            .is_some_and(|there| is_ours(&there.metadata, name) && there.rules == wanted.rules);
        if !same {
            steps.push(ObjectStep::ApplyRole(wanted));
        }
        let wanted = binding(name, tenant, &seen.department.spec.members);
        let there = seen
            .bindings
            .iter()
            .find(|b| b.metadata.name == wanted.metadata.name);
        let same = there.is_some_and(|there| {
            is_ours(&there.metadata, name)
                && there.role_ref == wanted.role_ref
                && there.subjects.as_deref().unwrap_or_default()
                    == wanted.subjects.as_deref().unwrap_or_default()
        });
        if !same {
            if there.is_some_and(|there| there.role_ref != wanted.role_ref) {
                steps.push(ObjectStep::DeleteBinding {
                    namespace: name.to_string(),
                    name: tenant.name().to_owned(),
                });
            }
            steps.push(ObjectStep::ApplyBinding(wanted));
        }
    }
    Ok(steps)
}

fn plan_deletion(seen: &Seen<'_>, name: &DepartmentName) -> DepartmentPlan {
    if !seen.owned.is_empty() {
        return DepartmentPlan::only(Plan::found(Fact::StillUsed {
            by: seen.owned.to_vec(),
        }));
    }
    match seen.namespace {
        Some(there) if is_ours(&there.metadata, name) => {
            let deleting = object::life(&there.metadata) == Life::Deleting;
            let objects = match (&there.metadata.uid, deleting) {
                (Some(uid), false) => vec![ObjectStep::DeleteNamespace {
                    name: name.to_string(),
                    uid: uid.clone(),
                }],
                (Some(_) | None, _) => Vec::new(),
            };
            return DepartmentPlan {
                plan: Plan::found(Fact::NamespaceDeleting {
                    namespace: name.to_string(),
                }),
                objects,
            };
        }
        Some(_) | None => {}
    }
    let claim = seen.claims.departments.get(name);
    let mine = claim.filter(|claim| claim.value.owner.uid == seen.me.uid);
    DepartmentPlan::only(match mine {
        None => Plan::let_go(),
        Some(claim) => {
            let key = format!("{}{name}", keys::DEPARTMENT);
            Plan::claim(
                Txn::new(format!("department {}: let go", seen.me))
                    .unchanged(key.clone(), claim.revision)
                    .delete(key)
                    .delete(keys::vni(claim.value.transit)),
            )
        }
    })
}
