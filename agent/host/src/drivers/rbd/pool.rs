//! One pool of a Ceph cluster: the programs that work with it, and what their errors mean here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dc_types::PoolName;
use tokio::sync::Mutex;

use crate::drivers::DriverError;
use crate::rbd::{BlockServer, Cluster, ImageInfo, ImageName, Rbd, RbdError, SpaceState};

pub struct Pool {
    pub name: PoolName,
    /// As the cluster calls it.
    pub ceph_name: String,
    pub rbd: Arc<dyn Rbd>,
    pub cluster: Arc<dyn Cluster>,
    pub blocks: Arc<dyn BlockServer>,
    /// Held while a record is read, changed and written.
    pub noting: Mutex<()>,
}

/// How soon it is looked again, where the cluster has to come round.
pub const LOOK_PAUSE: Duration = Duration::from_millis(200);

/// A client that has died is taken for dead after 30 s (`osd_client_watch_timeout`).
const WATCHED_LIMIT: Duration = Duration::from_secs(45);

impl Pool {
    pub fn told(&self, error: RbdError) -> DriverError {
        let pool = self.name.clone();
        if error.is_full() {
            return DriverError::PoolFull {
                pool,
                what: error.to_string(),
            };
        }
        if error.is_silence() {
            return DriverError::PoolUnusable {
                pool,
                fault: format!("its Ceph cluster does not answer: {error}"),
            };
        }
        if error.is_of_pool() {
            return DriverError::PoolUnusable {
                pool,
                fault: error.to_string(),
            };
        }
        if error.is_missing() {
            return DriverError::NotThere {
                pool,
                what: error.to_string(),
            };
        }
        match error {
            RbdError::Injected(injected) => injected.into(),
            RbdError::Refused {
                program,
                what,
                errno,
                said,
            } => DriverError::Tool {
                program,
                what,
                said: format!("{}: {said}", errno.desc()),
            },
            RbdError::NotStarted { program, source } => DriverError::Tool {
                program,
                what: "its start".to_owned(),
                said: source.to_string(),
            },
            RbdError::Hung { program, what, .. } => DriverError::Tool {
                program,
                what,
                said: "it hangs".to_owned(),
            },
            RbdError::Nonsense { program, what, why } => DriverError::Tool {
                program,
                what,
                said: format!("its answer makes no sense: {why}"),
            },
            RbdError::Bytes {
                image,
                what,
                source,
            } => DriverError::Tool {
                program: "qemu-storage-daemon",
                what: format!("{image}, which {what}"),
                said: source.to_string(),
            },
        }
    }

    /// A pool that is full makes writers wait instead of failing them: it is asked first.
    pub async fn see_room(&self, what: &str) -> Result<(), DriverError> {
        let space = self.cluster.read_space().await;
        match space.map_err(|error| self.told(error))?.state {
            SpaceState::Open => Ok(()),
            SpaceState::Full => Err(DriverError::PoolFull {
                pool: self.name.clone(),
                what: what.to_owned(),
            }),
        }
    }

    /// A pool that became full while something was done is silent until the doing gives up.
    pub async fn explain<T>(
        &self,
        what: &str,
        done: Result<T, DriverError>,
    ) -> Result<T, DriverError> {
        match done {
            Err(DriverError::PoolUnusable { pool, fault }) => match self.see_room(what).await {
                Err(full @ DriverError::PoolFull { .. }) => Err(full),
                _ => Err(DriverError::PoolUnusable { pool, fault }),
            },
            other => other,
        }
    }

    /// What a write fails with when the pool is full is a silence that has lasted too long.
    pub async fn told_after_writing(&self, what: &str, error: RbdError) -> DriverError {
        match self.see_room(what).await {
            Err(full @ DriverError::PoolFull { .. }) => full,
            _ => self.told(error),
        }
    }

    /// Removes an image once nobody watches it any more: one that we have just closed, or a process
    /// of ours that has died, is seen for up to half a minute.
    pub async fn remove_image(&self, image: &ImageName) -> Result<(), RbdError> {
        let began = Instant::now();
        loop {
            match self.rbd.remove_image(image).await {
                Err(error) if error.is_busy() && began.elapsed() < WATCHED_LIMIT => {
                    tokio::time::sleep(LOOK_PAUSE).await;
                }
                other => return other,
            }
        }
    }

    pub async fn read_image(&self, image: &ImageName) -> Result<Option<ImageInfo>, DriverError> {
        let read = self.rbd.read_image(image).await;
        read.map_err(|error| self.told(error))
    }

    /// The image of a volume that has one.
    pub async fn expect_image(&self, image: &ImageName) -> Result<ImageInfo, DriverError> {
        let found = self.read_image(image).await?;
        found.ok_or_else(|| DriverError::NotThere {
            pool: self.name.clone(),
            what: format!("image {image}"),
        })
    }
}
