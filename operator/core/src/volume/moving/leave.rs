//! What becomes of a place that nobody opens any more.

use dc_crds::volume::EraseMethod;
use dc_types::claim::{MoveClaim, PendingRelease, VolumeClaim, keys};
use dc_types::plan::{Disposition, Release};
use dc_types::report::Verb;

use super::{Next, is_asked, left_behind};
use crate::claims::Claimed;
use crate::place::Presence;
use crate::plan::Plan;
use crate::pool::lacks;
use crate::sight::Removal;
use crate::txn::Txn;
use crate::volume::erasure::{certificate, record_left};
use crate::volume::{Seen, key};
use crate::words::{Fact, MoveFact};

/// What is left of the place that nobody opens: its grant, its bytes, its certificate, its claim.
pub(super) fn leaving(
    seen: &Seen<'_>,
    volume: &Claimed<VolumeClaim>,
    second: &Claimed<MoveClaim>,
) -> Next {
    let claim = &second.value;
    let (host, place) = (&claim.host, claim.place);
    let why = |what: &str| Txn::new(format!("volume {}: {what} in {}", seen.me, claim.pool));
    let silent = seen.moving.presence != Presence::Connected;
    let stands = || {
        let fact = match (silent, is_asked(seen, volume)) {
            (true, _) => Fact::HostSilent {
                host: host.to_string(),
            },
            (false, false) => left_behind(claim),
            (false, true) => Fact::Move(MoveFact::AfterLast {
                pool: claim.pool.to_string(),
            }),
        };
        Next::stands(fact, None)
    };
    if seen.moving.grant_removal == Removal::Pending {
        return stands();
    }
    let snapshots = seen.claims.snapshots_of(claim.volume);
    let mut by: Vec<String> = snapshots
        .filter(|snapshot| snapshot.value.place() == place)
        .map(|snapshot| snapshot.value.owner.name.clone())
        .collect();
    if !by.is_empty() {
        by.dedup();
        let pool = claim.pool.to_string();
        return Next::fact(MoveFact::LeftForBackup { pool, by });
    }
    let key = key(place);
    if let Some(erased) = seen.claims.erased.get(&place) {
        let txn = put_none(why("erased, let go"), second)
            .unchanged(keys::erased(place), erased.revision)
            .delete(keys::erased(place));
        return Next::Commit(Box::new(Plan {
            certify: Some(Box::new(certificate(&erased.value, seen.volume, None))),
            ..Plan::claim(txn)
        }));
    }
    match seen.moving.removal {
        Removal::NotAsked if silent => stands(),
        Removal::NotAsked => {
            let release = PendingRelease {
                host: host.clone(),
                release: Release {
                    key,
                    epoch: second.epoch,
                    object: seen.me.clone(),
                    disposition: disposition(seen),
                },
            };
            let txn = why("release what is left")
                .unchanged(keys::second(claim.volume), second.revision)
                .absent(keys::attach(place))
                .put(keys::release(host, &key), &release);
            Next::Commit(Box::new(Plan {
                uncarry: vec![(host.clone(), key)],
                ..Plan::claim(txn)
            }))
        }
        Removal::Pending => stands(),
        Removal::Done if seen.claims.releases.contains_key(&(host.clone(), key)) => stands(),
        // It was confirmed to an operator that did not keep what was said.
        Removal::Done => {
            let erased = record_left(claim, disposition(seen), None);
            let txn = why("erased, not told how")
                .unchanged(keys::second(claim.volume), second.revision)
                .claim(keys::erased(place), &erased);
            Next::txn(txn)
        }
    }
}

fn put_none(txn: Txn, second: &Claimed<MoveClaim>) -> Txn {
    let key = keys::second(second.value.volume);
    txn.unchanged(key.clone(), second.revision).delete(key)
}

/// What is left behind is erased, also when the volume itself is to be kept on its deletion: its bytes
/// are in the other place.
fn disposition(seen: &Seen<'_>) -> Disposition {
    match seen.volume.spec.erase_method {
        // The key is the volume's, and goes on being used in its other place.
        EraseMethod::Discard | EraseMethod::KeyDestruction
            if lacks(seen.moving.facts, Verb::Discard).is_some() =>
        {
            Disposition::EraseZero
        }
        EraseMethod::Discard | EraseMethod::KeyDestruction => Disposition::EraseDiscard,
        EraseMethod::Zero => Disposition::EraseZero,
        EraseMethod::Random => Disposition::EraseRandom,
    }
}
