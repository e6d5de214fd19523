//! What guests do by themselves, as a test tells them.

use dc_agent_core::vm::seen::{Off, Power};
use dc_types::InstanceId;

use super::{FakeDomain, FakeHypervisor};

impl FakeDomain {
    pub(super) fn is_active(&self) -> bool {
        self.power.is_active()
    }

    pub(super) fn end(&mut self, off: Off) {
        self.live = None;
        self.disks.clear();
        self.frozen = false;
        self.asked.clear();
        self.power = Power::Off(off);
    }
}

impl FakeHypervisor {
    /// The guest ends by itself: it powers off or crashes.
    pub fn guest_stops(&self, vm: InstanceId, off: Off) {
        self.change(vm, |domain| domain.end(off));
    }

    /// The guest is put into a state, such as one paused by a disk error.
    pub fn set_power(&self, vm: InstanceId, power: Power) {
        self.change(vm, |domain| domain.power = power);
    }

    /// From now on the guest takes no notice of its power button, or does again.
    pub fn set_deaf(&self, vm: InstanceId, deaf: bool) {
        let mut state = self.state();
        if deaf {
            state.deaf.insert(vm);
        } else {
            state.deaf.remove(&vm);
        }
    }

    /// From now on no agent answers in the guest, or one does again.
    pub fn set_mute(&self, vm: InstanceId, mute: bool) {
        let mut state = self.state();
        if mute {
            state.mute.insert(vm);
        } else {
            state.mute.remove(&vm);
        }
    }

    /// From now on programs that are started in the guest end with this code.
    pub fn set_command_ends(&self, vm: InstanceId, code: i32) {
        self.state().commands_end.insert(vm, code);
    }

    pub(super) fn command_ends(&self, vm: InstanceId) -> i32 {
        let state = self.state();
        state.commands_end.get(&vm).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn is_frozen(&self, vm: InstanceId) -> bool {
        let state = self.state();
        state.domains.get(&vm).is_some_and(|domain| domain.frozen)
    }
}
