//! Who may go on: so many runs move data at a time, and a repository is made by one alone.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use dc_backup::{BackupError, Control};
use dc_types::plan::RepositoryPlace;

pub struct Gate {
    most: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    moving: usize,
    making: BTreeSet<RepositoryPlace>,
}

/// What is held until it is dropped.
pub struct Held<'a> {
    gate: &'a Gate,
    /// The repository that is made; a turn to move data otherwise.
    making: Option<&'a RepositoryPlace>,
}

impl Gate {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Waits for a turn to move data.
    pub fn wait_to_move(&self, control: &Control) -> Result<Held<'_>, BackupError> {
        let mut state = self.wait(control, |state| state.moving >= self.most)?;
        state.moving += 1;
        Ok(Held {
            gate: self,
            making: None,
        })
    }

    /// Waits until nobody else makes this repository.
    pub fn wait_to_make<'a>(
        &'a self,
        place: &'a RepositoryPlace,
        control: &Control,
    ) -> Result<Held<'a>, BackupError> {
        let mut state = self.wait(control, |state| state.making.contains(place))?;
        state.making.insert(place.clone());
        Ok(Held {
            gate: self,
            making: Some(place),
        })
    }

    /// Lets those who wait see that they are stopped.
    pub fn wake(&self) {
        // Whoever looks has looked before, or will be woken.
        drop(self.state());
        self.freed.notify_all();
    }

    fn wait(
        &self,
        control: &Control,
        is_taken: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'_, State>, BackupError> {
        let waits = |state: &mut State| !control.is_stopped() && is_taken(state);
        let waited = self.freed.wait_while(self.state(), waits);
        let state = waited.unwrap_or_else(PoisonError::into_inner);
        match control.is_stopped() {
            true => Err(BackupError::Stopped),
            false => Ok(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        match self.making {
            Some(place) => {
                state.making.remove(place);
            }
            None => state.moving -= 1,
        }
        drop(state);
        self.gate.freed.notify_all();
    }
}
