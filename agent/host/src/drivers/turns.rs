//! One at a time for each volume: what looks first and acts then must not be overtaken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use dc_types::InstanceId;
use tokio::sync::OwnedMutexGuard;

/// The turns of one pool's volumes, and who writes to which of them from this process.
#[derive(Default)]
pub struct Turns {
    taken: Mutex<BTreeMap<InstanceId, Weak<tokio::sync::Mutex<()>>>>,
    writers: Arc<Mutex<BTreeMap<InstanceId, usize>>>,
}

/// A writer of this process, until it is dropped.
pub struct Writing {
    writers: Arc<Mutex<BTreeMap<InstanceId, usize>>>,
    volume: InstanceId,
}

impl Turns {
    /// Waits until nobody else works on the volume; it is then ours until this is dropped.
    pub async fn take(&self, volume: InstanceId) -> OwnedMutexGuard<()> {
        let turn = {
            let mut taken = held(&self.taken);
            taken.retain(|_, turn| turn.strong_count() > 0);
            let known = taken.get(&volume).and_then(Weak::upgrade);
            let turn = known.unwrap_or_default();
            taken.insert(volume, Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// Counts a writer. The caller has the volume's turn.
    pub fn write(&self, volume: InstanceId) -> Writing {
        *held(&self.writers).entry(volume).or_default() += 1;
        Writing {
            writers: self.writers.clone(),
            volume,
        }
    }

    pub fn is_written(&self, volume: InstanceId) -> bool {
        held(&self.writers).contains_key(&volume)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut writers = held(&self.writers);
        if let Some(count) = writers.get_mut(&self.volume) {
            *count -= 1;
            if *count == 0 {
                writers.remove(&self.volume);
            }
        }
    }
}

fn held<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[tokio::test]
    async fn turns_of_one_volume_follow_each_other_and_those_of_others_do_not_wait() {
        let turns = Turns::default();
        let (a, b) = (
            InstanceId(Uuid::from_u128(1)),
            InstanceId(Uuid::from_u128(2)),
        );
        let first = turns.take(a).await;
        let _other = turns.take(b).await;
        let mut second = Box::pin(turns.take(a));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let _second = second.await;
    }

    #[test]
    fn a_volume_is_written_until_its_last_writer_is_gone() {
        let turns = Turns::default();
        let volume = InstanceId(Uuid::from_u128(1));
        let (one, two) = (turns.write(volume), turns.write(volume));
        drop(one);
        assert!(turns.is_written(volume));
        drop(two);
        assert!(!turns.is_written(volume));
    }
}
