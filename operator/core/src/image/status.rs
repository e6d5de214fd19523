//! What people read of an image.

use dc_crds::ImageStatus;
use dc_types::report::Detail;

use super::Seen;
use crate::conditions::{Draft, Judged, merge};
use crate::plan::Plan;
use crate::words::{Fact, all_words};

#[must_use]
pub fn status(seen: &Seen<'_>, plan: &Plan, judged: &Judged<'_>) -> ImageStatus {
    let words = all_words(&plan.found).unwrap_or_else(|| Fact::Ready.words());
    let old = seen.image.status.as_ref();
    let said = seen.pools.iter().filter_map(|pool| pool.said.as_ref());
    let mut sizes = said.filter_map(|said| match &said.detail {
        Detail::Image { virtual_size } => Some(virtual_size.to_string()),
        Detail::None
        | Detail::Volume { .. }
        | Detail::Snapshot { .. }
        | Detail::Backup { .. }
        | Detail::Restore { .. }
        | Detail::Manifest { .. }
        | Detail::Vm { .. } => None,
    });
    ImageStatus {
        conditions: merge(
            old.map_or(&[], |old| &old.conditions),
            vec![Draft::ready(words)],
            judged,
        ),
        virtual_size: sizes
            .next()
            .or_else(|| old.and_then(|old| old.virtual_size.clone())),
    }
}
