//! The bytes of images and snapshots, served by `qemu-storage-daemon`: QEMU's own driver, that
//! guests write through as well, on a local socket that only root reaches.
//!
//! A daemon is started for each opened image and ends with it, also when this process is killed.
//! It is asked to end, so that it gives up the image's lock: one that is killed leaves the lock,
//! and whoever comes next waits half a minute for it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dc_types::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, Semaphore};
use uuid::Uuid;

use super::nbd::Connection;
use super::{ImageName, RbdError, RbdPlace};

/// Which bytes of an image are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Never changed, and only read.
    Snapshot(&'a str),
    /// As they are now, to be written too.
    Volume,
}

/// Opens images. QEMU announces itself to the image whatever it opens (`rbd status` shows it): in a
/// pool that is full, nothing can be opened.
#[async_trait]
pub trait BlockServer: Send + Sync {
    async fn open(
        &self,
        image: &ImageName,
        opening: Opening<'_>,
    ) -> Result<Arc<dyn Blocks>, RbdError>;
}

/// Opened bytes. Several requests may be under way at once.
#[async_trait]
pub trait Blocks: Send + Sync {
    fn size(&self) -> Bytes;
    async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, RbdError>;
    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), RbdError>;
    /// All of it reads as zero afterwards, and blocks that lie in it are given back.
    async fn discard(&self, offset: u64, length: u32) -> Result<(), RbdError>;
    /// Makes durable what was written.
    async fn flush(&self) -> Result<(), RbdError>;
}

/// Requests that are under way at once; each has a connection.
const CONNECTIONS: usize = 8;

/// Bytes of one request: QEMU takes 32 MiB at most, and pieces of Ceph's are of 4 MiB.
const REQUEST: usize = 16 << 20;

/// Opening takes half a minute when a dead client's lock is on the image.
const OPEN_LIMIT: Duration = Duration::from_secs(90);
/// A request waits as long as the cluster takes to find itself again after a death.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// An operation that the cluster does not answer gives up after this long.
const OSD_LIMIT_S: u64 = 60;
/// How soon it is looked again whether the daemon listens.
const LOOK_PAUSE: Duration = Duration::from_millis(20);
/// A daemon that was asked to end writes nothing any more, and only closes the image.
const END_LIMIT: Duration = Duration::from_secs(30);

const EXPORT: &str = "image";

/// Starts daemons for the images of one pool.
#[derive(Clone, Debug)]
pub struct QemuStorageDaemon {
    place: RbdPlace,
}

impl QemuStorageDaemon {
    #[must_use]
    pub fn new(place: RbdPlace) -> Self {
        Self { place }
    }

    fn command(&self, image: &ImageName, opening: Opening<'_>, door: &Door) -> Command {
        let RbdPlace {
            conf: _,
            user,
            pool,
        } = &self.place;
        let Door {
            folder: _,
            socket,
            conf,
        } = door;
        let mut device = serde_json::json!({
            "driver": "rbd",
            "node-name": EXPORT,
            "pool": pool,
            "image": image.name,
            "conf": conf,
            "user": user,
            "discard": "unmap",
            "read-only": opening != Opening::Volume,
        });
        if !image.namespace.is_empty() {
            device["namespace"] = image.namespace.clone().into();
        }
        if let Opening::Snapshot(snapshot) = opening {
            device["snapshot"] = snapshot.into();
        }
        let server = serde_json::json!({
            "addr": { "type": "unix", "path": socket },
            "max-connections": CONNECTIONS,
        });
        let export = serde_json::json!({
            "type": "nbd",
            "id": EXPORT,
            "name": EXPORT,
            "node-name": EXPORT,
            "writable": opening == Opening::Volume,
        });
        // The daemon is told to end when this process does, however it does.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--", PROGRAM])
            .args(["--blockdev", &device.to_string()])
            .args(["--nbd-server", &server.to_string()])
            .args(["--export", &export.to_string()])
            .current_dir("/")
            .env("LC_ALL", "C")
            .env_remove("CEPH_ARGS")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

const PROGRAM: &str = "qemu-storage-daemon";

#[async_trait]
impl BlockServer for QemuStorageDaemon {
    async fn open(
        &self,
        image: &ImageName,
        opening: Opening<'_>,
    ) -> Result<Arc<dyn Blocks>, RbdError> {
        let shown = match opening {
            Opening::Snapshot(snapshot) => format!("{image}@{snapshot}"),
            Opening::Volume => image.to_string(),
        };
        let failed = |what| {
            let image = shown.clone();
            move |source| RbdError::Bytes {
                image,
                what,
                source,
            }
        };
        let door = Door::new(&self.place.conf);
        let door = door.map_err(failed("cannot have a folder for its socket"))?;
        let child = self.command(image, opening, &door).spawn();
        let child = child.map_err(|source| RbdError::NotStarted {
            program: PROGRAM,
            source,
        })?;
        let mut served = Served {
            image: shown.clone(),
            door,
            child: Some(child),
            size: Bytes(0),
            idle: Mutex::default(),
            slots: Semaphore::new(CONNECTIONS),
        };
        let first = served.wait_until_it_listens().await;
        let first = first.map_err(failed("cannot be opened"))?;
        served.size = Bytes(first.size);
        served.idle.get_mut().push(first);
        Ok(Arc::new(served))
    }
}

/// A folder that only root may enter, with the socket in it; gone when dropped.
struct Door {
    folder: PathBuf,
    socket: PathBuf,
    /// The cluster's configuration, and that operations give up: one that waits for room would be
    /// done later, when nobody expects it any more.
    conf: PathBuf,
}

impl Door {
    fn new(conf: &Path) -> io::Result<Self> {
        let mut text = fs::read_to_string(conf)?;
        text.push_str(&format!(
            "\n[client]\nrados_osd_op_timeout = {OSD_LIMIT_S}\nrados_mon_op_timeout = {OSD_LIMIT_S}\n"
        ));
        let name = format!("dc-bytes-{}", Uuid::new_v4().simple());
        // A socket's path has at most 107 bytes: not below the agent's own folder.
        let folder = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let door = Self {
            socket: folder.join("s"),
            conf: folder.join("ceph.conf"),
            folder,
        };
        fs::write(&door.conf, text)?;
        Ok(door)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// One image behind its daemon.
struct Served {
    image: String,
    door: Door,
    child: Option<Child>,
    size: Bytes,
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
}

impl Served {
    async fn wait_until_it_listens(&mut self) -> io::Result<Connection> {
        let began = Instant::now();
        let child = self.child.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        loop {
            match Connection::open(&self.door.socket, EXPORT).await {
                Ok(connection) => return Ok(connection),
                Err(error) if began.elapsed() > OPEN_LIMIT => return Err(error),
                Err(_) => {}
            }
            if child.try_wait()?.is_some() {
                return Err(why_it_ended(child).await);
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn take(&self) -> io::Result<Connection> {
        if let Some(idle) = self.idle.lock().await.pop() {
            return Ok(idle);
        }
        Connection::open(&self.door.socket, EXPORT).await
    }

    /// Makes a request on a connection that nobody else uses. One whose request failed or was given
    /// up is closed: its next answer would be to the wrong question.
    async fn with<T>(
        &self,
        what: &'static str,
        request: impl AsyncFnOnce(&mut Connection) -> io::Result<T>,
    ) -> Result<T, RbdError> {
        let work = async {
            let _slot = self.slots.acquire().await.map_err(io::Error::other)?;
            let mut connection = self.take().await?;
            let answer = request(&mut connection).await?;
            self.idle.lock().await.push(connection);
            Ok(answer)
        };
        let answered = tokio::time::timeout(REQUEST_LIMIT, work).await;
        let answered = answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        answered.map_err(|source| RbdError::Bytes {
            image: self.image.clone(),
            what,
            source,
        })
    }
}

/// What a daemon that has ended said last.
async fn why_it_ended(child: &mut Child) -> io::Error {
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_string(&mut said).await;
    }
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    io::Error::other(last.unwrap_or("the block server ended").to_owned())
}

impl Drop for Served {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let asked = child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = asked {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        // Dropped without a runtime, or past its time, it is killed.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = tokio::time::timeout(END_LIMIT, child.wait()).await;
            });
        }
    }
}

#[async_trait]
impl Blocks for Served {
    fn size(&self) -> Bytes {
        self.size
    }

    async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, RbdError> {
        let mut bytes = Vec::with_capacity(length as usize);
        while bytes.len() < length as usize {
            let at = offset + bytes.len() as u64;
            let left = length as usize - bytes.len();
            let take = u32::try_from(left.min(REQUEST)).unwrap_or(u32::MAX);
            let read = self.with("cannot be read", async |connection| {
                connection.read(at, take).await
            });
            bytes.extend(read.await?);
        }
        Ok(bytes)
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), RbdError> {
        for (at, piece) in (0_u64..).zip(bytes.chunks(REQUEST)) {
            let at = offset + at * REQUEST as u64;
            let written = self.with("cannot be written", async |connection| {
                connection.write(at, piece).await
            });
            written.await?;
        }
        Ok(())
    }

    async fn discard(&self, offset: u64, length: u32) -> Result<(), RbdError> {
        self.with("cannot be discarded", async |connection| {
            connection.zero(offset, length).await
        })
        .await
    }

    async fn flush(&self) -> Result<(), RbdError> {
        self.with("cannot be flushed", async |connection| {
            connection.flush().await
        })
        .await
    }
}
