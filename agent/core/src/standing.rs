//! How everything on the host stands, and which of it the operator has not been told yet.
//!
//! Reports are differences between what stands now and what was told in this session: a session
//! that begins knows nothing of what an earlier one told. What is told twice does no harm; what is
//! not told is told by the next look.

use std::collections::{BTreeMap, BTreeSet};

use dc_types::plan::{ItemHash, ItemKey};
use dc_types::report::{HostFacts, ItemState, Observation, PoolFacts, Released, Report, Trouble};
use dc_types::{Epoch, MiB};

/// All of it, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub observations: BTreeMap<ItemKey, Observation>,
    /// Releases that are carried out and not confirmed yet.
    pub released: BTreeMap<ItemKey, Released>,
    /// Releases that could not be carried out yet.
    pub release_failed: BTreeMap<ItemKey, (Epoch, Trouble)>,
}

impl Standing {
    /// Keys that stand as asked.
    #[must_use]
    pub fn ready(&self) -> BTreeSet<ItemKey> {
        self.observations
            .values()
            .filter(|o| o.state == ItemState::Ready)
            .map(|o| o.key)
            .collect()
    }
}

/// Observations of one message; at well under 1 kB each this stays far below the largest message.
pub const OBSERVATIONS_PER_MESSAGE: usize = 512;

/// What the operator was told in this session.
#[derive(Clone, Debug, Default)]
pub struct Told {
    standing: Standing,
    facts: Option<HostFacts>,
}

impl Told {
    /// A session in which the facts were told with the hello.
    #[must_use]
    pub fn begin(facts: HostFacts) -> Self {
        Self {
            standing: Standing::default(),
            facts: Some(facts),
        }
    }

    /// What has to be told now; it counts as told. `sent` gives the operator's digest of an item,
    /// in place of the one that an observation carries.
    pub fn tell(
        &mut self,
        now: &Standing,
        facts: &HostFacts,
        sent: &BTreeMap<ItemKey, ItemHash>,
    ) -> Vec<Report> {
        let mut reports = Vec::new();
        if self.facts.as_ref().is_none_or(|told| differ(told, facts)) {
            self.facts = Some(facts.clone());
            reports.push(Report::Facts(Box::new(facts.clone())));
        }
        let observations: Vec<Observation> = now
            .observations
            .values()
            .filter(|o| self.standing.observations.get(&o.key) != Some(o))
            .map(|o| Observation {
                hash: sent.get(&o.key).copied().unwrap_or(o.hash),
                ..o.clone()
            })
            .collect();
        for chunk in observations.chunks(OBSERVATIONS_PER_MESSAGE) {
            reports.push(Report::Observed(chunk.to_vec()));
        }
        for (key, released) in &now.released {
            if self.standing.released.get(key) != Some(released) {
                reports.push(Report::Released(released.clone()));
            }
        }
        for (key, failed) in &now.release_failed {
            if self.standing.release_failed.get(key) != Some(failed) {
                let (epoch, trouble) = failed.clone();
                reports.push(Report::ReleaseFailed {
                    key: *key,
                    epoch,
                    trouble,
                });
            }
        }
        self.standing = now.clone();
        reports
    }
}

/// Whether facts are worth telling: free memory and use of pools move all the time, and count
/// only when they have moved by a twentieth of the whole.
#[must_use]
pub fn differ(told: &HostFacts, now: &HostFacts) -> bool {
    let moved = |a: u64, b: u64, whole: u64| a.abs_diff(b) > whole / 20;
    let MiB(memory) = now.memory;
    if moved(told.memory_available.0, now.memory_available.0, memory) {
        return true;
    }
    let pool_moved = |(a, b): (&PoolFacts, &PoolFacts)| moved(a.used.0, b.used.0, b.capacity.0);
    if told.pools.iter().zip(&now.pools).any(pool_moved) {
        return true;
    }
    let still = |facts: &HostFacts| {
        let mut facts = facts.clone();
        facts.memory_available = MiB(0);
        for pool in &mut facts.pools {
            pool.used = dc_types::Bytes(0);
        }
        facts
    };
    still(told) != still(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts_fixture;
    use dc_types::plan::ItemKind;
    use dc_types::report::Detail;
    use uuid::Uuid;

    fn observation(hash: u64, state: ItemState) -> Observation {
        Observation {
            key: ItemKey::new(ItemKind::Vm, Uuid::from_u128(1)),
            epoch: Epoch::default(),
            hash: ItemHash(hash),
            state,
            detail: Detail::None,
        }
    }

    fn standing(observation: Observation) -> Standing {
        Standing {
            observations: BTreeMap::from([(observation.key, observation)]),
            ..Standing::default()
        }
    }

    #[test]
    fn only_what_changed_is_told_and_under_the_operators_hash() {
        let facts = facts_fixture();
        let mut told = Told::begin(facts.clone());
        let now = standing(observation(1, ItemState::Ready));
        let key = *now.observations.keys().next().unwrap();
        let sent = BTreeMap::from([(key, ItemHash(77))]);
        let reports = told.tell(&now, &facts, &sent);
        let [Report::Observed(observed)] = reports.as_slice() else {
            panic!("{reports:?}");
        };
        assert_eq!(observed[0].hash, ItemHash(77));
        assert_eq!(told.tell(&now, &facts, &sent), []);
        let worse = standing(observation(
            1,
            ItemState::Failed(Trouble {
                reason: "Crashed".into(),
                message: "it stopped".into(),
            }),
        ));
        assert_eq!(told.tell(&worse, &facts, &sent).len(), 1);
        assert!(worse.ready().is_empty());
        assert_eq!(now.ready(), BTreeSet::from([key]));
    }

    #[test]
    fn a_new_session_is_told_of_finished_releases_again() {
        let facts = facts_fixture();
        let key = ItemKey::new(ItemKind::Volume, Uuid::from_u128(2));
        let done = Released {
            erasure: None,
            key,
            epoch: Epoch::default(),
            note: "kept as x".into(),
        };
        let now = Standing {
            released: BTreeMap::from([(key, done.clone())]),
            ..Standing::default()
        };
        for _ in 0..2 {
            let mut told = Told::begin(facts.clone());
            let reports = told.tell(&now, &facts, &BTreeMap::new());
            assert_eq!(reports, [Report::Released(done.clone())]);
            assert_eq!(told.tell(&now, &facts, &BTreeMap::new()), []);
        }
    }

    #[test]
    fn small_movements_of_memory_are_not_told_and_large_ones_are() {
        let facts = facts_fixture();
        let mut told = Told::begin(facts.clone());
        let with = |available: u64| HostFacts {
            memory_available: MiB(available),
            ..facts.clone()
        };
        let whole = facts.memory.0;
        let none = Standing::default();
        let little = with(facts.memory_available.0 - whole / 50);
        assert_eq!(told.tell(&none, &little, &BTreeMap::new()), []);
        let much = with(facts.memory_available.0 - whole / 10);
        assert_eq!(told.tell(&none, &much, &BTreeMap::new()).len(), 1);
        let rebooted = HostFacts {
            boot_id: "another".into(),
            ..much
        };
        assert_eq!(told.tell(&none, &rebooted, &BTreeMap::new()).len(), 1);
    }
}
