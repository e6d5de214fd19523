//! `cargo xtask test`: everything, or the named parts, with one closing line.
//!
//! `pure` needs neither root nor network and installs nothing. Everything else runs on this machine
//! as root and prepares what it needs first: packages, the control plane's programs, the images.
//! A part goes on after a failure; the exit status is non-zero if anything failed.
//!
//! All tests are built first, once. Then parts run beside each other, in [`LANES`] lanes: while one
//! waits, for a guest that boots or a lease that ends, another computes. Each line is headed by its
//! part.

mod parts;
mod tally;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use dc_lab::apt::{self, Packages};
use dc_lab::cache::Cache;
use dc_lab::images::GuestImage;
use dc_lab::toolbox::Toolbox;
use dc_lab::{cargo, progress, teardown};

pub use parts::Part;
use tally::Tally;

/// How many parts run at once: the four longest begin together, and what is left fills their lanes.
const LANES: usize = 4;

pub fn run(asked: &[Part]) -> Result<()> {
    let parts = match asked {
        // The pure crates are among the unit tests, built with all else and not for themselves.
        [] => Part::ALL
            .into_iter()
            .filter(|part| *part != Part::Pure)
            .collect(),
        some => some.to_vec(),
    };
    let mut total = Tally::default();
    if let Some(failed) = prepare(&parts) {
        total += failed;
    } else {
        total += run_parts(&parts)?;
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

fn run_parts(parts: &[Part]) -> Result<Tally> {
    let start = Instant::now();
    if let [part] = parts {
        return run_part(*part, Heading::None);
    }
    let mut total = Tally::default();
    let (alone, beside): (Vec<Part>, Vec<Part>) = parts.iter().partition(|part| part.compiles());
    for part in alone {
        total += run_part(part, Heading::None)?;
    }
    if beside.is_empty() {
        return Ok(total);
    }
    let built = parts::build()?;
    let builds = built.failed == 0;
    total += built;
    if !builds {
        // It is told once, not by each part.
        return Ok(total);
    }
    progress::note(format!(
        "── built and checked ({:.0} s)",
        start.elapsed().as_secs_f32()
    ));
    let waiting = Mutex::new(VecDeque::from(beside));
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };
    let lane = || -> Result<Tally> {
        let mut tally = Tally::default();
        while let Some(part) = next() {
            tally += run_part(part, Heading::Part)?;
        }
        Ok(tally)
    };
    let lanes = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let ended = lanes.into_iter().map(|lane| lane.join());
        ended.collect::<Vec<_>>()
    });
    for tally in lanes {
        total += tally.map_err(|_| anyhow!("a lane of tests panicked"))??;
    }
    progress::note(format!(
        "── all parts ({:.0} s)",
        start.elapsed().as_secs_f32()
    ));
    Ok(total)
}

/// What each line of a part begins with.
#[derive(Clone, Copy)]
enum Heading {
    None,
    Part,
}

fn run_part(part: Part, heading: Heading) -> Result<Tally> {
    let start = Instant::now();
    progress::note(format!("── {part}"));
    let heading = match heading {
        Heading::None => String::new(),
        Heading::Part => format!("{part:>7} │ "),
    };
    let tally = parts::run(part, &heading)?;
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
