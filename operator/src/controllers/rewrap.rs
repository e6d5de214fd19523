//! Wrapping the keys of volumes anew when there is a newer master key, a few at a time, and telling
//! which master key wraps how many.
//!
//! Each is a transaction of its own, which holds only while the entry is the one that was read: whoever
//! dies in between, or writes that a volume was formatted, or destroys a key meanwhile, loses nothing.
//! The volume's own key is never another one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dc_operator_core::claims::Claimed;
use dc_operator_core::volume::encryption::{outdated, rewrap, wrapped_by};
use dc_types::InstanceId;
use dc_types::claim::VolumeKey;

use super::Context;
use super::queue::spread;
use crate::ledger::Commit;

/// Keys of one round: the ledger has other work in between.
const BATCH: usize = 16;
/// Between two rounds while there is more to do.
const PAUSE: Duration = Duration::from_millis(500);
/// The same when all is done, and after trouble.
const LOOK: Duration = Duration::from_secs(30);

enum Round {
    More,
    Done,
}

pub async fn serve(context: Arc<Context>) {
    let mut told = BTreeMap::new();
    // Those that did not go: they are not tried again before all others were.
    let mut failed = BTreeSet::new();
    loop {
        let round = once(&context, &mut failed).await;
        let counts = context.parts.ledger.with_claims(wrapped_by);
        tell(&context, counts, &mut told);
        match round {
            Round::More => tokio::time::sleep(PAUSE).await,
            Round::Done => tokio::time::sleep(spread(LOOK)).await,
        }
    }
}

async fn once(context: &Context, failed: &mut BTreeSet<InstanceId>) -> Round {
    let masters = &context.parts.master_keys;
    let Some(newest) = masters.newest() else {
        return Round::Done;
    };
    let old: Vec<(Claimed<VolumeKey>, String)> = context.parts.ledger.with_claims(|claims| {
        let may = |key: &VolumeKey| masters.knows(&key.master) && !failed.contains(&key.volume);
        let old = outdated(claims, newest, may, BATCH);
        let named = old.into_iter().map(|key| {
            let volume = claims.volumes.get(&key.value.volume);
            let name = volume.map(|volume| volume.value.owner.to_string());
            (key.clone(), name.unwrap_or(key.value.volume.to_string()))
        });
        named.collect()
    });
    let is_more = old.len() == BATCH;
    for (key, name) in old {
        if let Err(error) = wrap(context, &key, &name).await {
            tracing::warn!(volume = name, "its key is not wrapped anew: {error:#}");
            failed.insert(key.value.volume);
        }
    }
    match is_more {
        true => Round::More,
        false => {
            failed.clear();
            Round::Done
        }
    }
}

async fn wrap(context: &Context, key: &Claimed<VolumeKey>, name: &str) -> anyhow::Result<()> {
    let sealed = context.parts.master_keys.rewrap(&key.value, name);
    let sealed = sealed.map_err(|fact| {
        anyhow::anyhow!(dc_operator_core::words::Fact::Encryption(fact).words().en)
    })?;
    match context.parts.ledger.commit(&rewrap(key, sealed)).await? {
        // What has changed is looked at in the next round.
        Commit::Done { .. } | Commit::Conflict => Ok(()),
        Commit::NotLeader => anyhow::bail!("this operator no longer leads"),
    }
}

/// In the metrics always; in the log what has changed.
fn tell(context: &Context, counts: BTreeMap<String, u64>, told: &mut BTreeMap<String, u64>) {
    let masters = &context.parts.master_keys;
    context.parts.metrics.set_volume_keys(&counts, masters);
    let new = counts.iter();
    for (id, keys) in new.filter(|(id, keys)| told.get(*id) != Some(*keys)) {
        match (masters.knows(id), masters.newest() == Some(id)) {
            (true, true) => tracing::info!(master = id, keys, "the newest master key wraps"),
            (true, false) => tracing::info!(master = id, keys, "an older master key still wraps"),
            (false, _) => tracing::error!(
                master = id,
                keys,
                "a master key is not known, and no machine with these volumes starts; put its file \
                 into the folder of --master-keys"
            ),
        }
    }
    *told = counts;
}
