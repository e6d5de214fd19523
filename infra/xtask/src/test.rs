//! `cargo xtask test`: everything, or the named parts, with one closing line.
//!
//! `pure` needs neither root nor network and installs nothing. Everything else runs on this machine
//! as root and prepares what it needs first: packages, the control plane's programs, the images.
//! A part goes on after a failure; the exit status is non-zero if anything failed.

mod parts;
mod tally;

use std::time::Instant;

use anyhow::{Result, bail};
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::images::GuestImage;
use dc_lab::toolbox::Toolbox;
use dc_lab::{cargo, progress, teardown};

pub use parts::Part;
use tally::Tally;

pub fn run(asked: &[Part]) -> Result<()> {
    let parts = match asked {
        [] => Part::ALL.to_vec(),
        some => some.to_vec(),
    };
    let mut total = Tally::default();
    if let Some(failed) = prepare(&parts) {
        total += failed;
    } else {
        for part in parts {
            total += run_part(part)?;
        }
    }
    for said in &total.said {
        println!("FAILED {said}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        bail!("not everything passed");
    }
    Ok(())
}

fn run_part(part: Part) -> Result<Tally> {
    let start = Instant::now();
    progress::note(format!("── {part}"));
    let tally = parts::run(part)?;
    let took = start.elapsed().as_secs_f32();
    progress::note(format!(
        "── {part}: {} passed, {} failed ({took:.0} s)",
        tally.passed, tally.failed
    ));
    Ok(tally)
}

/// What the parts need beside cargo; that it could not be had is a failure like any other.
fn prepare(parts: &[Part]) -> Option<Tally> {
    let needs = parts
        .iter()
        .map(|part| part.needs())
        .max()
        .unwrap_or(parts::Needs::Nothing);
    let prepared = match needs {
        parts::Needs::Nothing => Ok(()),
        parts::Needs::Headers => apt::ensure(Packages::Core),
        parts::Needs::ControlPlane => prepare_control_plane(Packages::Core),
        parts::Needs::Machines => prepare_machines(Packages::All),
        parts::Needs::MachinesWithCeph => prepare_machines(Packages::AllWithCeph),
    };
    let prepared = prepared.and_then(|()| match parts.contains(&Part::Api) {
        true => apt::ensure(Packages::Browser),
        false => Ok(()),
    });
    match prepared {
        Ok(()) => None,
        Err(error) => {
            progress::note(format!("the tests could not be prepared: {error:#}"));
            Some(Tally::one(false))
        }
    }
}

fn prepare_control_plane(packages: Packages) -> Result<()> {
    teardown::remove_orphans()?;
    apt::ensure(packages)?;
    Toolbox::ensure(&Cache::from_env()?)?;
    cargo::build_programs().map(drop)
}

fn prepare_machines(packages: Packages) -> Result<()> {
    prepare_control_plane(packages)?;
    prepare_images()
}

fn prepare_images() -> Result<()> {
    let cache = Cache::from_env()?;
    GuestImage::ALL
        .into_iter()
        .try_for_each(|image| image.ensure(&cache).map(drop))
}
