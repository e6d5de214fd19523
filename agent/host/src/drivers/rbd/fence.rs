//! Grants: one cephx user for each volume and epoch, and how it is cut off for good.
//!
//! ```text
//! user deleted ─▶ every client of it and of the image found ─▶ on the blocklist ─▶ its lock removed
//!                      ▲                                                            │
//!                      └──────────── until none is left that is not on it ◄─────────┘
//!              ─▶ every OSD goes by a map that has them
//! ```
//! - Without its user, nobody comes in anew. Who is in already stays in: what a client shows to
//!   OSDs is good for an hour. That is what the blocklist is for.
//! - A client is found in three places, and each has clients that the others do not: who watches
//!   the image (has it open), who has its lock (a dead one leaves it), who is connected to a monitor
//!   as this user (has opened nothing yet).
//! - An OSD that has not heard of it yet would still take a write. So the end is waited for: until
//!   each OSD that is up goes by the map that the last address was written into. One that is not up
//!   takes no writes, and has to hear of it before it does.
//!
//! The lock of the image is no fence: two clients hand it to each other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use dc_agent_core::storage::{Admits, Expose, FenceProof, GrantForm, GrantSeen};
use dc_types::plan::{Cephx, GrantAccess};
use dc_types::{Epoch, InstanceId};

use super::names;
use super::pool::{LOOK_PAUSE, Pool};
use super::rights::{self, ParentReach, Reach};
use crate::drivers::DriverError;
use crate::rbd::{ClientAddress, ImageName, Lock, RbdError, Session, User};

/// All users of grants begin so.
const PREFIX: &str = "client.dc.";

/// How long an address stays on the blocklist. What a client shows to an OSD is good for an hour,
/// is renewed by nobody once its user is gone, and the keys behind it turn over within three; an
/// OSD closes a silent connection after a quarter of an hour. A week is far from all of these,
/// and a list of a week's fences is still short.
const BLOCKED_S: u64 = 7 * 24 * 3600;

/// A fence takes a few seconds; past this it is said to be slow, and tried again.
pub const FENCE_LIMIT: Duration = Duration::from_secs(60);

/// Parents of parents: a chain longer than this was not made by us.
const LONGEST_CHAIN: usize = 16;

pub fn user_name(volume: InstanceId, epoch: Epoch) -> String {
    format!("client.{}", Cephx::user_name(volume, epoch))
}

/// The volume and epoch of a user that we made.
fn parse_user(name: &str) -> Option<(InstanceId, Epoch)> {
    let (volume, epoch) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let (volume, epoch) = (volume.parse().ok()?, epoch.parse().ok()?);
    (user_name(volume, epoch) == name).then_some((volume, epoch))
}

/// The epochs that a volume is granted under, whoever holds it and whatever the grants may do.
pub async fn epochs_of(pool: &Pool, volume: InstanceId) -> Result<Vec<Epoch>, DriverError> {
    let begin = format!("{PREFIX}{volume}.");
    let users = pool.cluster.list_users(&begin).await;
    let users = users.map_err(|error| pool.told(error))?;
    let epochs = users.iter().filter_map(|user| parse_user(&user.name));
    Ok(epochs.map(|(_, epoch)| epoch).collect())
}

pub async fn list(pool: &Pool) -> Result<Vec<GrantSeen>, DriverError> {
    let told = |error| pool.told(error);
    let users = pool.cluster.list_users(PREFIX).await.map_err(told)?;
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let sessions = pool.cluster.list_sessions().await.map_err(told)?;
    let grants = users.iter().filter_map(|user| seen(pool, user, &sessions));
    Ok(grants.collect())
}

/// A user of ours, unless it is another pool's. One whose rights are not as we make them is every
/// pool's: whichever knows the volume takes it away.
fn seen(pool: &Pool, user: &User, sessions: &[Session]) -> Option<GrantSeen> {
    let (volume, epoch) = parse_user(&user.name)?;
    let reach = Reach::parse(&user.osd).filter(|_| user.monitor == rights::MONITOR);
    if reach
        .as_ref()
        .is_some_and(|reach| reach.pool != pool.ceph_name)
    {
        return None;
    }
    let form = match reach {
        Some(reach) if reach.name == volume.to_string() => GrantForm::Whole(Admits::Rbd {
            user: Cephx::user_name(volume, epoch),
            namespace: names::HOME.to_owned(),
        }),
        _ => GrantForm::Broken(format!(
            "{} may do {:?} towards OSDs and {:?} towards monitors",
            user.name, user.osd, user.monitor
        )),
    };
    let holders = sessions.iter().filter(|session| session.user == user.name);
    Some(GrantSeen {
        pool: pool.name.clone(),
        volume,
        epoch,
        handle: user.name.clone(),
        form,
        holders: holders.map(|session| session.address.0.clone()).collect(),
    })
}

/// Makes the user. The record holds the epoch open: the caller has seen it.
pub async fn open(pool: &Pool, order: &Expose) -> Result<(), DriverError> {
    let GrantAccess::Rbd { cephx } = &order.access else {
        return Err(DriverError::unsupported(
            &pool.name,
            "another way in than RBD",
            "its volumes are opened by a cephx user: the grant must name one",
        ));
    };
    let Cephx {
        user,
        key,
        namespace,
    } = cephx;
    let wrong = |fault: String| DriverError::Corrupt {
        what: format!("the grant of volume {}", order.volume),
        fault,
    };
    let expected = Cephx::user_name(order.volume, order.epoch);
    if *user != expected {
        return Err(wrong(format!("its user is {user}, not {expected}")));
    }
    if namespace != names::HOME {
        return Err(wrong(format!(
            "it is for the namespace {namespace}, and volumes lie in the pool's own"
        )));
    }
    let osd = reach(pool, names::volume(order.volume)).await?;
    let user = User {
        name: user_name(order.volume, order.epoch),
        key: key.clone(),
        monitor: rights::MONITOR.to_owned(),
        osd: osd.render(),
    };
    let made = pool.cluster.ensure_user(&user).await;
    made.map_err(|error| pool.told(error))
}

/// The image and all it was cloned from.
async fn reach(pool: &Pool, image: ImageName) -> Result<Reach, DriverError> {
    let own = pool.expect_image(&image).await?;
    let mut parents = Vec::new();
    let mut next = own.parent;
    while let Some(parent) = next {
        if parents.len() == LONGEST_CHAIN {
            return Err(DriverError::Corrupt {
                what: format!("image {image}"),
                fault: format!("it is a clone of clones, more than {LONGEST_CHAIN} deep"),
            });
        }
        // One in the trash has no name to ask by; it is the last that we can follow.
        next = pool
            .read_image(&parent.image)
            .await?
            .filter(|info| info.id == parent.id)
            .and_then(|info| info.parent);
        parents.push(ParentReach {
            namespace: parent.image.namespace,
            id: parent.id,
        });
    }
    Ok(Reach {
        pool: pool.ceph_name.clone(),
        name: image.name,
        id: own.id,
        parents,
    })
}

/// Who may still write to the image, whatever became of the user.
#[derive(Debug)]
struct Clients {
    watchers: Vec<ClientAddress>,
    locks: Vec<Lock>,
    connected: Vec<ClientAddress>,
}

impl Clients {
    async fn look(pool: &Pool, image: &ImageName, user: &str) -> Result<Self, RbdError> {
        let mut found = Self {
            watchers: or_none(pool.rbd.list_watchers(image).await)?,
            locks: or_none(pool.rbd.list_locks(image).await)?,
            connected: Vec::new(),
        };
        let sessions = pool.cluster.list_sessions().await?;
        let of = |user: &str| -> BTreeSet<ClientAddress> {
            let theirs = sessions.iter().filter(|session| session.user == user);
            theirs.map(|session| session.address.clone()).collect()
        };
        // What reads a snapshot for a backup is seen on the image as well, and is ours.
        let own = of(&pool.cluster.own_user());
        found.watchers.retain(|watcher| !own.contains(watcher));
        found.connected = of(user).into_iter().collect();
        Ok(found)
    }

    fn addresses(&self) -> BTreeSet<&ClientAddress> {
        let locked = self.locks.iter().map(|lock| &lock.address);
        let all = self.watchers.iter().chain(&self.connected).chain(locked);
        // A lock of nobody has an empty address.
        all.filter(|address| !address.0.is_empty()).collect()
    }
}

/// An image that is not there has nobody.
fn or_none<T>(result: Result<Vec<T>, RbdError>) -> Result<Vec<T>, RbdError> {
    match result {
        Err(error) if error.is_missing() => Ok(Vec::new()),
        other => other,
    }
}

pub async fn fence(pool: &Pool, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
    let began = Instant::now();
    let user = user_name(grant.volume, grant.epoch);
    let image = names::volume(grant.volume);
    let cut = cut_off(pool, &image, &user, began).await;
    let deleted = cut.map_err(|error| match error {
        Unfenced::Slow(why) => DriverError::FenceSlow {
            what: user,
            waited_ms: began.elapsed().as_millis(),
            why,
        },
        Unfenced::Ceph(error) => pool.told(error),
    })?;
    Ok(FenceProof {
        epoch: grant.epoch,
        deleted,
        ended_at: jiff::Timestamp::now().as_second(),
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

enum Unfenced {
    Slow(String),
    Ceph(RbdError),
}

impl From<RbdError> for Unfenced {
    fn from(error: RbdError) -> Self {
        Self::Ceph(error)
    }
}

/// Gives what was deleted and shut, in that order.
async fn cut_off(
    pool: &Pool,
    image: &ImageName,
    user: &str,
    began: Instant,
) -> Result<Vec<String>, Unfenced> {
    pool.cluster.remove_user(user).await?;
    let mut done = vec![format!("user {user}")];
    loop {
        let clients = Clients::look(pool, image, user).await?;
        let blocked: BTreeSet<ClientAddress> =
            pool.cluster.list_blocked().await?.into_iter().collect();
        let addresses = clients.addresses();
        let free: Vec<_> = addresses
            .into_iter()
            .filter(|address| !blocked.contains(address))
            .collect();
        if free.is_empty() && clients.watchers.is_empty() && clients.locks.is_empty() {
            break;
        }
        for address in &free {
            pool.cluster.block(address, BLOCKED_S).await?;
            done.push(format!("client {} blocked", address.0));
        }
        // Of those that were on the list before: whoever is not might take it again.
        for lock in &clients.locks {
            if blocked.contains(&lock.address) {
                pool.rbd.remove_lock(image, lock).await?;
                done.push(format!("lock of {} removed", lock.locker));
            }
        }
        wait(began, || format!("these are left: {clients:?}")).await?;
    }
    let map = pool.cluster.read_map_epoch().await?;
    loop {
        let oldest = pool.cluster.read_oldest_osd_map().await?;
        if oldest >= map {
            done.push(format!("every OSD goes by map {}", map.0));
            return Ok(done);
        }
        wait(began, || {
            format!("an OSD goes by map {}, not yet by {}", oldest.0, map.0)
        })
        .await?;
    }
}

async fn wait(began: Instant, why: impl FnOnce() -> String) -> Result<(), Unfenced> {
    if began.elapsed() > FENCE_LIMIT {
        return Err(Unfenced::Slow(why()));
    }
    tokio::time::sleep(LOOK_PAUSE).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn only_users_that_we_named_are_ours() {
        let volume = InstanceId(Uuid::from_u128(5));
        let epoch = Epoch {
            incarnation: 1,
            revision: 7,
        };
        let name = user_name(volume, epoch);
        assert_eq!(parse_user(&name), Some((volume, epoch)));
        for foreign in ["client.admin", "client.dc.x.1.7", &format!("{name}.8")] {
            assert_eq!(parse_user(foreign), None, "{foreign}");
        }
    }
}
