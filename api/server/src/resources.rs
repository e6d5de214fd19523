//! The kinds that the API serves: one file each, one table for routes and for the OpenAPI document.
//!
//! A kind says how it looks ([`Kind`]), and, where departments may, how it is made ([`Create`]) and
//! changed ([`Change`]). Handlers, document, audit and changes to follow come from the table: a new
//! kind is one more file and one more line in [`all`].

pub mod departments;
pub mod events;
pub mod machines;
pub mod subnets;
pub mod systems;
pub mod view;
pub mod volumes;

use std::fmt::Debug;

use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::ToSchema;

use crate::rights::{Resource, Verb};

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
}

/// A kind that departments may make.
pub trait Create: Kind {
    type New: DeserializeOwned + ToSchema + Send;

    fn name(new: &Self::New) -> &str;
    fn object(department: &str, new: Self::New) -> Self::Object;
    /// What the audit log keeps: everything but secrets.
    fn audited(new: &Self::New) -> Value;
}

/// A kind that departments may change.
pub trait Change: Kind {
    type Change: DeserializeOwned + ToSchema + Send;

    /// What is to become of the spec, as a JSON merge patch (RFC 7396), and what of it needs more
    /// than the right to change.
    fn patch(change: Self::Change) -> Patch;
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
}
