//! What changes on hosts between two projections of a department.

use dc_types::HostName;
use dc_types::plan::{Item, ItemKey};

use super::Projection;

/// One change of a host's board.
#[expect(clippy::large_enum_variant, reason = "nearly every step sets an item")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Set(HostName, Item),
    Unset(HostName, ItemKey),
}

/// The steps that lead from `old` to `new`: networks before their endpoints, and the reverse when
/// they go.
#[must_use]
pub fn plan(old: &Projection, new: &Projection) -> Vec<Step> {
    let mut steps = Vec::new();
    for (host, network) in &old.networks {
        match new.networks.get(host) {
            None => {
                let gone = old.endpoints.keys().copied();
                steps.extend(gone.map(|key| Step::Unset(host.clone(), key)));
                steps.push(Step::Unset(host.clone(), network.key));
            }
            Some(_) => {
                let gone = old.endpoints.keys();
                let gone = gone.filter(|key| !new.endpoints.contains_key(key));
                steps.extend(gone.map(|key| Step::Unset(host.clone(), *key)));
            }
        }
    }
    for (host, network) in &new.networks {
        let before = old.networks.get(host);
        if before != Some(network) {
            steps.push(Step::Set(host.clone(), network.clone()));
        }
        let same_age = before.is_some_and(|before| before.epoch == network.epoch);
        for (key, endpoint) in &new.endpoints {
            if same_age && old.endpoints.get(key) == Some(endpoint) {
                continue;
            }
            let mut endpoint = endpoint.clone();
            endpoint.epoch = endpoint.epoch.max(network.epoch);
            steps.push(Step::Set(host.clone(), endpoint));
        }
    }
    steps
}
