//! What an image of RBD says of itself. It is opened for reading only: nobody sees it watched for it,
//! and nothing in it changes.

mod library;

use std::ffi::{CStr, c_char, c_int};
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::libc::timespec;

use crate::objects::{MISSING, Objects};
use crate::{Error, check, text};
use library::{Handle, Library, Linked, LinkedSnapshot, Listed, Watching};

/// Of a snapshot that somebody made, not one that is kept for clones or made for a group.
const BY_A_USER: c_int = 0;
/// The library tells the room that it wants when this is too small.
const ROOM: usize = 64;
/// How often what is listed may grow while it is asked for.
const TRIES: usize = 8;

/// An image, open for reading.
pub struct Image<'a> {
    library: &'static Library,
    handle: Handle,
    name: String,
    /// What it was opened in must be there for as long.
    _objects: &'a Objects<'a>,
}

/// What an image was cloned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    pub namespace: String,
    pub image: String,
    pub id: String,
    /// Whether it was removed by name.
    pub in_trash: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// One that was taken later has a higher one.
    pub id: u64,
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Seconds since 1970.
    pub taken_at: i64,
}

/// One who has locked an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locker {
    /// Such as `client.4223`.
    pub client: String,
    pub cookie: String,
    pub address: String,
}

impl Objects<'_> {
    /// Opens an image of this namespace; `None` when there is none of that name.
    pub fn open_image(&self, name: &str) -> Result<Option<Image<'_>>, Error> {
        let library = Library::get()?;
        let called = text("an image's name", name)?;
        let mut handle: Handle = ptr::null_mut();
        let of = library.open_read_only;
        // SAFETY: the pool is open, the name and the place live through the call.
        let done = unsafe { of(self.pool(), called.as_ptr(), &raw mut handle, ptr::null()) };
        if done == MISSING {
            return Ok(None);
        }
        check(done, &format!("opening image {name}"))?;
        Ok(Some(Image {
            library,
            handle,
            name: name.to_owned(),
            _objects: self,
        }))
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody has it any more. Of one that is only read nothing can fail
        // to be written.
        unsafe { (self.library.close)(self.handle) };
    }
}

impl Image<'_> {
    fn check(&self, answer: c_int, what: &str) -> Result<(), Error> {
        check(answer, &format!("{what} of image {}", self.name))
    }

    /// Part of the names of its objects; never used again.
    pub fn id(&self) -> Result<String, Error> {
        let mut room: [c_char; ROOM] = [0; ROOM];
        // SAFETY: the image is open, and the place is as long as is said.
        let done = unsafe { (self.library.id)(self.handle, room.as_mut_ptr(), room.len()) };
        self.check(done, "the id")?;
        Ok(owned(room.as_ptr()))
    }

    /// In bytes.
    pub fn size(&self) -> Result<u64, Error> {
        let mut size = 0;
        // SAFETY: the image is open, the place lives through the call.
        let done = unsafe { (self.library.size)(self.handle, &raw mut size) };
        self.check(done, "the size").map(|()| size)
    }

    /// When it was last written to, about: seconds since 1970.
    pub fn changed_at(&self) -> Result<i64, Error> {
        let mut time = NEVER;
        // SAFETY: as in `size`.
        let done = unsafe { (self.library.changed)(self.handle, &raw mut time) };
        self.check(done, "the time of the last change")
            .map(|()| time.tv_sec)
    }

    pub fn parent(&self) -> Result<Option<Parent>, Error> {
        let mut image = MaybeUninit::<Linked>::zeroed();
        let mut snapshot = MaybeUninit::<LinkedSnapshot>::zeroed();
        let of = self.library.parent;
        // SAFETY: the image is open, the places live through the call.
        let done = unsafe { of(self.handle, image.as_mut_ptr(), snapshot.as_mut_ptr()) };
        if done == MISSING {
            return Ok(None);
        }
        self.check(done, "the parent")?;
        // SAFETY: the library has filled both in, and takes its texts back once.
        unsafe {
            let linked = image.assume_init_ref();
            let parent = Parent {
                namespace: owned(linked.pool_namespace),
                image: owned(linked.image_name),
                id: owned(linked.image_id),
                in_trash: linked.trash,
            };
            (self.library.parent_end)(image.as_mut_ptr());
            (self.library.parent_snapshot_end)(snapshot.as_mut_ptr());
            Ok(Some(parent))
        }
    }

    /// Those that somebody made, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        let mut found = Vec::new();
        for (id, size, name) in self.listed()? {
            let mut kind = BY_A_USER;
            let mut time = NEVER;
            // SAFETY: the image is open, the place lives through the call.
            let asked = unsafe { (self.library.snapshot_kind)(self.handle, id, &raw mut kind) };
            self.check(asked, &format!("the kind of snapshot {name}"))?;
            if kind != BY_A_USER {
                continue;
            }
            // SAFETY: the same.
            let asked = unsafe { (self.library.snapshot_time)(self.handle, id, &raw mut time) };
            self.check(asked, &format!("the time of snapshot {name}"))?;
            found.push(Snapshot {
                id,
                name,
                size,
                taken_at: time.tv_sec,
            });
        }
        found.sort_by_key(|snapshot| snapshot.id);
        Ok(found)
    }

    fn listed(&self) -> Result<Vec<(u64, u64, String)>, Error> {
        const NONE: Listed = Listed {
            id: 0,
            size: 0,
            name: ptr::null(),
        };
        let mut room = ROOM;
        for _ in 0..TRIES {
            let mut places = vec![NONE; room];
            let mut count = c_int::try_from(room).unwrap_or(c_int::MAX);
            let of = self.library.snapshots;
            // SAFETY: the image is open, and there are as many places as is said.
            let done = unsafe { of(self.handle, places.as_mut_ptr(), &raw mut count) };
            if done == -(Errno::ERANGE as c_int) {
                room = usize::try_from(count).unwrap_or(room) + 1;
                continue;
            }
            self.check(done, "the snapshots")?;
            let filled = places.iter().take_while(|one| !one.name.is_null());
            let found = filled.map(|one| (one.id, one.size, owned(one.name)));
            let found = found.collect();
            // SAFETY: the library has filled the places, to one without a name behind the last.
            unsafe { (self.library.snapshots_end)(places.as_mut_ptr()) };
            return Ok(found);
        }
        self.check(-(Errno::EAGAIN as c_int), "the snapshots")
            .map(|()| Vec::new())
    }

    /// The addresses of those who have it open for writing.
    pub fn watchers(&self) -> Result<Vec<String>, Error> {
        const NONE: Watching = Watching {
            address: ptr::null_mut(),
            id: 0,
            cookie: 0,
        };
        let mut room = ROOM;
        for _ in 0..TRIES {
            let mut places = vec![NONE; room];
            let mut count = room;
            let of = self.library.watchers;
            // SAFETY: the image is open, and there are as many places as is said.
            let done = unsafe { of(self.handle, places.as_mut_ptr(), &raw mut count) };
            if done == -(Errno::ERANGE as c_int) {
                room = count.max(room * 2);
                continue;
            }
            self.check(done, "the watchers")?;
            let found = places[..count].iter().map(|one| owned(one.address));
            let found = found.collect();
            // SAFETY: that many places are filled, and are given back once.
            unsafe { (self.library.watchers_end)(places.as_mut_ptr(), count) };
            return Ok(found);
        }
        self.check(-(Errno::EAGAIN as c_int), "the watchers")
            .map(|()| Vec::new())
    }

    pub fn lockers(&self) -> Result<Vec<Locker>, Error> {
        let mut room = 1024;
        for _ in 0..TRIES {
            let mut exclusive = 0;
            let mut texts: [Vec<u8>; 4] = std::array::from_fn(|_| vec![0; room]);
            let mut lengths = [room; 4];
            let [tag, clients, cookies, addresses] = &mut texts;
            let [tag_len, clients_len, cookies_len, addresses_len] = &mut lengths;
            // SAFETY: the image is open, and each place is as long as is said.
            let done = unsafe {
                (self.library.lockers)(
                    self.handle,
                    &raw mut exclusive,
                    tag.as_mut_ptr().cast(),
                    tag_len,
                    clients.as_mut_ptr().cast(),
                    clients_len,
                    cookies.as_mut_ptr().cast(),
                    cookies_len,
                    addresses.as_mut_ptr().cast(),
                    addresses_len,
                )
            };
            let done = c_int::try_from(done).unwrap_or(c_int::MAX);
            if done == -(Errno::ERANGE as c_int) {
                room = lengths.into_iter().max().unwrap_or(room).max(room * 2);
                continue;
            }
            self.check(done, "the locks")?;
            let count = usize::try_from(done).unwrap_or_default();
            let [_, clients, cookies, addresses] = &texts;
            let all = parts(clients).zip(parts(cookies)).zip(parts(addresses));
            let all = all.map(|((client, cookie), address)| Locker {
                client,
                cookie,
                address,
            });
            return Ok(all.take(count).collect());
        }
        self.check(-(Errno::EAGAIN as c_int), "the locks")
            .map(|()| Vec::new())
    }
}

const NEVER: timespec = timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// A text of the library's, or none.
fn owned(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library has put a zero byte behind it.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

/// Texts one behind the other, each with a zero byte at its end.
fn parts(of: &[u8]) -> impl Iterator<Item = String> {
    of.split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_one_behind_the_other_are_taken_apart() {
        let found: Vec<String> = parts(b"client.1\0client.22\0\0\0").take(2).collect();
        assert_eq!(found, ["client.1", "client.22"]);
    }
}
