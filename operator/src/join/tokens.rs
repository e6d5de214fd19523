//! Keeps a token for every Host that has not joined, or is to join again, and none for others.
//!
//! Only the leader does this. It looks at Hosts and at its own Secrets (names alone), and
//! acts on the difference; a Secret that was deleted by hand is made again with another token.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use dc_crds::Host;
use dc_crds::host::HostRole;
use dc_operator_core::claims::{HOST, host_key};
use dc_operator_core::txn::Txn;
use dc_proto::join::JOIN_KEY;
use dc_types::HostName;
use dc_types::report::Role;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PartialObjectMeta, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::broadcast::error::RecvError;

use super::token::Token;
use super::{JoinError, Joins, REJOIN, secret_name};
use crate::ledger::Change;

/// On every Secret of ours: whose token it holds.
const TOKEN_LABEL: &str = "dc.sonla.gov.vn/join";

/// Before a Host that could not be served is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// What is to be done for one host.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    MakeToken,
    /// It has joined, or it is not to join again after all.
    RemoveToken,
    /// The Host object is gone: its certificate opens nothing any more.
    Forget,
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Seen {
    /// The Host's `rejoin` text, when there is a Host.
    host: Option<Option<String>>,
    /// The `rejoin` text that the last join served, when it has joined.
    joined: Option<Option<String>>,
    token: bool,
}

fn plan(seen: &Seen) -> Step {
    let wanted = match (&seen.host, &seen.joined) {
        (None, None) => false,
        (None, Some(_)) => return Step::Forget,
        (Some(_), None) => true,
        (Some(rejoin), Some(served)) => rejoin.is_some() && rejoin != served,
    };
    match (wanted, seen.token) {
        (true, false) => Step::MakeToken,
        (false, true) => Step::RemoveToken,
        (true, true) | (false, false) => Step::Nothing,
    }
}

type ByName<K> = BTreeMap<String, K>;
type SecretMeta = PartialObjectMeta<Secret>;

/// Objects of one kind, by name.
struct Store<K> {
    what: &'static str,
    found: ByName<K>,
    /// Being listed anew; takes the place of `found` when it is whole.
    listing: ByName<K>,
    whole: bool,
}

impl<K: ResourceExt> Store<K> {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            found: ByName::new(),
            listing: ByName::new(),
            whole: false,
        }
    }

    /// Takes in one event; answers the names to look at.
    fn take(&mut self, event: Option<Result<Event<K>, watcher::Error>>) -> Vec<String> {
        match event {
            Some(Ok(Event::Apply(meta))) => {
                let name = meta.name_any();
                self.found.insert(name.clone(), meta);
                vec![name]
            }
            Some(Ok(Event::Delete(meta))) => {
                self.found.remove(&meta.name_any());
                vec![meta.name_any()]
            }
            Some(Ok(Event::Init)) => {
                self.listing.clear();
                Vec::new()
            }
            Some(Ok(Event::InitApply(meta))) => {
                self.listing.insert(meta.name_any(), meta);
                Vec::new()
            }
            Some(Ok(Event::InitDone)) => {
                let old = std::mem::replace(&mut self.found, std::mem::take(&mut self.listing));
                self.whole = true;
                self.found.keys().chain(old.keys()).cloned().collect()
            }
            Some(Err(error)) => {
                tracing::warn!(what = self.what, %error, "the watch is interrupted");
                Vec::new()
            }
            // A watcher's stream does not end.
            None => Vec::new(),
        }
    }
}

impl Joins {
    /// Runs until it is dropped.
    pub async fn keep_tokens(&self) {
        let hosts: Api<Host> = Api::all(self.client.clone());
        let secrets: Api<SecretMeta> = Api::namespaced(self.client.clone(), &self.namespace);
        let ours = watcher::Config::default().labels(TOKEN_LABEL);
        let hosts = watch(hosts, watcher::Config::default()).default_backoff();
        let secrets = watch(secrets, ours).default_backoff();
        let (mut host_events, mut secret_events) = (pin!(hosts), pin!(secrets));
        let mut ledger = self.ledger.subscribe();

        let mut hosts = Store::<Host>::new("hosts");
        let mut tokens = Store::<SecretMeta>::new("join secrets");
        let mut dirty = BTreeSet::new();
        let mut first = true;
        loop {
            tokio::select! {
                event = host_events.next() => dirty.extend(hosts.take(event)),
                event = secret_events.next() => {
                    let named = |name: String| Some(name.strip_prefix("join-")?.to_owned());
                    dirty.extend(tokens.take(event).into_iter().filter_map(named));
                }
                change = ledger.recv() => match change {
                    Ok(Change::Key(key)) => dirty.extend(key.strip_prefix(HOST).map(str::to_owned)),
                    Err(RecvError::Lagged(_)) => dirty.extend(self.joined_hosts()),
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep(RETRY), if !dirty.is_empty() => {}
            }
            if !(hosts.whole && tokens.whole) {
                continue;
            }
            if std::mem::take(&mut first) {
                dirty.extend(self.joined_hosts());
            }
            let mut again = BTreeSet::new();
            for name in std::mem::take(&mut dirty) {
                match self.serve(&name, &hosts.found, &tokens.found).await {
                    Ok(()) => {}
                    // The ledger will say when it is over.
                    Err(JoinError::Busy { .. }) => drop(again.insert(name)),
                    Err(error) => {
                        tracing::warn!(host = name, %error, "its token cannot be looked after");
                        again.insert(name);
                    }
                }
            }
            dirty = again;
        }
    }

    fn joined_hosts(&self) -> Vec<String> {
        self.ledger
            .with_claims(|claims| claims.hosts.keys().map(ToString::to_string).collect())
    }

    async fn serve(
        &self,
        name: &str,
        hosts: &ByName<Host>,
        tokens: &ByName<SecretMeta>,
    ) -> Result<(), JoinError> {
        let Ok(host) = HostName::new(name) else {
            // Its condition says so; it can never join.
            return Ok(());
        };
        if self.is_joining(&host) {
            return Err(JoinError::Busy { host });
        }
        let object = hosts.get(name);
        let seen = Seen {
            host: object.map(|host| host.annotations().get(REJOIN).cloned()),
            joined: self.identity(&host).map(|(identity, _)| identity.rejoin),
            token: tokens.contains_key(&secret_name(&host)),
        };
        match (plan(&seen), object) {
            (Step::MakeToken, Some(object)) => self.make_token(&host, object).await,
            (Step::RemoveToken, _) => self.remove_token(&host).await,
            (Step::Forget, _) => self.forget(&host).await,
            (Step::Nothing | Step::MakeToken, _) => Ok(()),
        }
    }

    async fn make_token(&self, host: &HostName, object: &Host) -> Result<(), JoinError> {
        let ca = self.authority.certificate_pem().to_owned();
        let roles = object
            .spec
            .roles
            .iter()
            .map(|role| role_of(*role))
            .collect();
        let operator = self.advertise.clone();
        let token = Token::new(host.clone(), roles, ca, operator, Timestamp::now());
        let json = serde_json::to_vec_pretty(&token).expect("texts are representable as JSON");
        let rejoin = object.annotations().get_key_value(REJOIN);
        let owner = object.owner_ref(&());
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(secret_name(host)),
                namespace: Some(self.namespace.clone()),
                labels: Some(BTreeMap::from([(
                    TOKEN_LABEL.to_owned(),
                    "token".to_owned(),
                )])),
                annotations: rejoin.map(|(k, v)| BTreeMap::from([(k.clone(), v.clone())])),
                owner_references: owner.map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(JOIN_KEY.to_owned(), ByteString(json))])),
            ..Secret::default()
        };
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        match secrets.create(&PostParams::default(), &secret).await {
            Ok(_) => {
                tracing::info!(%host, "made a join token");
                Ok(())
            }
            // An earlier one of ours; the watch will show it.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(JoinError::Api(error)),
        }
    }

    async fn remove_token(&self, host: &HostName) -> Result<(), JoinError> {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let name = secret_name(host);
        match secrets.delete(&name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(JoinError::Api(error)),
        }
    }

    async fn forget(&self, host: &HostName) -> Result<(), JoinError> {
        let Some((_, revision)) = self.identity(host) else {
            return Ok(());
        };
        let key = host_key(host);
        let txn = Txn::new(format!(
            "host {host}: its object is gone, so is its certificate"
        ))
        .unchanged(&key, revision)
        .delete(key);
        self.ledger.commit(&txn).await?;
        Ok(())
    }
}

fn role_of(role: HostRole) -> Role {
    match role {
        HostRole::Compute => Role::Compute,
        HostRole::Storage => Role::Storage,
        HostRole::Gateway => Role::Gateway,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn step(host: Option<Option<String>>, joined: Option<Option<String>>, token: bool) -> Step {
        plan(&Seen {
            host,
            joined,
            token,
        })
    }

    #[test]
    fn a_host_that_has_not_joined_gets_one_token() {
        assert_eq!(step(Some(None), None, false), Step::MakeToken);
        assert_eq!(step(Some(None), None, true), Step::Nothing);
    }

    #[test]
    fn a_host_that_has_joined_has_no_token() {
        assert_eq!(step(Some(None), Some(None), true), Step::RemoveToken);
        assert_eq!(step(Some(None), Some(None), false), Step::Nothing);
    }

    #[test]
    fn a_new_rejoin_text_makes_one_more_token_and_an_old_one_does_not() {
        let rejoin = || Some(text("2026-05-01"));
        assert_eq!(step(rejoin(), Some(None), false), Step::MakeToken);
        assert_eq!(step(rejoin(), Some(text("before")), false), Step::MakeToken);
        assert_eq!(step(rejoin(), rejoin(), false), Step::Nothing);
        assert_eq!(step(Some(None), rejoin(), false), Step::Nothing);
    }

    #[test]
    fn the_certificate_of_a_host_that_is_gone_is_forgotten() {
        assert_eq!(step(None, Some(None), false), Step::Forget);
        assert_eq!(step(None, None, true), Step::RemoveToken);
    }
}
