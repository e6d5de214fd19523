//! The register as the source gives it: bodies, and the systems that the province runs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Systems of the first wave, by their id in the register.
const FIRST_WAVE: [&str; 8] = ["A01", "A02", "A12", "A15", "W13", "W30", "W31", "W32"];

/// A body of the province.
#[derive(Debug, Deserialize)]
pub struct Body {
    pub slug: String,
    pub name_en: String,
    pub name_vi: String,
    pub kind: String,
    pub domain: String,
}

/// Which tiers a system has and where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Web front in the DMZ, application internal, database.
    Web,
    /// Application internal, database.
    Int,
    /// Core parts on physical servers (not here), adapters as machines, database.
    Lgsp,
    Mgmt,
    Soc,
}

/// A system that the province runs, whichever table it stands in.
#[derive(Clone, Debug)]
pub struct System {
    pub id: String,
    pub owner: String,
    pub name_en: String,
    pub name_vi: String,
    pub placement: Placement,
    /// As stated, in GB; most systems state none.
    pub size_gb: Option<f64>,
    pub first_wave: bool,
}

impl System {
    pub fn slug(&self) -> String {
        self.id.to_lowercase()
    }
}

pub struct Register {
    pub bodies: Vec<Body>,
    pub systems: Vec<System>,
}

impl Register {
    pub fn systems_by_owner(&self) -> BTreeMap<&str, Vec<&System>> {
        let mut owners: BTreeMap<&str, Vec<&System>> = BTreeMap::new();
        for system in &self.systems {
            owners.entry(&system.owner).or_default().push(system);
        }
        owners
    }
}

#[derive(Deserialize)]
struct SharedRow {
    id: String,
    owner: String,
    name_en: String,
    name_vi: String,
    placement: Placement,
}

#[derive(Deserialize)]
struct SpecialisedRow {
    id: String,
    owner: String,
    name_en: String,
    name_vi: String,
    run_by: String,
    size_gb: Option<f64>,
}

fn rows<T: for<'a> Deserialize<'a>>(folder: &Path, file: &str) -> Result<Vec<T>> {
    let path = folder.join(file);
    let mut reader =
        csv::Reader::from_path(&path).with_context(|| format!("opening {}", path.display()))?;
    reader
        .deserialize()
        .collect::<Result<_, _>>()
        .with_context(|| format!("reading {file}"))
}

pub fn read(folder: &Path) -> Result<Register> {
    let shared = rows::<SharedRow>(folder, "shared_systems.csv")?
        .into_iter()
        .map(|row| System {
            first_wave: FIRST_WAVE.contains(&row.id.as_str()),
            id: row.id,
            owner: row.owner,
            name_en: row.name_en,
            name_vi: row.name_vi,
            placement: row.placement,
            size_gb: None,
        });
    let specialised = rows::<SpecialisedRow>(folder, "systems.csv")?
        .into_iter()
        .filter(|row| row.run_by == "province")
        .map(|row| System {
            first_wave: FIRST_WAVE.contains(&row.id.as_str()),
            id: row.id,
            owner: row.owner,
            name_en: row.name_en,
            name_vi: row.name_vi,
            placement: Placement::Int,
            size_gb: row.size_gb,
        });
    Ok(Register {
        bodies: rows(folder, "departments.csv")?,
        systems: shared.chain(specialised).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_has_the_counts_that_the_source_states() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sonla/source");
        let register = read(&folder).unwrap();
        assert_eq!(register.bodies.len(), 35);
        assert_eq!(register.systems.len(), 34 + 28);
        assert_eq!(
            register.systems.iter().filter(|s| s.first_wave).count(),
            FIRST_WAVE.len()
        );
        let owners = register.systems_by_owner();
        assert!(
            owners
                .keys()
                .all(|owner| register.bodies.iter().any(|b| b.slug == **owner))
        );
        let stated: Vec<f64> = register.systems.iter().filter_map(|s| s.size_gb).collect();
        assert_eq!(stated.len(), 17);
        assert_eq!(stated.iter().sum::<f64>().round(), 2817.0);
    }
}
