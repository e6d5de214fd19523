//! Asking the members of the ledger of keys that were destroyed: one round for all of them, again and
//! again while any waits. What a round says is taken in by each volume's own look.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dc_operator_core::volume::destruction::{Reading, unread};
use tokio::sync::Notify;

use super::{Context, lock};
use crate::stores::{Key, Kind};

/// Between two rounds: a member that starts anew is there in a few seconds.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Readings {
    last: Mutex<Option<Arc<Reading>>>,
    wanted: Notify,
}

impl Readings {
    /// The last round of this term. When it is from before `revision`, another one begins.
    pub fn of(&self, revision: u64) -> Option<Arc<Reading>> {
        let last = lock(&self.last).clone();
        if last.as_ref().is_none_or(|last| last.revision < revision) {
            self.wanted.notify_one();
        }
        last
    }
}

pub async fn serve(context: Arc<Context>) {
    let readings = &context.readings;
    let ledger = &context.parts.ledger;
    loop {
        let Some((revision, volumes)) = ledger.with_claims(unread) else {
            readings.wanted.notified().await;
            continue;
        };
        let reading = ledger.read_members(revision).await;
        tracing::info!(revision, members = ?reading.members, "the ledger's members were asked");
        *lock(&readings.last) = Some(Arc::new(reading));
        let owners = ledger.with_claims(|claims| {
            let claims = volumes
                .iter()
                .filter_map(|volume| claims.volumes.get(volume));
            let owners = claims.map(|claim| claim.value.owner.clone());
            owners.collect::<Vec<_>>()
        });
        for owner in owners {
            let key = Key::new(Kind::Volume, &owner.namespace, &owner.name);
            context.queue.wake(key);
        }
        // A key that is destroyed meanwhile does not wait for the others.
        let _ = tokio::time::timeout(PAUSE, readings.wanted.notified()).await;
    }
}
