//! Which master key wraps how many keys of volumes.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;

use super::{Metrics, signed};
use crate::master::MasterKeys;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MasterKey {
    /// Its id: there are a few.
    pub master: String,
    /// `newest`, `older`, or `missing` from the operator's folder.
    pub state: &'static str,
}

impl Metrics {
    /// Shows how many keys each master key wraps; those that wrap none too, as they may be retired.
    pub fn set_volume_keys(&self, counts: &BTreeMap<String, u64>, known: &MasterKeys) {
        self.volume_keys.clear();
        let ids = counts.keys().map(String::as_str).chain(known.ids());
        for id in ids {
            let state = match (known.knows(id), known.newest() == Some(id)) {
                (true, true) => "newest",
                (true, false) => "older",
                (false, _) => "missing",
            };
            let label = MasterKey {
                master: id.to_owned(),
                state,
            };
            let keys = counts.get(id).copied().unwrap_or_default();
            self.volume_keys.get_or_create(&label).set(signed(keys));
        }
    }
}
