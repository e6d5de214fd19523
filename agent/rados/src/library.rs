//! What is used of `librados.so.2`, as its header `rados/librados.h` declares it.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;
use std::{ptr, slice};

use super::Error;

pub(crate) type Handle = *mut c_void;

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
}

impl Library {
    /// Opened once. One that was not there is looked for again the next time.
    pub fn get() -> Result<&'static Self, Error> {
        static OPENED: OnceLock<Library> = OnceLock::new();
        if let Some(library) = OPENED.get() {
            return Ok(library);
        }
        let library = Self::open().map_err(Error::NoLibrary)?;
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

fn bytes(from: *const c_char, len: usize) -> Vec<u8> {
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
