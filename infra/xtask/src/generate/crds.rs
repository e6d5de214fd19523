//! The chart's custom resource definitions.

use anyhow::Result;
use dc_crds::definitions;

use super::{Files, HEADER};

pub fn add(files: &mut Files) -> Result<()> {
    for mut crd in definitions::all() {
        // Removing the chart must never remove every object of a kind, and with it the province.
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".into(), "keep".into());
        let path = format!(
            "charts/datacenter/templates/crds/{}.yaml",
            crd.spec.names.plural
        );
        files.insert(
            path.into(),
            format!("{HEADER}{}", serde_norway::to_string(&crd)?),
        );
    }
    Ok(())
}
