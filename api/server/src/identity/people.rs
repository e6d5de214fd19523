//! The province's own list of people: groups that the provider does not tell, and users who were
//! removed. A ConfigMap, so that platform administrators keep it as a manifest:
//!
//! ```yaml
//! apiVersion: v1
//! kind: ConfigMap
//! metadata: {name: dc-api-people, namespace: dc-system}
//! data:
//!   people.yaml: |
//!     groups:
//!       so-khcn:administrators: [an@sokhcn.sonla.gov.vn]
//!     removed: [binh@sokhcn.sonla.gov.vn]
//! ```
//!
//! It is watched: what it says holds a moment after it was applied, for requests and for streams
//! that are open. A list that cannot be read changes nothing and is told in the log and by /readyz.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::Deserialize;
use tokio::sync::watch;

pub const CONFIG_MAP: &str = "dc-api-people";
const FILE: &str = "people.yaml";

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Users by group.
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    removed: Vec<String>,
}

impl People {
    pub fn parse(text: &str) -> Result<Self, serde_norway::Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        serde_norway::from_str(text)
    }

    #[must_use]
    pub fn is_removed(&self, user: &str) -> bool {
        // Addresses differ in case alone only by mistake, and then it is the same person.
        self.removed
            .iter()
            .any(|removed| removed.eq_ignore_ascii_case(user))
    }

    pub fn groups_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = &'a str> {
        let has = move |(_, users): &(&String, &Vec<String>)| users.iter().any(|u| u == user);
        let groups = self.groups.iter().filter(has);
        groups.map(|(group, _)| group.as_str())
    }
}

/// The list as it is now.
#[derive(Clone)]
pub struct Roll {
    now: Arc<RwLock<Arc<People>>>,
    state: watch::Receiver<State>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The cluster has not said yet whether there is a list.
    Unread,
    Read,
    /// The last list that could be read holds.
    Damaged(String),
}

impl Roll {
    /// Follows the list for as long as the process lives.
    #[must_use]
    pub fn start(client: Client, namespace: &str) -> Self {
        let now = Arc::new(RwLock::new(Arc::new(People::default())));
        let (told, state) = watch::channel(State::Unread);
        let roll = Self {
            now: now.clone(),
            state,
        };
        let api: Api<ConfigMap> = Api::namespaced(client, namespace);
        let only = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
        tokio::spawn(async move {
            let mut events = watcher(api, only).default_backoff().boxed();
            let mut seen = None;
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(map) | watcher::Event::InitApply(map)) => {
                        seen = Some(map);
                    }
                    Ok(watcher::Event::Init) => {
                        seen = None;
                        continue;
                    }
                    Ok(watcher::Event::Delete(_)) => seen = None,
                    Ok(watcher::Event::InitDone) => {}
                    Err(error) => {
                        tracing::warn!(%error, "the watch of the list of people is renewed");
                        continue;
                    }
                }
                let _ = told.send(take(&now, seen.as_ref()));
            }
        });
        roll
    }

    #[must_use]
    pub fn now(&self) -> Arc<People> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        now.clone()
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Changes whenever the list does.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<State> {
        self.state.clone()
    }
}

fn take(now: &RwLock<Arc<People>>, map: Option<&ConfigMap>) -> State {
    let data = map.and_then(|map| map.data.as_ref());
    let text = data.and_then(|data| data.get(FILE));
    match People::parse(text.map_or("", String::as_str)) {
        Ok(people) => {
            *now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(people);
            State::Read
        }
        Err(error) => {
            tracing::error!(%error, "the ConfigMap {CONFIG_MAP} cannot be read; the one before holds");
            State::Damaged(error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_cannot_be_read_leaves_the_one_before() {
        let map = |text: &str| ConfigMap {
            data: Some(BTreeMap::from([(FILE.to_owned(), text.to_owned())])),
            ..ConfigMap::default()
        };
        let now = RwLock::default();
        assert_eq!(take(&now, Some(&map("removed: [A@x.vn]"))), State::Read);
        assert!(now.read().unwrap().is_removed("a@x.vn"));
        let damaged = take(&now, Some(&map("removed: {")));
        assert!(matches!(damaged, State::Damaged(_)));
        assert!(now.read().unwrap().is_removed("a@x.vn"));
        assert_eq!(take(&now, None), State::Read);
        assert!(!now.read().unwrap().is_removed("a@x.vn"));
    }
}
