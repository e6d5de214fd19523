//! User-data from Secrets: read when a machine's spec is new, and remembered until it changes.
//!
//! Secrets are not watched: the operator would then hold all of a data centre's secrets. A Secret
//! that changes is taken in with the machine's next generation.

use std::collections::HashMap;
use std::sync::Mutex;

use dc_crds::VirtualMachine;
use dc_operator_core::object;
use dc_operator_core::vm::UserData;
use dc_types::{ObjectRef, ObjectUid};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;

use crate::controllers::api::ApiError;
use crate::controllers::{Context, lock};

/// The key of the Secret.
const KEY: &str = "userData";

#[derive(Default)]
pub struct Secrets {
    read: Mutex<HashMap<ObjectUid, (i64, String)>>,
}

/// What was read of a machine's Secret.
pub enum Found {
    NotAsked,
    Text(String),
    NoSecret(String),
    NoKey(String),
    Unreadable(String),
}

impl Found {
    pub fn as_seen(&self) -> UserData<'_> {
        match self {
            Found::NotAsked => UserData::Absent,
            Found::Text(text) => UserData::InSecret(text),
            Found::NoSecret(secret) => UserData::NoSecret(secret),
            Found::NoKey(secret) => UserData::NoKey(secret),
            Found::Unreadable(secret) => UserData::Unreadable {
                secret,
                error: "its key userData is not UTF-8 text",
            },
        }
    }
}

impl Secrets {
    /// The user-data of a machine's Secret, if it names one.
    pub async fn user_data(
        &self,
        context: &Context,
        vm: &VirtualMachine,
        me: &ObjectRef,
    ) -> Result<Found, ApiError> {
        let asked = vm.spec.cloud_init.as_ref();
        let Some(name) = asked.and_then(|asked| asked.secret.as_ref()) else {
            return Ok(Found::NotAsked);
        };
        if object::life(&vm.metadata) == object::Life::Deleting {
            return Ok(Found::NotAsked);
        }
        let generation = object::generation(&vm.metadata);
        if let Some((read_for, text)) = lock(&self.read).get(&me.uid)
            && *read_for == generation
        {
            return Ok(Found::Text(text.clone()));
        }
        let api: Api<Secret> = Api::namespaced(context.parts.client.clone(), &me.namespace);
        let found = api
            .get_opt(name)
            .await
            .map_err(|source| ApiError::Request {
                what: format!("reading Secret {}/{name}", me.namespace),
                source: Box::new(source),
            })?;
        let Some(secret) = found else {
            return Ok(Found::NoSecret(name.clone()));
        };
        let Some(bytes) = secret.data.and_then(|mut data| data.remove(KEY)) else {
            return Ok(Found::NoKey(name.clone()));
        };
        match String::from_utf8(bytes.0) {
            Ok(text) => {
                lock(&self.read).insert(me.uid, (generation, text.clone()));
                Ok(Found::Text(text))
            }
            Err(_) => Ok(Found::Unreadable(name.clone())),
        }
    }

    pub fn forget(&self, vm: ObjectUid) {
        lock(&self.read).remove(&vm);
    }
}
