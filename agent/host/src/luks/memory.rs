//! Files in memory that have no name: gone with the agent, however it ends.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// What programs that this process starts may open by its path, if they are of the same user.
pub struct Memory(File);

impl Memory {
    pub fn new(name: &str) -> io::Result<Self> {
        let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC)?;
        Ok(Self(File::from(fd)))
    }

    pub fn holding(name: &str, bytes: &[u8]) -> io::Result<Self> {
        let memory = Self::new(name)?;
        memory.0.write_all_at(bytes, 0)?;
        Ok(memory)
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    pub fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Gives back what a range takes; it is not read any more.
    pub fn give_back(&self, at: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&self.0, flags, at.cast_signed(), len.cast_signed())?;
        Ok(())
    }
}
