//! Images: fetched when the pool has none of that checksum, removed when released.

use dc_types::ImageUid;
use dc_types::plan::{ImageItem, Item, Release};
use dc_types::report::Detail;

use super::{Judged, Removal, faulty, sensible, usable};
use crate::storage::known::Known;
use crate::storage::step::Step;
use crate::storage::validate::validate_image;

pub(super) fn image(seen: &Known<'_>, item: &Item, body: &ImageItem) -> Result<Judged, Judged> {
    sensible(validate_image(body))?;
    let pool = usable(seen, &body.pool)?;
    let there = pool
        .contents
        .images
        .get(&body.image)
        .filter(|there| there.sha256 == body.sha256 && there.format == body.format);
    Ok(match there {
        Some(there) => Judged::Ready(Detail::Image {
            virtual_size: there.virtual_size,
        }),
        None => Judged::Steps(
            vec![Step::FetchImage {
                key: item.key,
                item: body.clone(),
                epoch: item.epoch,
            }],
            Detail::None,
        ),
    })
}

pub(in crate::storage) fn image_release(seen: &Known<'_>, release: &Release) -> Removal {
    let image = ImageUid(release.key.id);
    let steps: Vec<Step> = seen
        .pools
        .iter()
        .filter(|(_, pool)| {
            pool.contents
                .images
                .get(&image)
                .is_some_and(|there| there.epoch <= release.epoch)
        })
        .map(|(name, _)| Step::RemoveImage {
            key: release.key,
            pool: name.clone(),
            image,
        })
        .collect();
    if !steps.is_empty() {
        return Removal::Steps(steps);
    }
    match faulty(seen.pools.values()) {
        Some(trouble) => Removal::Waits(trouble),
        None => Removal::done("no image of this uid is left"),
    }
}
