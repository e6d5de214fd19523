//! Departments: a namespace with its roles, and a transit network.
//!
//! What always holds: a namespace that is not the department's is left alone; nothing the
//! department owns is deleted on its behalf: deletion waits until it owns nothing, and only then
//! does the namespace go.

use dc_crds::Department;
use dc_types::{DepartmentName, ObjectRef};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use crate::claims::Claims;

pub mod plan;
pub mod roles;
pub mod status;

pub use plan::{DepartmentPlan, ObjectStep, plan};
pub use status::status;

/// What was read for one department.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub department: &'a Department,
    pub me: &'a ObjectRef,
    /// `None` when the object's name cannot be a namespace's; the schema refuses such.
    pub name: Option<&'a DepartmentName>,
    pub namespace: Option<&'a Namespace>,
    pub roles: &'a [Role],
    pub bindings: &'a [RoleBinding],
    pub counts: Counts,
    /// What it owns, as `kind name`.
    pub owned: &'a [String],
    pub claims: &'a Claims,
}

/// How many objects of each kind its namespace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub systems: usize,
    pub machines: usize,
    pub volumes: usize,
}

#[cfg(test)]
mod tests;
