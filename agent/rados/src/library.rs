//! What is used of `librados.so.2`, as its header `rados/librados.h` declares it.

use std::ffi::{c_char, c_int, c_long, c_uchar, c_void};
use std::sync::OnceLock;
use std::{ptr, slice};

use super::Error;

pub(crate) type Handle = *mut c_void;
/// A pool that objects are reached in.
pub(crate) type Pool = *mut c_void;
/// What is to be done to one object, as a whole or not at all.
pub(crate) type Operation = *mut c_void;
/// Keys and values that an operation has read.
pub(crate) type Pairs = *mut c_void;

type Create = unsafe extern "C" fn(*mut Handle, *const c_char) -> c_int;
type ReadFile = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
type Set = unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> c_int;
type Connect = unsafe extern "C" fn(Handle) -> c_int;
type Shutdown = unsafe extern "C" fn(Handle);
type Free = unsafe extern "C" fn(*mut c_char);
/// Commands and their number, input, and where the answer and the words beside it go.
type Command = unsafe extern "C" fn(
    Handle,
    *mut *const c_char,
    usize,
    *const c_char,
    usize,
    *mut *mut c_char,
    *mut usize,
    *mut *mut c_char,
    *mut usize,
) -> c_int;
/// The same of one daemon.
type CommandOf<T> = unsafe extern "C" fn(
    Handle,
    T,
    *mut *const c_char,
    usize,
    *const c_char,
    usize,
    *mut *mut c_char,
    *mut usize,
    *mut *mut c_char,
    *mut usize,
) -> c_int;

type ToPool = unsafe extern "C" fn(Handle, *const c_char, *mut Pool) -> c_int;
/// An object's name, and where its size and time go.
type Stat = unsafe extern "C" fn(Pool, *const c_char, *mut u64, *mut c_long) -> c_int;
type Begin = unsafe extern "C" fn() -> Operation;
/// An object's name and, of a change, the time that it is to bear.
type Read = unsafe extern "C" fn(Operation, Pool, *const c_char, c_int) -> c_int;
type Write = unsafe extern "C" fn(Operation, Pool, *const c_char, *mut c_void, c_int) -> c_int;
/// After which key, which ones by their beginning, how many at most; whether there are more.
type ReadPairs = unsafe extern "C" fn(
    Operation,
    *const c_char,
    *const c_char,
    u64,
    *mut Pairs,
    *mut c_uchar,
    *mut c_int,
);
/// Keys, their number, their lengths.
type ReadPairsOf = unsafe extern "C" fn(
    Operation,
    *const *const c_char,
    usize,
    *const usize,
    *mut Pairs,
    *mut c_int,
);
type Next = unsafe extern "C" fn(
    Pairs,
    *mut *mut c_char,
    *mut *mut c_char,
    *mut usize,
    *mut usize,
) -> c_int;
/// Keys, values, their lengths, how many.
type SetPairs = unsafe extern "C" fn(
    Operation,
    *const *const c_char,
    *const *const c_char,
    *const usize,
    *const usize,
    usize,
);
type RemovePairs = unsafe extern "C" fn(Operation, *const *const c_char, *const usize, usize);

/// Its functions. The library is never closed: its threads outlive handles for a moment.
pub(crate) struct Library {
    pub create: Create,
    pub conf_read_file: ReadFile,
    pub conf_set: Set,
    pub connect: Connect,
    pub shutdown: Shutdown,
    pub mon_command: Command,
    pub mon_command_target: CommandOf<*const c_char>,
    pub osd_command: CommandOf<c_int>,
    pub free: Free,
    pub newest_map: unsafe extern "C" fn(Handle) -> c_int,
    pub pool_open: ToPool,
    pub pool_namespace: unsafe extern "C" fn(Pool, *const c_char),
    pub pool_close: unsafe extern "C" fn(Pool),
    pub stat: Stat,
    pub read_begin: Begin,
    pub read_pairs: ReadPairs,
    pub read_pairs_of: ReadPairsOf,
    pub read: Read,
    pub read_end: unsafe extern "C" fn(Operation),
    pub next: Next,
    pub pairs_end: unsafe extern "C" fn(Pairs),
    pub write_begin: Begin,
    pub set_pairs: SetPairs,
    pub remove_pairs: RemovePairs,
    pub write: Write,
    pub write_end: unsafe extern "C" fn(Operation),
}

impl Library {
    /// Opened once. One that was not there is looked for again the next time.
    pub fn get() -> Result<&'static Self, Error> {
        static OPENED: OnceLock<Library> = OnceLock::new();
        if let Some(library) = OPENED.get() {
            return Ok(library);
        }
        let library = Self::open().map_err(|source| Error::NoLibrary {
            library: "librados.so.2",
            package: "librados2",
            source,
        })?;
        Ok(OPENED.get_or_init(|| library))
    }

    fn open() -> Result<Self, libloading::Error> {
        // SAFETY: its initialisers are those of every client of Ceph, and the types above are those
        // of its header.
        unsafe {
            let file = libloading::Library::new("librados.so.2")?;
            let library = Self {
                create: *file.get(b"rados_create\0")?,
                conf_read_file: *file.get(b"rados_conf_read_file\0")?,
                conf_set: *file.get(b"rados_conf_set\0")?,
                connect: *file.get(b"rados_connect\0")?,
                shutdown: *file.get(b"rados_shutdown\0")?,
                mon_command: *file.get(b"rados_mon_command\0")?,
                mon_command_target: *file.get(b"rados_mon_command_target\0")?,
                osd_command: *file.get(b"rados_osd_command\0")?,
                free: *file.get(b"rados_buffer_free\0")?,
                newest_map: *file.get(b"rados_wait_for_latest_osdmap\0")?,
                pool_open: *file.get(b"rados_ioctx_create\0")?,
                pool_namespace: *file.get(b"rados_ioctx_set_namespace\0")?,
                pool_close: *file.get(b"rados_ioctx_destroy\0")?,
                stat: *file.get(b"rados_stat\0")?,
                read_begin: *file.get(b"rados_create_read_op\0")?,
                read_pairs: *file.get(b"rados_read_op_omap_get_vals2\0")?,
                read_pairs_of: *file.get(b"rados_read_op_omap_get_vals_by_keys2\0")?,
                read: *file.get(b"rados_read_op_operate\0")?,
                read_end: *file.get(b"rados_release_read_op\0")?,
                next: *file.get(b"rados_omap_get_next2\0")?,
                pairs_end: *file.get(b"rados_omap_get_end\0")?,
                write_begin: *file.get(b"rados_create_write_op\0")?,
                set_pairs: *file.get(b"rados_write_op_omap_set2\0")?,
                remove_pairs: *file.get(b"rados_write_op_omap_rm_keys2\0")?,
                write: *file.get(b"rados_write_op_operate\0")?,
                write_end: *file.get(b"rados_release_write_op\0")?,
            };
            std::mem::forget(file);
            Ok(library)
        }
    }
}

/// What the library hands over, and takes back.
pub(crate) struct Answer {
    library: &'static Library,
    out: *mut c_char,
    out_len: usize,
    said: *mut c_char,
    said_len: usize,
}

type Places = (*mut *mut c_char, *mut usize, *mut *mut c_char, *mut usize);

impl Answer {
    pub fn new(library: &'static Library) -> Self {
        Self {
            library,
            out: ptr::null_mut(),
            out_len: 0,
            said: ptr::null_mut(),
            said_len: 0,
        }
    }

    pub fn places(&mut self) -> Places {
        (
            &raw mut self.out,
            &raw mut self.out_len,
            &raw mut self.said,
            &raw mut self.said_len,
        )
    }

    pub fn out(&self) -> Vec<u8> {
        bytes(self.out, self.out_len)
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&bytes(self.said, self.said_len)).into_owned()
    }
}

pub(crate) fn bytes(from: *const c_char, len: usize) -> Vec<u8> {
    if from.is_null() {
        return Vec::new();
    }
    // SAFETY: the library has written that many bytes there.
    unsafe { slice::from_raw_parts(from.cast::<u8>(), len) }.to_vec()
}

impl Drop for Answer {
    fn drop(&mut self) {
        for buffer in [self.out, self.said] {
            if !buffer.is_null() {
                // SAFETY: it is the library's, and nobody has it any more.
                unsafe { (self.library.free)(buffer) };
            }
        }
    }
}
