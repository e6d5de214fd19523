//! Asking the daemons of a Ceph cluster what the `ceph` program asks them, over a connection that
//! is kept: the program is an interpreter with a thousand commands to learn, and takes half a second
//! of a processor for each question.
//!
//! `librados.so.2` is Ceph's own client library. It is opened when the first cluster is connected to,
//! so that hosts without a Ceph pool need not have it. No maintained binding of it is known that can
//! ask a single monitor or OSD; what is used here are some twenty functions of it.
//!
//! It also keeps short texts under keys in objects of a pool: see [`Cluster::open_objects`]; and it
//! looks at images of RBD, by `librbd.so.1` in the same way: see [`Objects::open_image`].
//!
//! Every call blocks, and every call has an end: what nobody answers gives up by the limits that the
//! connection was made with.

mod images;
mod library;
mod objects;

use std::ffi::{CString, NulError, c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;

use nix::errno::Errno;
use thiserror::Error;

pub use images::{Image, Locker, Parent, Snapshot};
use library::{Answer, Handle, Library};
pub use objects::Objects;

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Whichever monitor answers.
    Monitors,
    /// A single one, by its name without `mon.`.
    Monitor(String),
    Osd(i32),
}

/// What a connection is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Names the monitors, and the keyring of `user`.
    pub conf: PathBuf,
    /// Without the leading `client.`.
    pub user: String,
    /// Seconds until monitors are given up, at connecting and at each question.
    pub monitor_limit_s: u64,
    /// The same for OSDs.
    pub osd_limit_s: u64,
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("{library} cannot be opened: is the package {package} installed?")]
    NoLibrary {
        library: &'static str,
        package: &'static str,
        source: libloading::Error,
    },
    #[error("{what} has a zero byte in it")]
    ZeroByte {
        what: &'static str,
        source: NulError,
    },
    /// By the cluster, or by the library before anything was sent.
    #[error("{}: {said}", errno.desc())]
    Refused { errno: Errno, said: String },
}

/// A connection to a cluster. It finds its monitors again by itself.
pub struct Cluster {
    library: &'static Library,
    handle: Handle,
}

// The library's handles may be used by several threads at once.
unsafe impl Send for Cluster {}
unsafe impl Sync for Cluster {}

impl Cluster {
    /// Connects, within the limit for monitors.
    pub fn connect(place: &Place) -> Result<Self, Error> {
        let library = Library::get()?;
        let user = text("the user's name", &place.user)?;
        let mut handle: Handle = ptr::null_mut();
        // SAFETY: both pointers live through the call.
        let made = unsafe { (library.create)(&raw mut handle, user.as_ptr()) };
        check(made, "no handle of the cluster")?;
        // From here on the handle is given back whatever happens.
        let cluster = Self { library, handle };
        cluster.read_configuration(&place.conf)?;
        for (name, seconds) in [
            ("client_mount_timeout", place.monitor_limit_s),
            ("rados_mon_op_timeout", place.monitor_limit_s),
            ("rados_osd_op_timeout", place.osd_limit_s),
        ] {
            cluster.set(name, &seconds.to_string())?;
        }
        // Its errors come back to the caller; its own log is nobody's.
        cluster.set("log_to_stderr", "false")?;
        cluster.set("admin_socket", "")?;
        // SAFETY: the handle is a live one.
        let connected = unsafe { (library.connect)(cluster.handle) };
        check(connected, "no connection to the monitors")?;
        Ok(cluster)
    }

    fn read_configuration(&self, conf: &Path) -> Result<(), Error> {
        let path = text("the path of the configuration", &conf.to_string_lossy())?;
        // SAFETY: the handle is a live one, the path lives through the call.
        let read = unsafe { (self.library.conf_read_file)(self.handle, path.as_ptr()) };
        check(read, &format!("{} cannot be read", conf.display()))
    }

    fn set(&self, name: &str, value: &str) -> Result<(), Error> {
        let (option, to) = (text("an option", name)?, text("an option's value", value)?);
        // SAFETY: the handle is a live one, the texts live through the call.
        let set = unsafe { (self.library.conf_set)(self.handle, option.as_ptr(), to.as_ptr()) };
        check(set, &format!("{name} cannot be set"))
    }

    /// The answer to a command in JSON, such as `{"prefix": "osd stat", "format": "json"}`, with
    /// `input` as what goes with it.
    pub fn ask(&self, target: &Target, command: &str, input: &[u8]) -> Result<Vec<u8>, Error> {
        let command = text("a command", command)?;
        let mut commands = [command.as_ptr()];
        let mut answer = Answer::new(self.library);
        let of_input = (input.as_ptr().cast::<c_char>(), input.len());
        let (library, handle) = (self.library, self.handle);
        let commands = commands.as_mut_ptr();
        let (out, out_len, said, said_len) = answer.places();
        // SAFETY: the handle is a live one; one command, the input and the places of the answer
        // live through the call.
        let asked = match target {
            Target::Monitors => unsafe {
                (library.mon_command)(
                    handle, commands, 1, of_input.0, of_input.1, out, out_len, said, said_len,
                )
            },
            Target::Monitor(name) => {
                let name = text("a monitor's name", name)?;
                unsafe {
                    (library.mon_command_target)(
                        handle,
                        name.as_ptr(),
                        commands,
                        1,
                        of_input.0,
                        of_input.1,
                        out,
                        out_len,
                        said,
                        said_len,
                    )
                }
            }
            Target::Osd(number) => unsafe {
                (library.osd_command)(
                    handle, *number, commands, 1, of_input.0, of_input.1, out, out_len, said,
                    said_len,
                )
            },
        };
        check(asked, &answer.said())?;
        Ok(answer.out())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SAFETY: the handle is a live one, and nobody has it any more.
        unsafe { (self.library.shutdown)(self.handle) };
    }
}

fn text(what: &'static str, value: &str) -> Result<CString, Error> {
    CString::new(value).map_err(|source| Error::ZeroByte { what, source })
}

/// The library answers with the negative number of an error.
fn check(answer: c_int, said: &str) -> Result<(), Error> {
    if answer >= 0 {
        return Ok(());
    }
    Err(Error::Refused {
        errno: Errno::from_raw(-answer),
        said: said.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_below_zero_is_an_error_by_its_number() {
        assert!(check(0, "").is_ok());
        assert!(check(3, "").is_ok());
        let error = check(-2, "no such pool\n").unwrap_err().to_string();
        assert_eq!(error, "No such file or directory: no such pool");
    }

    #[test]
    fn a_name_with_a_zero_byte_is_refused_before_it_is_cut_off() {
        let error = text("the user's name", "a\0b").unwrap_err();
        assert_eq!(error.to_string(), "the user's name has a zero byte in it");
    }
}
