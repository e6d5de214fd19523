//! Joins storage drivers and the archiver: a snapshot of a pool as what is read, a volume as what is
//! restored to. The archiver blocks in threads of its own, and each waits for the driver there.

use std::io;
use std::sync::Arc;

use dc_agent_core::storage::Extent;
use dc_backup::archive::Since;
use dc_backup::source::Source;
use dc_backup::target::Target;
use dc_types::{InstanceId, SnapshotId};
use tokio::runtime::Handle;

use crate::drivers::{Driver, DriverError, ReadExtents, WriteExtents};

/// A snapshot to be archived.
pub struct Snapshot {
    pub source: SnapshotSource,
    /// What changed since the snapshot that the backup before was made of, if the driver can tell.
    pub since: Option<Since>,
    /// All that may hold data, if the driver can tell.
    pub allocated: Option<Vec<Extent>>,
}

/// Opens a snapshot; `base` is the one that the backup before was made of. That it is gone, or that
/// the driver cannot tell, costs a full read and is no error.
///
/// # Errors
/// When the snapshot cannot be opened, or the pool not be used.
pub async fn open_snapshot(
    driver: &dyn Driver,
    volume: InstanceId,
    base: Option<SnapshotId>,
    snapshot: SnapshotId,
) -> Result<Snapshot, DriverError> {
    let bytes = driver.open_snapshot(volume, snapshot).await?;
    let since = match base {
        None => None,
        Some(base) => changed(driver, volume, Some(base), snapshot)
            .await?
            .map(|extents| Since {
                snapshot: base.to_string(),
                extents,
            }),
    };
    Ok(Snapshot {
        source: SnapshotSource {
            bytes,
            runtime: Handle::current(),
        },
        since,
        allocated: changed(driver, volume, None, snapshot).await?,
    })
}

async fn changed(
    driver: &dyn Driver,
    volume: InstanceId,
    from: Option<SnapshotId>,
    to: SnapshotId,
) -> Result<Option<Vec<Extent>>, DriverError> {
    match driver.changed_extents(volume, from, to).await {
        Ok(extents) => Ok(Some(extents)),
        Err(DriverError::Unsupported { .. } | DriverError::NotThere { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Must not be read from an asynchronous task.
pub struct SnapshotSource {
    bytes: Arc<dyn ReadExtents>,
    runtime: Handle,
}

impl Source for SnapshotSource {
    fn size(&self) -> u64 {
        self.bytes.size().0
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        read_at(&*self.bytes, &self.runtime, offset, bytes)
    }
}

fn read_at(
    from: &dyn ReadExtents,
    runtime: &Handle,
    offset: u64,
    bytes: &mut [u8],
) -> io::Result<()> {
    let extent = Extent::new(offset, bytes.len() as u64);
    let read = runtime.block_on(from.read(extent));
    let read = read.map_err(io::Error::other)?;
    if read.len() != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.copy_from_slice(&read);
    Ok(())
}

/// Must not be written from an asynchronous task.
pub struct VolumeTarget {
    bytes: Arc<dyn WriteExtents>,
    runtime: Handle,
}

impl VolumeTarget {
    /// Nobody may hold the volume while it is open; that is the driver's to refuse.
    ///
    /// # Errors
    /// When it is granted to somebody, or not there.
    pub async fn open(driver: &dyn Driver, volume: InstanceId) -> Result<Self, DriverError> {
        Ok(Self {
            bytes: driver.open_volume(volume).await?,
            runtime: Handle::current(),
        })
    }
}

impl Source for VolumeTarget {
    fn size(&self) -> u64 {
        self.bytes.size().0
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        read_at(&*self.bytes, &self.runtime, offset, bytes)
    }
}

impl Target for VolumeTarget {
    fn size(&self) -> u64 {
        self.bytes.size().0
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let written = self.bytes.write(offset, bytes.to_vec());
        self.runtime.block_on(written).map_err(io::Error::other)
    }

    fn zero(&self, extent: Extent) -> io::Result<()> {
        let zeroed = self.bytes.discard(extent);
        self.runtime.block_on(zeroed).map_err(io::Error::other)
    }

    fn flush(&self) -> io::Result<()> {
        let flushed = self.bytes.flush();
        self.runtime.block_on(flushed).map_err(io::Error::other)
    }
}
