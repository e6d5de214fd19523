//! Departments: a namespace with its roles, and a transit network.
//!
//! What always holds: a namespace that is not the department's is left alone; nothing the
//! department owns is deleted on its behalf: deletion waits until it owns nothing, and only then
//! does the namespace go.

use std::sync::Arc;

use dc_crds::Department;
use dc_types::{DepartmentName, ObjectRef};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};

use crate::claims::Claims;
use crate::quota::report::Row;
use crate::quota::{self, Limits, PoolClasses, Wish};

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
    pub counts: &'a Counts,
    pub quota: &'a Budget,
    /// What it owns, as `kind name`.
    pub owned: &'a [String],
    pub claims: &'a Claims,
}

/// What its quota is judged from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    pub limits: Limits,
    pub classes: PoolClasses,
    /// What its objects want and do not hold, the oldest first.
    pub wishes: Arc<Vec<Wish>>,
}

impl Budget {
    /// How it stands with each thing.
    #[must_use]
    pub fn rows(&self, claims: &Claims, department: &str) -> Vec<Row> {
        let used = quota::used(claims, department, &self.classes);
        let reserved = quota::wish::reserved(&self.wishes, &self.limits);
        quota::report::rows(&self.limits, &used, &reserved)
    }

    /// The wishes that there is room for now, by their turn.
    #[must_use]
    pub fn admitted(&self, claims: &Claims, department: &str) -> Vec<&Wish> {
        let used = quota::used(claims, department, &self.classes);
        quota::wish::admitted(&self.wishes, &used, &self.limits)
    }
}

/// How many objects of each kind its namespace has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub systems: usize,
    pub machines: usize,
    pub volumes: usize,
    /// Machines that no policy backs up, by name.
    pub unprotected: Vec<String>,
    /// Volumes that no policy backs up.
    pub unprotected_volumes: usize,
}

#[cfg(test)]
mod tests;
