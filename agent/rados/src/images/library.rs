//! What is used of `librbd.so.1`, as its header `rbd/librbd.h` declares it.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

use nix::libc::timespec;

use crate::Error;
use crate::library::Pool;

pub(crate) type Handle = *mut c_void;

/// An image that another was cloned from. The texts are the library's.
#[repr(C)]
pub(crate) struct Linked {
    pub pool_id: i64,
    pub pool_name: *mut c_char,
    pub pool_namespace: *mut c_char,
    pub image_id: *mut c_char,
    pub image_name: *mut c_char,
    pub trash: bool,
}

/// The snapshot that it was cloned from. The name is the library's.
#[repr(C)]
pub(crate) struct LinkedSnapshot {
    pub id: u64,
    pub kind: c_int,
    pub name: *mut c_char,
}

/// A snapshot of a list; the one after the last has no name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Listed {
    pub id: u64,
    pub size: u64,
    pub name: *const c_char,
}

/// One who has an image open. The address is the library's.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Watching {
    pub address: *mut c_char,
    pub id: i64,
    pub cookie: u64,
}

type Open = unsafe extern "C" fn(Pool, *const c_char, *mut Handle, *const c_char) -> c_int;
type Close = unsafe extern "C" fn(Handle) -> c_int;
type Get<T> = unsafe extern "C" fn(Handle, *mut T) -> c_int;
type GetText = unsafe extern "C" fn(Handle, *mut c_char, usize) -> c_int;
type GetParent = unsafe extern "C" fn(Handle, *mut Linked, *mut LinkedSnapshot) -> c_int;
type GetOf<T> = unsafe extern "C" fn(Handle, u64, *mut T) -> c_int;
type List<T, N> = unsafe extern "C" fn(Handle, *mut T, *mut N) -> c_int;
/// Whether they exclude each other, the tag they share, then clients, cookies and addresses, each
/// text with a zero byte behind it; each place with its length. The answer is how many there are.
type ListLockers = unsafe extern "C" fn(
    Handle,
    *mut c_int,
    *mut c_char,
    *mut usize,
    *mut c_char,
    *mut usize,
    *mut c_char,
    *mut usize,
    *mut c_char,
    *mut usize,
) -> isize;

/// Its functions. Like `librados` it is never closed.
pub(crate) struct Library {
    pub open_read_only: Open,
    pub close: Close,
    pub id: GetText,
    pub size: Get<u64>,
    pub changed: Get<timespec>,
    pub parent: GetParent,
    pub parent_end: unsafe extern "C" fn(*mut Linked),
    pub parent_snapshot_end: unsafe extern "C" fn(*mut LinkedSnapshot),
    pub snapshots: List<Listed, c_int>,
    pub snapshots_end: unsafe extern "C" fn(*mut Listed),
    pub snapshot_time: GetOf<timespec>,
    pub snapshot_kind: GetOf<c_int>,
    pub watchers: List<Watching, usize>,
    pub watchers_end: unsafe extern "C" fn(*mut Watching, usize),
    pub lockers: ListLockers,
}

impl Library {
    /// Opened once. One that was not there is looked for again the next time.
    pub fn get() -> Result<&'static Self, Error> {
        static OPENED: OnceLock<Library> = OnceLock::new();
        if let Some(library) = OPENED.get() {
            return Ok(library);
        }
        let library = Self::open().map_err(|source| Error::NoLibrary {
            library: "librbd.so.1",
            package: "librbd1",
            source,
        })?;
        Ok(OPENED.get_or_init(|| library))
    }

    fn open() -> Result<Self, libloading::Error> {
        // SAFETY: its initialisers are those of every client of Ceph, and the types above are those
        // of its header.
        unsafe {
            let file = libloading::Library::new("librbd.so.1")?;
            let library = Self {
                open_read_only: *file.get(b"rbd_open_read_only\0")?,
                close: *file.get(b"rbd_close\0")?,
                id: *file.get(b"rbd_get_id\0")?,
                size: *file.get(b"rbd_get_size\0")?,
                changed: *file.get(b"rbd_get_modify_timestamp\0")?,
                parent: *file.get(b"rbd_get_parent\0")?,
                parent_end: *file.get(b"rbd_linked_image_spec_cleanup\0")?,
                parent_snapshot_end: *file.get(b"rbd_snap_spec_cleanup\0")?,
                snapshots: *file.get(b"rbd_snap_list\0")?,
                snapshots_end: *file.get(b"rbd_snap_list_end\0")?,
                snapshot_time: *file.get(b"rbd_snap_get_timestamp\0")?,
                snapshot_kind: *file.get(b"rbd_snap_get_namespace_type\0")?,
                watchers: *file.get(b"rbd_watchers_list\0")?,
                watchers_end: *file.get(b"rbd_watchers_list_cleanup\0")?,
                lockers: *file.get(b"rbd_list_lockers\0")?,
            };
            std::mem::forget(file);
            Ok(library)
        }
    }
}
