//! One driver on the real thing, and what a test does behind its back.

use std::sync::Arc;

use async_trait::async_trait;
use dc_host::drivers::Driver;
use dc_types::plan::{GrantAccess, ImageItem};
use dc_types::report::Orphan;
use dc_types::{Epoch, InstanceId, SnapshotId};

use super::cutoffs::{Asked, Ended, cut_off_child};
use crate::holder::Holder;

/// Where a rig's pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this process: no other one can work on it, and nobody can hold its volumes.
    Memory,
    /// On the machine, in namespaces of the test's own.
    Machine,
    /// In a cluster of Ceph that is lent to the test.
    Ceph,
}

/// The pool's name in every rig.
pub const POOL: &str = "p1";

/// Room in every real rig's pool, in MiB.
pub const POOL_MIB: u64 = 512;

#[async_trait(?Send)]
pub trait Rig: Sized {
    const PLACE: Place;

    /// Makes an empty pool, and all that serves it.
    async fn start() -> Self;

    /// The driver, as another process of the agent has it. That of a rig in memory is the same.
    async fn attach(rig: Option<&Self>) -> Arc<dyn Driver>;

    /// Does a verb in a process that ends before its effect after `after` others.
    async fn cut_off(&self, asked: &Asked, after: u64) -> Ended {
        cut_off_child(asked, after)
    }

    /// How the one holder of a grant is let in.
    fn access(volume: InstanceId, epoch: Epoch) -> GrantAccess;

    /// Who opens a volume by a grant, with QEMU's own means; `None` when nobody can.
    fn holder(volume: InstanceId, epoch: Epoch) -> Option<Holder>;

    /// An image of these bytes, when the pool can fetch one.
    fn image(&self, bytes: &[u8]) -> Option<ImageItem>;

    /// Takes nearly all of the pool's room, or gives it back; whether that can be done.
    fn fill(&mut self, filled: bool) -> bool;

    /// Forbids the driver to make or remove any volume's bytes, or allows it again; whether that can
    /// be done.
    fn forbid(&mut self, _forbidden: bool) -> bool {
        false
    }

    /// What takes the pool away, or gives it back. It sees that nothing was written in its place.
    fn taker(&self) -> Box<dyn Fn(bool) + Send>;

    fn take_away(&self, away: bool) {
        self.taker()(away);
    }

    /// Ends, without warning, the `nth` of what serves the pool's volumes, and has it started again
    /// as the host does; whether there are so many.
    async fn kill_server(&mut self, _nth: usize) -> bool {
        false
    }

    /// Changes a byte of a snapshot behind the driver's back; whether that can be done.
    fn spoil(&mut self, volume: InstanceId, snapshot: SnapshotId) -> bool;

    /// Puts things into the pool that have no place there: what the driver is to show of them.
    fn litter(&mut self) -> Vec<Orphan>;
}
