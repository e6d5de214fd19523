//! What people read of a subnet.

use dc_crds::SubnetStatus;

use super::Seen;
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> SubnetStatus {
    let claim = seen.claim().map(|claim| &claim.value);
    let words = all_words(&plan.found).unwrap_or_else(|| match claim {
        Some(_) => Fact::Ready.words(),
        None => Fact::Deleting.words(),
    });
    let old = seen.subnet.status.as_ref();
    SubnetStatus {
        conditions: merge(
            old.map_or(&[], |old| &old.conditions),
            vec![Draft::ready(words)],
            judged,
        ),
        ipv4: claim.and_then(|c| c.v4).map(|net| net.to_string()),
        ipv6: claim.and_then(|c| c.v6).map(|net| net.to_string()),
        vni: claim.map(|claim| claim.vni.0),
        addresses_used: i64::try_from(seen.addresses_used()).unwrap_or(i64::MAX),
    }
}
