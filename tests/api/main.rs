//! The departments' API, on a real API server, with a real identity provider.
//!
//! All tests share one control plane with the operator (no hosts: nothing runs), Dex and the API;
//! so they run one after another. The last ones change how the API runs.

mod apart;
mod backups;
mod bounds;
mod browser;
mod changes;
mod clicks;
mod contract;
mod desk;
mod following;
mod pages;
mod protection;
mod requests;
mod snapshots;
mod tenants;
mod terminal;
mod tokens;
mod usage;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};

use anyhow::{Result, anyhow};
use libtest_mimic::{Arguments, Failed, Trial};

use desk::Desk;

/// The desk, set up by the first test that runs.
#[derive(Default)]
struct Stage {
    desk: OnceLock<Result<Desk>>,
    setting_up: Mutex<()>,
}

impl Stage {
    fn run(&self, test: fn(&Desk) -> Result<()>) -> Result<()> {
        let _turn = self
            .setting_up
            .lock()
            .map_err(|_| anyhow!("a test panicked"))?;
        match self.desk.get_or_init(Desk::set_up) {
            Ok(desk) => test(desk).map_err(|error| desk.explain(error)),
            Err(error) => Err(anyhow!("the desk is not set up: {error:#}")),
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let stage = Arc::new(Stage::default());
    let trial = |name: &'static str, test: fn(&Desk) -> Result<()>| {
        let stage = stage.clone();
        Trial::test(name, move || {
            let ran = stage.run(test);
            ran.map_err(|error| Failed::from(format!("{error:#}")))
        })
    };
    let mut trials = tokens::trials(&trial);
    trials.extend(tenants::trials(&trial));
    trials.extend(changes::trials(&trial));
    trials.extend(usage::trials(&trial));
    trials.extend(requests::trials(&trial));
    trials.extend(snapshots::trials(&trial));
    trials.extend(protection::trials(&trial));
    trials.extend(backups::trials(&trial));
    trials.extend(protection::trials_that_leave_records(&trial));
    trials.extend(pages::trials(&trial));
    trials.extend(clicks::trials(&trial));
    trials.extend(terminal::trials(&trial));
    trials.extend(following::trials(&trial));
    trials.extend(bounds::trials(&trial));
    trials.extend(contract::trials(&trial));
    trials.extend(tokens::trials_that_restart_the_provider(&trial));
    trials.extend(bounds::trials_that_restart_the_api(&trial));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Takes the lab away.
    drop(stage);
    conclusion.exit_code()
}

/// Makes a trial of a name and a test.
type Make<'a> = &'a dyn Fn(&'static str, fn(&Desk) -> Result<()>) -> Trial;
