//! Asking guests whether they have come up: their consoles, their agents, a command of theirs.
//!
//! A guest that does not answer takes seconds to say nothing, so each is asked in a task of its own,
//! and a look is given what is known by then. What was shown is remembered in this process alone:
//! the next one asks again, and a command may be run twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dc_types::InstanceId;
use dc_types::plan::Probes;
use dc_types::report::Probed;

use crate::hypervisor::{CommandState, Hypervisor};
use crate::seed::Seeds;

/// Clones share what is remembered.
#[derive(Clone, Default)]
pub struct Probing(Arc<Mutex<BTreeMap<InstanceId, Guest>>>);

#[derive(Default)]
struct Guest {
    shown: Probed,
    /// The command that runs in it, by the guest agent's number.
    runs: Option<i64>,
    /// A task asks it now.
    is_asked: bool,
}

impl Probing {
    /// What these guests have shown by now; begins to ask for what is missing. Others are forgotten.
    #[must_use]
    pub fn look(
        &self,
        hypervisor: &Arc<dyn Hypervisor>,
        seeds: &Arc<dyn Seeds>,
        asked: &BTreeMap<InstanceId, &Probes>,
    ) -> BTreeMap<InstanceId, Probed> {
        let mut guests = self.guests();
        guests.retain(|vm, _| asked.contains_key(vm));
        for (&vm, &probes) in asked {
            let guest = guests.entry(vm).or_default();
            if guest.is_asked || guest.shown.satisfies(probes) {
                continue;
            }
            guest.is_asked = true;
            let (this, probes) = (self.clone(), probes.clone());
            let (hypervisor, seeds) = (hypervisor.clone(), seeds.clone());
            tokio::spawn(async move { this.ask(&*hypervisor, &*seeds, vm, &probes).await });
        }
        let known = guests.iter();
        known.map(|(vm, guest)| (*vm, guest.shown)).collect()
    }

    /// What cannot be asked is not shown: it is asked again.
    async fn ask(
        &self,
        hypervisor: &dyn Hypervisor,
        seeds: &dyn Seeds,
        vm: InstanceId,
        probes: &Probes,
    ) {
        let (mut shown, mut runs) = match self.guests().get(&vm) {
            Some(guest) => (guest.shown, guest.runs),
            None => return,
        };
        if let Some(text) = &probes.console
            && !shown.console
        {
            shown.console = seeds.console_shows(vm, text).await.unwrap_or(false);
        }
        if probes.agent && !shown.agent {
            shown.agent = hypervisor.ping(vm).await.unwrap_or(false);
        }
        if !probes.command.is_empty() && shown.command != Some(0) {
            (shown.command, runs) = command(hypervisor, vm, probes, shown.command, runs).await;
        }
        if let Some(guest) = self.guests().get_mut(&vm) {
            *guest = Guest {
                shown,
                runs,
                is_asked: false,
            };
        }
    }

    fn guests(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the command, or looks whether it has ended; one that ended badly is started again.
async fn command(
    hypervisor: &dyn Hypervisor,
    vm: InstanceId,
    probes: &Probes,
    ended: Option<i32>,
    runs: Option<i64>,
) -> (Option<i32>, Option<i64>) {
    let Some(number) = runs else {
        let started = hypervisor.start_command(vm, &probes.command).await;
        return (ended, started.ok().flatten());
    };
    match hypervisor.command_state(vm, number).await {
        Ok(CommandState::Runs) | Err(_) => (ended, Some(number)),
        Ok(CommandState::Ended(code)) => (Some(code), None),
        Ok(CommandState::Unknown) => (ended, None),
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use uuid::Uuid;

    use super::*;
    use crate::hypervisor::FakeHypervisor;
    use crate::knobs::Knobs;
    use crate::seed::FakeSeeds;

    const VM: InstanceId = InstanceId(Uuid::from_u128(1));

    async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_a_guest_has_shown_stays_and_what_it_has_not_is_asked_again() {
        let fakes = (
            FakeHypervisor::new(Knobs::new()),
            FakeSeeds::new(Knobs::new()),
        );
        let hypervisor: Arc<dyn Hypervisor> = Arc::new(fakes.0.clone());
        let seeds: Arc<dyn Seeds> = Arc::new(fakes.1.clone());
        let probes = Probes {
            console: Some("login:".into()),
            agent: false,
            command: Vec::new(),
        };
        let asked = BTreeMap::from([(VM, &probes)]);
        let probing = Probing::default();
        let shown = || probing.look(&hypervisor, &seeds, &asked)[&VM].console;
        for _ in 0..8 {
            assert!(!shown());
            tokio::task::yield_now().await;
        }
        fakes.1.show(VM, "web login: ");
        until(|| async { shown() }).await;
        fakes.1.show(VM, "");
        assert!(shown());
        assert!(
            probing
                .look(&hypervisor, &seeds, &BTreeMap::new())
                .is_empty()
        );
        assert!(!shown(), "another machine of the same id");
    }
}
