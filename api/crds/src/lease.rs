//! Until when something may run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Until when machines may run. After it they are stopped, never deleted; a later time lets them
/// run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// RFC 3339, such as 2027-12-31T17:00:00Z or 2028-01-01T00:00:00+07:00.
    #[schemars(extend("format" = "date-time"), length(max = 40))]
    pub until: String,
    /// A warning is given this many days before the end. Default 30, 7 and 1.
    #[serde(default = "default_warn_days")]
    #[schemars(length(max = 8), inner(range(min = 1, max = 3650)))]
    pub warn_days: Vec<u32>,
}

fn default_warn_days() -> Vec<u32> {
    vec![30, 7, 1]
}

impl Lease {
    /// With the warnings of who says nothing of them.
    #[must_use]
    pub fn until(until: String) -> Self {
        Self {
            until,
            warn_days: default_warn_days(),
        }
    }
}
