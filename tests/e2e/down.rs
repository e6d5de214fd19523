//! What is left of the data centre when it was taken down: nothing.

use anyhow::{Context, Result, ensure};
use dc_lab::{remains, teardown};

use crate::centre::Stage;

pub fn leaves_nothing(stage: &Stage) -> Result<()> {
    let lab = stage
        .take()
        .context("there was no data centre to take down")?;
    // With all its guests running and every part at work.
    let removed = teardown::remove(&lab);
    let left = remains::find(&lab)?;
    removed?;
    ensure!(left.is_empty(), "still there: {left:#?}");
    Ok(())
}
