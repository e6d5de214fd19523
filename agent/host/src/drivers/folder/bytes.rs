//! What the kernel can do with the bytes of a sparse file: share, find, punch, erase, read back.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use dc_agent_core::storage::Extent;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::unistd::{Whence, lseek};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::drivers::compare::first_difference;
use crate::drivers::cutoff::effect;

/// Read and written at once.
const CHUNK: usize = 1 << 20;

/// How much the file system gives a volume at a time where it has nothing yet. A guest that writes 4 KiB here and
/// there makes an extent of each write, 100,000 of them in a GiB, and a clone then stops writes
/// for more than a second; this keeps them to a thousand, for at most 1 MiB of waste each.
const EXTENT_HINT: u32 = 1 << 20;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

/// `FS_XFLAG_EXTSIZE`: `extsize` holds.
const XFLAG_EXTSIZE: u32 = 0x800;

nix::ioctl_write_int!(ioctl_ficlone, 0x94, 9);
nix::ioctl_read!(ioctl_get_xattr, b'X', 31, FsXattr);
nix::ioctl_write_ptr!(ioctl_set_xattr, b'X', 32, FsXattr);

/// Makes `to`, which is empty, share all blocks of `from`.
pub fn clone(from: &File, to: &File) -> io::Result<()> {
    let source = u64::try_from(from.as_raw_fd()).expect("an open file's number is not negative");
    // SAFETY: both descriptors are open for as long as the files are borrowed, and FICLONE takes
    // the source's number by value and reads no memory of ours.
    unsafe { ioctl_ficlone(to.as_raw_fd(), source) }?;
    Ok(())
}

/// Asks for large extents. Only some file systems know this, and only for a file without bytes.
pub fn hint_extents(file: &File) -> io::Result<()> {
    let mut xattr = FsXattr::default();
    // SAFETY: the descriptor is open, and `xattr` is the struct that the call fills in.
    unsafe { ioctl_get_xattr(file.as_raw_fd(), &raw mut xattr) }?;
    xattr.xflags |= XFLAG_EXTSIZE;
    xattr.extsize = EXTENT_HINT;
    // SAFETY: as above; the call only reads `xattr`.
    unsafe { ioctl_set_xattr(file.as_raw_fd(), &raw const xattr) }?;
    Ok(())
}

/// Copies what `from` holds to the same places of `to`, leaving holes as they are.
pub fn copy(from: &File, to: &File) -> io::Result<()> {
    to.set_len(from.metadata()?.len())?;
    let mut buffer = vec![0; CHUNK];
    for extent in DataExtents::of(from) {
        let (start, end) = extent?;
        let mut at = start;
        while at < end {
            let take = chunk(end - at);
            let read = from.read_at(&mut buffer[..take], at)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            to.write_all_at(&buffer[..read], at)?;
            at += read as u64;
        }
    }
    Ok(())
}

/// The ranges of a file that hold data, as (start, end).
pub struct DataExtents<'a> {
    file: &'a File,
    at: i64,
}

impl<'a> DataExtents<'a> {
    pub fn of(file: &'a File) -> Self {
        Self { file, at: 0 }
    }

    fn step(&mut self) -> Result<(u64, u64), Errno> {
        let start = lseek(self.file.as_fd(), self.at, Whence::SeekData)?;
        let end = lseek(self.file.as_fd(), start, Whence::SeekHole)?;
        self.at = end;
        // The kernel gives no negative offsets.
        Ok((start.unsigned_abs(), end.unsigned_abs()))
    }
}

impl Iterator for DataExtents<'_> {
    type Item = io::Result<(u64, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(extent) => Some(Ok(extent)),
            // No data past here.
            Err(Errno::ENXIO) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Runs of blocks that held something, and their length in all.
    pub extents: u64,
    pub bytes: u64,
    /// Bytes that were read back at the end and are zero.
    pub verified: u64,
}

/// Why a file is not erased.
#[derive(Debug)]
pub enum EraseError {
    Io(io::Error),
    /// A byte that is not zero, or a block that is still there.
    Left {
        at: u64,
    },
}

impl From<io::Error> for EraseError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Whether blocks are overwritten before they are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    Not,
    Zeros,
    /// With random bytes, and then with zeros.
    Random,
}

/// Gives every block of a file back, after overwriting it if so asked, and reads back that all
/// that held something is zero. Only what holds data is written: a thin terabyte stays thin.
///
/// A block that is shared with a clone is not overwritten: the file system gives the zeros a new
/// block, and the clone keeps what is its own.
pub fn erase(file: &File, overwrite: Overwrite) -> Result<Erased, EraseError> {
    let extents: Vec<(u64, u64)> = DataExtents::of(file).collect::<io::Result<_>>()?;
    if overwrite == Overwrite::Random {
        let seed = rand::random();
        effect();
        over(&extents, &mut StdRng::from_seed(seed), |at, noise| {
            Ok(file.write_all_at(noise, at)?)
        })?;
        file.sync_all()?;
        forget_cached(file)?;
        let mut found = vec![0; CHUNK];
        over(&extents, &mut StdRng::from_seed(seed), |at, noise| {
            let found = &mut found[..noise.len()];
            file.read_exact_at(found, at)?;
            match first_difference(found, noise) {
                None => Ok(()),
                Some(offset) => Err(EraseError::Left {
                    at: at + offset as u64,
                }),
            }
        })?;
    }
    if overwrite != Overwrite::Not {
        effect();
        for &extent in &extents {
            write_zeros(file, extent)?;
        }
        file.sync_all()?;
        forget_cached(file)?;
        for &extent in &extents {
            read_zeros(file, extent)?;
        }
    }
    effect();
    punch_all(file)?;
    file.sync_all()?;
    forget_cached(file)?;
    // Before anything is read back: what is read lies in the cache afterwards, and over the room
    // that XFS keeps for blocks that were shared, the cache counts as data.
    match DataExtents::of(file).next() {
        None => {}
        Some(Ok((at, _))) => return Err(EraseError::Left { at }),
        Some(Err(error)) => return Err(error.into()),
    }
    let mut erased = Erased::default();
    for &(start, end) in &extents {
        read_zeros(file, (start, end))?;
        erased.extents += 1;
        erased.bytes += end - start;
        erased.verified += end - start;
    }
    Ok(erased)
}

/// Goes over extents in chunks, each with the next bytes of a stream.
fn over(
    extents: &[(u64, u64)],
    stream: &mut StdRng,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), EraseError>,
) -> Result<(), EraseError> {
    let mut noise = vec![0; CHUNK];
    for &(start, end) in extents {
        let mut at = start;
        while at < end {
            let take = chunk(end - at);
            stream.fill_bytes(&mut noise[..take]);
            each(at, &noise[..take])?;
            at += take as u64;
        }
    }
    Ok(())
}

/// Makes a hole.
pub fn punch(file: &File, extent: Extent) -> io::Result<()> {
    if extent.length == 0 {
        return Ok(());
    }
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let number = |bytes: u64| i64::try_from(bytes).map_err(io::Error::other);
    let (start, length) = (number(extent.start)?, number(extent.length)?);
    fallocate(file.as_fd(), flags, start, length)?;
    Ok(())
}

fn write_zeros(file: &File, (start, end): (u64, u64)) -> io::Result<()> {
    let zeros = vec![0; CHUNK];
    let mut at = start;
    while at < end {
        let take = chunk(end - at);
        file.write_all_at(&zeros[..take], at)?;
        at += take as u64;
    }
    Ok(())
}

fn read_zeros(file: &File, (start, end): (u64, u64)) -> Result<(), EraseError> {
    let (mut buffer, zeros) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = start;
    while at < end {
        let take = chunk(end - at);
        file.read_exact_at(&mut buffer[..take], at)?;
        if let Some(offset) = first_difference(&buffer[..take], &zeros[..take]) {
            let at = at + offset as u64;
            return Err(EraseError::Left { at });
        }
        at += take as u64;
    }
    Ok(())
}

fn punch_all(file: &File) -> io::Result<()> {
    // Up to a whole block past the end, or the last block would be zeroed and stay.
    let block = 1 << 16;
    let length = file.metadata()?.len().div_ceil(block) * block;
    punch(file, Extent::new(0, length))
}

/// So that reading back reads the disk.
fn forget_cached(file: &File) -> io::Result<()> {
    let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    posix_fadvise(file.as_fd(), 0, 0, advice)?;
    Ok(())
}

fn chunk(left: u64) -> usize {
    usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK))
}
