//! Where the bytes of a volume come from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A volume as it stood at one moment: what is read twice is the same. Read by several threads.
pub trait Source: Send + Sync {
    /// In bytes.
    fn size(&self) -> u64;

    /// Fills `bytes` from `offset` on; all of it lies within the size. Holes read as zero.
    ///
    /// # Errors
    /// When not all of it could be read.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}

/// A file or block device.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// # Errors
    /// When its size cannot be found out.
    pub fn new(mut file: File) -> io::Result<Self> {
        // A block device has no length of its own, and an end.
        let size = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.saturating_add(bytes.len());
        let within = self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(within);
        Ok(())
    }
}
