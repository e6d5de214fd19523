//! Grants of a pool whose volumes the machines of this same host open as files.
//!
//! ```text
//!            link                    rename                          nobody has it open
//! volume ──────────▶ grants/ID.EPOCH.raw ──▶ grants/ID.EPOCH.closing ─────────────────▶ nothing
//! ```
//! A grant is another name of the volume's bytes, with the epoch in it; QEMU is told that name alone.
//! Nobody can take an open file away from a process. So a fence takes the name away first, and is
//! done only when the kernel says that no process has the bytes open: until then it fails, the grant
//! stays listed, and nobody else is let in.
//!
//! In whatever may be in the pool's place there are no names: that none is found says nothing then. So
//! each look and each change is of one folder, held open, that bears the mark of a pool.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dc_agent_core::storage::{Admits, Expose, FenceProof, GrantForm, GrantSeen};
use dc_types::plan::{GrantAccess, GrantItem};
use dc_types::report::{Lack, PoolPlace, Verb};
use dc_types::{Epoch, HostName, InstanceId, PoolName};
use tokio::sync::Notify;
use uuid::Uuid;

use super::DriverError;
use super::cutoff::effect;
use super::folder::blocking;
use super::folder::layout::{PoolFolder, remove_file, rename_new, sync_parent};
use super::grants::{Grants, Sizing};

pub mod fake;
mod holders;

/// How long a fence waits for the holder to close the file before it says so; it is tried again.
const FENCE_LIMIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

const OPEN: &str = ".raw";
const CLOSING: &str = ".closing";

/// The grants of one directory pool.
#[derive(Clone)]
pub struct LocalGrants {
    folder: PoolFolder,
    host: HostName,
}

/// One name in the folder of grants.
struct Found {
    volume: InstanceId,
    epoch: Epoch,
    /// How the name ends.
    state: &'static str,
}

impl Found {
    fn parse(name: &str) -> Option<Self> {
        let state = [OPEN, CLOSING]
            .into_iter()
            .find(|end| name.ends_with(end))?;
        let (volume, epoch) = name.strip_suffix(state)?.split_once('.')?;
        Some(Self {
            volume: volume.parse().ok()?,
            epoch: epoch.parse().ok()?,
            state,
        })
    }
}

/// A name that nobody opens any more.
#[derive(Clone, Copy)]
struct Closing {
    volume: InstanceId,
    epoch: Epoch,
}

impl Closing {
    fn path(self, grants: &LocalGrants) -> PathBuf {
        grants.path(self.volume, self.epoch, CLOSING)
    }
}

impl LocalGrants {
    #[must_use]
    pub fn new(pool: PoolName, root: PathBuf, host: HostName) -> Self {
        // It makes nothing in the folder for files that are being made.
        let folder = PoolFolder::new(pool, root, Uuid::nil());
        Self { folder, host }
    }

    fn path(&self, volume: InstanceId, epoch: Epoch, state: &str) -> PathBuf {
        match state {
            // What machines are told.
            OPEN => self.folder.root.join(GrantItem::file_name(volume, epoch)),
            other => {
                let name = format!("{volume}.{epoch}{other}");
                self.folder.root.join("grants").join(name)
            }
        }
    }

    fn list_now(&self) -> Result<Vec<GrantSeen>, DriverError> {
        let folder = self.folder.root.join("grants");
        let told = |error| self.folder.io("listing", &folder, error);
        let entries = match fs::read_dir(&folder) {
            // It was never readied: nobody can be let in.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(told)?,
        };
        let mut seen = Vec::new();
        for entry in entries {
            let name = entry.map_err(told)?.file_name();
            if let Some(found) = name.to_str().and_then(Found::parse) {
                seen.extend(self.look(&found)?);
            }
        }
        Ok(seen)
    }

    /// `None` when it has gone meanwhile.
    fn look(&self, found: &Found) -> Result<Option<GrantSeen>, DriverError> {
        let path = self.path(found.volume, found.epoch, found.state);
        let shown = self.folder.shown(&path);
        let holders = match holders::of(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| self.folder.io("looking who has open", &path, error))?,
        };
        let form = match found.state {
            CLOSING => GrantForm::Broken("it is being taken away".to_owned()),
            _ if same_file(&path, &self.folder.volume(found.volume)) => {
                GrantForm::Whole(Admits::File {
                    host: self.host.to_string(),
                })
            }
            _ => GrantForm::Broken(format!(
                "{} is another file than the volume",
                shown.display()
            )),
        };
        Ok(Some(GrantSeen {
            pool: self.folder.pool.clone(),
            volume: found.volume,
            epoch: found.epoch,
            handle: shown.display().to_string(),
            form,
            holders,
        }))
    }

    fn open_now(&self, volume: InstanceId, epoch: Epoch) -> Result<(), DriverError> {
        let file = &self.folder.volume(volume);
        // One that was cut off from here on is listed as whole, and that is what it is.
        let path = self.path(volume, epoch, OPEN);
        if same_file(&path, file) {
            return Ok(());
        }
        // Whoever has it open still would be a second holder.
        let holders = match holders::of(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DriverError::NotThere {
                    pool: self.folder.pool.clone(),
                    what: format!("volume {volume}"),
                });
            }
            other => other.map_err(|error| self.folder.io("looking who has open", file, error))?,
        };
        if !holders.is_empty() {
            return Err(DriverError::InUse {
                what: format!("volume {volume}"),
                by: holders.join(", "),
            });
        }
        let told = |error| self.folder.io("opening to a machine", &path, error);
        remove_file(&path).map_err(told)?;
        effect();
        fs::hard_link(file, &path)
            .and_then(|()| sync_parent(&path))
            .map_err(told)
    }

    /// Takes the name away; the one that the bytes have then, if they were there.
    fn shut(&self, volume: InstanceId, epoch: Epoch) -> Result<Option<Closing>, DriverError> {
        let (open, closing) = (
            self.path(volume, epoch, OPEN),
            self.path(volume, epoch, CLOSING),
        );
        let told = |error| self.folder.io("taking away", &open, error);
        match rename_new(&open, &closing) {
            Ok(()) => sync_parent(&closing).map_err(told)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It was shut before, and opened again under the same epoch.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_file(&open).map_err(told)?;
            }
            Err(error) => return Err(told(error)),
        }
        match fs::symlink_metadata(&closing) {
            Ok(_) => Ok(Some(Closing { volume, epoch })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    /// The same with the folder that the name leads to now, which bears the mark of a pool.
    fn hold(&self) -> Result<Self, DriverError> {
        let marker = self.folder.marker();
        let held = self.folder.hold().and_then(|folder| {
            fs::metadata(folder.marker())?;
            Ok(folder)
        });
        let folder = held.map_err(|error| DriverError::PoolUnusable {
            pool: self.folder.pool.clone(),
            fault: format!("{}: {error}", marker.display()),
        })?;
        let host = self.host.clone();
        Ok(Self { folder, host })
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, DriverError> + Send + 'static,
    ) -> Result<T, DriverError> {
        let this = self.clone();
        blocking(move || work(&this.hold()?)).await
    }
}

fn another_host(pool: &PoolName, host: &HostName) -> DriverError {
    DriverError::unsupported(
        pool,
        "another host's machine",
        format!("its volumes are files of host {host}: machines run there"),
    )
}

/// Somebody has the file open still.
fn slow(grant: &GrantSeen, waited_ms: u128, holders: &[String]) -> DriverError {
    DriverError::FenceSlow {
        what: format!(
            "the grant of epoch {} of volume {}",
            grant.epoch, grant.volume
        ),
        waited_ms,
        why: format!(
            "{} has the volume's file open and cannot be cut off: stop the machine",
            holders.join(", ")
        ),
    }
}

fn lacks() -> Vec<Lack> {
    vec![Lack {
        verb: Verb::Fence,
        why: "nobody can take an open file away from a process of the same host: the machine must \
              have stopped"
            .to_owned(),
    }]
}

fn same_file(a: &Path, b: &Path) -> bool {
    let of = |path| fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()));
    of(a).is_some_and(|a| of(b) == Some(a))
}

#[async_trait]
impl Grants for LocalGrants {
    async fn list(&self) -> Result<Vec<GrantSeen>, DriverError> {
        self.work(Self::list_now).await
    }

    /// One that is there is looked at again: what counts is what lies on the disk.
    async fn open(
        &self,
        order: &Expose,
        _file: &Path,
        _there: Option<&GrantSeen>,
    ) -> Result<(), DriverError> {
        match &order.access {
            GrantAccess::File { local } if *local == self.host => {}
            _ => return Err(another_host(&self.folder.pool, &self.host)),
        }
        let (volume, epoch) = (order.volume, order.epoch);
        self.work(move |this| this.open_now(volume, epoch)).await
    }

    async fn close(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let began = Instant::now();
        let (volume, epoch) = (grant.volume, grant.epoch);
        let closing = self.work(move |this| this.shut(volume, epoch)).await?;
        let mut deleted = Vec::new();
        if let Some(closing) = closing {
            loop {
                let holders = self.work(move |this| {
                    let path = closing.path(this);
                    holders::of(&path).map_err(|e| this.folder.io("looking who has open", &path, e))
                });
                let holders = holders.await?;
                if holders.is_empty() {
                    break;
                }
                if began.elapsed() >= FENCE_LIMIT {
                    return Err(slow(grant, began.elapsed().as_millis(), &holders));
                }
                tokio::time::sleep(PAUSE).await;
            }
            let removed = self.work(move |this| {
                let path = closing.path(this);
                remove_file(&path).map_err(|error| this.folder.io("removing", &path, error))
            });
            removed.await?;
            deleted.push(format!("the name {}, which nobody has open", grant.handle));
        }
        Ok(FenceProof {
            epoch,
            deleted,
            ended_at: jiff::Timestamp::now().as_second(),
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Nothing is forgotten behind our back: what is granted lies on the disk.
    async fn follow(&self, _changed: &Notify) {
        std::future::pending().await
    }

    fn place(&self) -> PoolPlace {
        PoolPlace::Directory {
            folder: self.folder.root.display().to_string(),
        }
    }

    /// The name of a grant is a name of the volume's own file.
    fn sizing(&self) -> Sizing {
        Sizing::Live
    }

    fn lacks(&self) -> Vec<Lack> {
        lacks()
    }
}
