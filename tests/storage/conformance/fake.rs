//! The fake driver: what the simulated hosts and the reconciler's own tests run over.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::wanted::HostView;
use dc_host::drivers::Driver;
use dc_host::{Fakes, Rule};
use dc_types::plan::{GrantAccess, ImageItem};
use dc_types::report::Orphan;
use dc_types::{Epoch, InstanceId, SnapshotId};

use super::bench::pool;
use super::cutoffs::{Asked, Ended, act};
use super::iscsi::chap;
use super::rig::{Place, Rig};
use crate::holder::Holder;
use crate::site::{PoolConfig, host_with};

pub struct Fake(Fakes);

fn host() -> HostView {
    host_with(PoolConfig::Iscsi {
        folder: PathBuf::from("/pools/p1"),
    })
}

#[async_trait(?Send)]
impl Rig for Fake {
    const PLACE: Place = Place::Memory;

    async fn start() -> Self {
        Self(Fakes::new(&host()))
    }

    async fn attach(rig: Option<&Self>) -> Arc<dyn Driver> {
        let Self(fakes) = rig.expect("what is in memory is no other process's");
        fakes.tools().drivers.of(&pool()).unwrap().clone()
    }

    async fn cut_off(&self, asked: &Asked, after: u64) -> Ended {
        let Self(fakes) = self;
        fakes.knobs.set("*", Rule::cut_off_after(after));
        let driver = Self::attach(Some(self)).await;
        let done = act::<Self>(asked, &*driver).await;
        let died = fakes.knobs.is_cut_off();
        fakes.knobs.revive();
        match died {
            true => Ended::CutOff,
            false => done.map(|()| Ended::Done).unwrap(),
        }
    }

    fn access(volume: InstanceId, epoch: Epoch) -> GrantAccess {
        GrantAccess::Iscsi {
            chap: chap(volume, epoch),
        }
    }

    fn holder(_: InstanceId, _: Epoch) -> Option<Holder> {
        None
    }

    /// Nothing is in a fake image.
    fn image(&self, _: &[u8]) -> Option<ImageItem> {
        None
    }

    fn fill(&mut self, _: bool) -> bool {
        false
    }

    fn taker(&self) -> Box<dyn Fn(bool) + Send> {
        let pool = self.0.pool(&pool()).clone();
        Box::new(move |away| {
            let fault = away.then(|| "its disk is away".to_owned());
            pool.set_fault(fault);
        })
    }

    fn spoil(&mut self, _: InstanceId, _: SnapshotId) -> bool {
        false
    }

    fn litter(&mut self) -> Vec<Orphan> {
        Vec::new()
    }
}
