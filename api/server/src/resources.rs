//! The kinds that the API serves: one file each, one table for routes and for the OpenAPI document.
//!
//! A kind says how it looks ([`Kind`]), and, where departments may, how it is made ([`Create`]) and
//! changed ([`Change`]). Handlers, document, audit and changes to follow come from the table: a new
//! kind is one more file and one more line in [`all`].

pub mod approvals;
pub mod backups;
pub mod catalogue;
pub mod departments;
pub mod events;
pub mod machine_restores;
pub mod machines;
pub mod policies;
pub mod proofs;
pub mod protection;
pub mod requests;
pub mod restores;
pub mod showback;
pub mod snapshots;
pub mod subnets;
pub mod systems;
pub mod view;
pub mod volumes;

use std::fmt::Debug;

use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::door::Caller;
use crate::problem::Problem;
use crate::rights::{Person, Resource, Verb};

/// A kind that belongs to departments.
pub trait Kind: Send + Sync + 'static {
    type Object: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static;
    type View: Serialize + ToSchema + Send;
    const RESOURCE: Resource;

    fn view(object: &Self::Object) -> Self::View;
    fn meta(object: &Self::Object) -> view::Meta;
    fn facts(object: &Self::Object) -> Facts<'_>;
}

/// What lists are filtered by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    pub system: Option<&'a str>,
    pub state: Option<&'a str>,
    /// The machine that it is of.
    pub virtual_machine: Option<&'a str>,
}

/// A kind that departments may make.
pub trait Create: Kind {
    type New: DeserializeOwned + ToSchema + Send + Sync;

    /// What a refusal to make one says that was not allowed.
    const REFUSED_AS: Verb = Verb::Create;

    fn name(new: &Self::New, person: &Person) -> String;
    fn object(department: &str, name: &str, new: Self::New) -> Self::Object;
    /// What the audit log keeps: everything but secrets.
    fn audited(new: &Self::New) -> Value;

    /// What it needs beside the right to make one.
    fn also(_new: &Self::New) -> Option<Also> {
        None
    }

    /// With what it leaves to be found out: what is there says the rest.
    fn completed(new: Self::New, _app: &App, _department: &str) -> Self::New {
        new
    }

    /// What can be said against it without asking the API server, which has the last word.
    fn judge(_new: &Self::New, _app: &App, _caller: &Caller, _at: &str) -> Result<(), Problem> {
        Ok(())
    }
}

/// A right in the same department.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    pub verb: Verb,
    pub resource: Resource,
    pub name: String,
}

/// A kind that departments may change.
pub trait Change: Kind {
    type Change: DeserializeOwned + ToSchema + Send;

    /// What is to become of the spec, as a JSON merge patch (RFC 7396), and what of it needs more
    /// than the right to change.
    fn patch(change: Self::Change) -> Patch;

    /// What the audit log keeps of it: everything but secrets.
    fn audited_change(spec: &Value) -> Value {
        spec.clone()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Patch {
    pub spec: Value,
    /// Beside [`Verb::Patch`].
    pub needs: Option<Verb>,
}

/// What is made of the table.
pub trait Table {
    /// List, get, and the place in the stream of changes.
    fn read<K: Kind>(&mut self);
    fn create<K: Create>(&mut self);
    fn change<K: Change>(&mut self);
    fn delete<K: Kind>(&mut self);
}

pub fn all(table: &mut impl Table) {
    table.read::<systems::Systems>();
    table.read::<machines::Machines>();
    table.create::<machines::Machines>();
    table.change::<machines::Machines>();
    table.delete::<machines::Machines>();
    table.read::<volumes::Volumes>();
    table.create::<volumes::Volumes>();
    table.change::<volumes::Volumes>();
    table.delete::<volumes::Volumes>();
    table.read::<subnets::Subnets>();
    table.read::<snapshots::Snapshots>();
    table.create::<snapshots::Snapshots>();
    table.delete::<snapshots::Snapshots>();
    table.read::<backups::Backups>();
    table.create::<backups::Backups>();
    table.read::<restores::Restores>();
    table.create::<restores::Restores>();
    table.delete::<restores::Restores>();
    table.read::<machine_restores::MachineRestores>();
    table.create::<machine_restores::MachineRestores>();
    table.delete::<machine_restores::MachineRestores>();
    table.read::<proofs::Proofs>();
    table.create::<proofs::Proofs>();
    table.read::<requests::Requests>();
    table.create::<requests::Requests>();
    table.change::<requests::Requests>();
    table.read::<approvals::Approvals>();
    table.create::<approvals::Approvals>();
}

/// What an object of a department is known by.
#[must_use]
pub fn named(department: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(department.to_owned()),
        ..ObjectMeta::default()
    }
}
