//! Does one step of the storage plan.

use dc_agent_core::storage::{Expose, Step, StorageTrouble, Watermark};
use dc_host::Tools;
use dc_host::targets::{self, FENCE_LIMIT};
use dc_types::report::Trouble;

use super::trouble::{of_images, of_targets, of_volumes};

/// Carries a step out. It may be repeated after a failure: the next plan is made from what is
/// there.
pub async fn apply(tools: &Tools, step: &Step) -> Result<(), Trouble> {
    act(tools, step).await.map_err(Trouble::from)
}

async fn act(tools: &Tools, step: &Step) -> Result<(), StorageTrouble> {
    match step {
        Step::FetchImage { item, epoch, .. } => {
            let fetched = tools.images.fetch_image(item, *epoch).await;
            fetched.map_err(of_images)
        }
        Step::RemoveImage { pool, image, .. } => {
            let removed = tools.images.remove_image(pool, *image).await;
            removed.map_err(of_images)
        }
        Step::CreateVolume {
            pool,
            volume,
            size,
            source,
            ..
        } => {
            let made = tools.volumes.create_volume(pool, *volume, *size, source);
            made.await.map_err(of_volumes)
        }
        Step::GrowVolume {
            pool, volume, size, ..
        } => {
            let grown = tools.volumes.grow_volume(pool, *volume, *size).await;
            grown.map_err(of_volumes)
        }
        Step::Note {
            pool, volume, note, ..
        } => {
            let noted = tools.volumes.note_volume(pool, *volume, note).await;
            noted.map_err(of_volumes)
        }
        Step::RetainVolume { order, .. } => {
            let retained = tools.volumes.retain_volume(order).await;
            retained.map_err(of_volumes)
        }
        Step::EraseVolume { order, method, .. } => {
            let erased = tools.volumes.erase_volume(order, *method).await;
            erased.map_err(of_volumes)
        }
        Step::Fence { tid, name, .. } => {
            let fenced = targets::fence(&*tools.targets, *tid, name, FENCE_LIMIT).await;
            fenced.map(drop).map_err(of_targets)
        }
        Step::Expose { expose, .. } => open(tools, expose).await,
    }
}

/// The storage itself refuses an epoch that is not the one written down beside the volume: the
/// plan may have been made from an older look.
async fn open(tools: &Tools, expose: &Expose) -> Result<(), StorageTrouble> {
    let record = tools.volumes.read_record(&expose.pool, expose.volume).await;
    let mark = record.map_err(of_volumes)?.and_then(|record| record.grants);
    if mark != Some(Watermark::open(expose.epoch)) {
        return Err(StorageTrouble::StaleEpoch {
            asked: expose.epoch,
            highest: mark.map(|mark| mark.epoch).unwrap_or_default(),
        });
    }
    let made = targets::expose(&*tools.targets, expose).await;
    made.map(drop).map_err(of_targets)
}
