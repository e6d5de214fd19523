//! Does one step of the storage plan.

use dc_agent_core::storage::{Note, Step, StorageTrouble};
use dc_host::Tools;
use dc_host::drivers::DriverError;
use dc_types::report::Trouble;

use super::trouble::of_driver;

/// Carries a step out. It may be repeated after a failure: the next plan is made from what is
/// there.
pub async fn apply(tools: &Tools, step: &Step) -> Result<(), Trouble> {
    let done = act(tools, step).await;
    done.map_err(|error| StorageTrouble::into(of_driver(error)))
}

async fn act(tools: &Tools, step: &Step) -> Result<(), DriverError> {
    let of = |pool| tools.drivers.of(pool);
    match step {
        Step::FetchImage { item, epoch, .. } => of(&item.pool)?.fetch_image(item, *epoch).await,
        Step::RemoveImage { pool, image, .. } => of(pool)?.remove_image(*image).await,
        Step::CreateVolume {
            pool,
            volume,
            size,
            source,
            ..
        } => of(pool)?.create_volume(*volume, *size, source).await,
        Step::GrowVolume {
            pool, volume, size, ..
        } => of(pool)?.grow_volume(*volume, *size).await,
        Step::Note {
            pool, volume, note, ..
        } => of(pool)?.note_volume(*volume, note).await,
        Step::RetainVolume { order, .. } => of(&order.pool)?.retain_volume(order).await,
        Step::EraseVolume { order, method, .. } => {
            let erased = of(&order.pool)?.erase_volume(order, *method).await;
            erased.map(drop)
        }
        Step::Fence { grant, .. } => {
            let driver = of(&grant.pool)?;
            let proof = driver.revoke(grant).await?;
            // Told with the release. The fence itself is done, whatever becomes of the note.
            let noted = driver.note_volume(grant.volume, &Note::Fenced(proof)).await;
            if let Err(error) = noted {
                tracing::warn!(volume = %grant.volume, %error, "the proof of a fence is not kept");
            }
            Ok(())
        }
        Step::Expose { expose, .. } => of(&expose.pool)?.grant(expose).await,
        Step::CreateSnapshot {
            pool,
            volume,
            snapshot,
            ..
        } => of(pool)?.create_snapshot(*volume, *snapshot).await,
        Step::DeleteSnapshot {
            pool,
            volume,
            snapshot,
            ..
        } => of(pool)?.delete_snapshot(*volume, *snapshot).await,
        Step::RestoreVolume {
            pool,
            volume,
            snapshot,
            ..
        } => of(pool)?.restore_volume(*volume, *snapshot).await,
    }
}
