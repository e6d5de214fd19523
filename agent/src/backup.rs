//! Does one step of the backup plan: a run is begun, or ended.

use dc_agent_core::backup::Step;
use dc_host::Tools;
use dc_types::report::Trouble;

/// Carries a step out. A run goes on after it was begun.
pub async fn apply(tools: &Tools, step: &Step) -> Result<(), Trouble> {
    match step {
        Step::Begin {
            key,
            epoch,
            asked,
            order,
        } => {
            tools.runs.begin(*key, *epoch, *asked, order);
            Ok(())
        }
        Step::End { key, epoch } => tools.runs.end(*key, *epoch).await.map_err(Trouble::from),
    }
}

#[cfg(test)]
mod tests;
