//! Where the bytes of each volume really are, which only the machine's host decides: whoever opens a
//! volume elsewhere after that, or erases that place, has lost them.

use std::collections::BTreeMap;

use dc_types::InstanceId;
use dc_types::plan::{Item, ItemBody, MirrorOrder, Power};
use dc_types::report::{Detail, MoveSeen, MoveState, Observation};

use super::Sim;

/// The place of those volumes whose guest has gone over to another.
pub type Gone = BTreeMap<InstanceId, InstanceId>;

/// What a host does about moves when it takes a machine, and says of them. A copy is whole at once when
/// the host `copies`.
pub fn with_moves(
    mut said: Observation,
    item: &Item,
    gone: &mut Gone,
    copies: bool,
) -> Observation {
    let (ItemBody::Vm(vm), Detail::Vm { moves, .. }) = (&item.body, &mut said.detail) else {
        return said;
    };
    moves.clear();
    for disk in &vm.disks {
        let at = gone.get(&disk.volume).copied();
        let mirror = disk.mirror.as_deref();
        if let Some(at) = at {
            let known = at == disk.place() || mirror.is_some_and(|mirror| mirror.place == at);
            assert!(known, "{} is opened where its bytes are not", disk.volume);
        }
        let Some(mirror) = mirror else { continue };
        let state = match (vm.power, mirror.order) {
            _ if at == Some(mirror.place) => MoveState::Switched,
            (Power::Off, _) => MoveState::Waiting,
            (Power::On, _) if !copies => MoveState::Copying { percent: 42 },
            (Power::On, MirrorOrder::Copy) => MoveState::Ready,
            (Power::On, MirrorOrder::Switch) => {
                gone.insert(disk.volume, mirror.place);
                MoveState::Switched
            }
        };
        moves.push(MoveSeen {
            volume: disk.volume,
            place: mirror.place,
            tries: 1,
            state,
        });
    }
    said
}

impl Sim {
    /// Another operator leads: it has heard nothing, and its boards are empty. Hosts say again how all
    /// stands that they hold.
    pub fn restart(&mut self) {
        self.boards.clear();
        for state in self.hosts.values_mut() {
            state.released.clear();
        }
    }

    /// Every key once, until one transaction was committed; whether one was.
    pub fn step(&mut self) -> bool {
        let before = self.ledger.revision();
        for _ in 0..100 {
            let changed = self.look_until(|sim| sim.ledger.revision() != before);
            if self.ledger.revision() != before {
                return true;
            }
            if !changed {
                return false;
            }
        }
        panic!("it does not come to rest: {:#?}", self.plans);
    }
}
