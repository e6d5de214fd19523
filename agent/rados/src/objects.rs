//! Texts under keys in objects of a pool, as `rados listomapvals` shows them. Each call is one
//! operation on one object: it is done as a whole or not at all.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_uchar};
use std::ptr;

use super::library::{Operation, Pairs, Pool, bytes};
use super::{Cluster, Error, check, text};

/// Pairs that are asked for at once. OSDs give no more by themselves.
const AT_ONCE: u64 = 1024;

pub(crate) const MISSING: c_int = -(nix::errno::Errno::ENOENT as c_int);

/// A namespace of a pool. It follows the pool when it gets another name.
pub struct Objects<'a> {
    cluster: &'a Cluster,
    pool: Pool,
}

// As of the cluster's handle.
unsafe impl Send for Objects<'_> {}

impl Cluster {
    /// The objects of a namespace of a pool. A pool that is not there is told by `ENOENT`, also when
    /// it was there a moment ago: the newest map of the cluster is waited for first.
    pub fn open_objects(&self, pool: &str, namespace: &str) -> Result<Objects<'_>, Error> {
        let name = text("the pool's name", pool)?;
        let namespace = text("the namespace", namespace)?;
        // SAFETY: the handle is a live one.
        let newest = unsafe { (self.library.newest_map)(self.handle) };
        check(newest, "no newer map from the monitors")?;
        let mut opened: Pool = ptr::null_mut();
        // SAFETY: the handle is a live one, the name and the place live through the call.
        let done = unsafe { (self.library.pool_open)(self.handle, name.as_ptr(), &raw mut opened) };
        check(done, &format!("error opening pool {pool}"))?;
        // SAFETY: it was opened just now; the text lives through the call.
        unsafe { (self.library.pool_namespace)(opened, namespace.as_ptr()) };
        Ok(Objects {
            cluster: self,
            pool: opened,
        })
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody has it any more.
        unsafe { (self.cluster.library.pool_close)(self.pool) };
    }
}

impl Objects<'_> {
    pub(crate) fn pool(&self) -> Pool {
        self.pool
    }

    pub fn exists(&self, object: &str) -> Result<bool, Error> {
        let name = text("an object's name", object)?;
        let (mut size, mut time) = (0, 0);
        let of = self.cluster.library.stat;
        // SAFETY: the pool is open, the name and the places live through the call.
        let done = unsafe { of(self.pool, name.as_ptr(), &raw mut size, &raw mut time) };
        match done == MISSING {
            true => Ok(false),
            false => check(done, &format!("looking for {object}")).map(|()| true),
        }
    }

    /// The keys of an object that begin so. One that is not there has none.
    pub fn list(&self, object: &str, begin: &str) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let begin = text("the beginning of keys", begin)?;
        let mut all = BTreeMap::new();
        let mut after = String::new();
        loop {
            let from = text("a key", &after)?;
            let mut more: c_uchar = 0;
            let found = self.read(object, |operation, pairs, code| {
                let of = self.cluster.library.read_pairs;
                let begin = begin.as_ptr();
                // SAFETY: the operation is a live one; it has copied the texts when this returns,
                // and the places live until it is done.
                unsafe {
                    of(
                        operation,
                        from.as_ptr(),
                        begin,
                        AT_ONCE,
                        pairs,
                        &raw mut more,
                        code,
                    );
                }
            })?;
            let last = found.last_key_value().map(|(key, _)| key.clone());
            all.extend(found);
            match last {
                Some(last) if more != 0 => after = last,
                _ => return Ok(all),
            }
        }
    }

    /// What an object has under one key.
    pub fn get(&self, object: &str, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let name = text("a key", key)?;
        let (keys, lengths) = ([name.as_ptr()], [key.len()]);
        let mut found = self.read(object, |operation, pairs, code| {
            let of = self.cluster.library.read_pairs_of;
            // SAFETY: as in `list`.
            unsafe { of(operation, keys.as_ptr(), 1, lengths.as_ptr(), pairs, code) };
        })?;
        Ok(found.remove(key))
    }

    fn read(
        &self,
        object: &str,
        prepare: impl FnOnce(Operation, *mut Pairs, *mut c_int),
    ) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let library = self.cluster.library;
        let name = text("an object's name", object)?;
        let (mut pairs, mut code): (Pairs, c_int) = (ptr::null_mut(), 0);
        // SAFETY: it is ended below, whatever comes of it.
        let operation = unsafe { (library.read_begin)() };
        prepare(operation, &raw mut pairs, &raw mut code);
        // SAFETY: operation and pool are live ones, the name lives through the call.
        let done = unsafe { (library.read)(operation, self.pool, name.as_ptr(), 0) };
        // SAFETY: it is done.
        unsafe { (library.read_end)(operation) };
        let found = self.take(pairs);
        if done == MISSING {
            return Ok(BTreeMap::new());
        }
        check(done, &format!("reading {object}"))?;
        check(code, &format!("reading {object}"))?;
        found
    }

    /// Takes over what was read, and gives the library's own back.
    fn take(&self, pairs: Pairs) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut found = BTreeMap::new();
        if pairs.is_null() {
            return Ok(found);
        }
        let library = self.cluster.library;
        let outcome = loop {
            let (mut key, mut value): (*mut c_char, *mut c_char) =
                (ptr::null_mut(), ptr::null_mut());
            let (mut key_len, mut value_len) = (0, 0);
            // SAFETY: the pairs are live ones, and so are the places.
            let code = unsafe {
                (library.next)(
                    pairs,
                    &raw mut key,
                    &raw mut value,
                    &raw mut key_len,
                    &raw mut value_len,
                )
            };
            if let Err(error) = check(code, "the keys that were read") {
                break Err(error);
            }
            if key.is_null() {
                break Ok(());
            }
            let name = String::from_utf8_lossy(&bytes(key, key_len)).into_owned();
            found.insert(name, bytes(value, value_len));
        };
        // SAFETY: nothing of it is used any more.
        unsafe { (library.pairs_end)(pairs) };
        outcome.map(|()| found)
    }

    /// Durable when it returns.
    pub fn set(&self, object: &str, key: &str, value: &[u8]) -> Result<(), Error> {
        let name = text("a key", key)?;
        let (keys, key_lens) = ([name.as_ptr()], [key.len()]);
        let (values, value_lens) = ([value.as_ptr().cast::<c_char>()], [value.len()]);
        self.write(object, |operation| {
            let of = self.cluster.library.set_pairs;
            // SAFETY: the operation is a live one, and copies what it is given.
            unsafe {
                of(
                    operation,
                    keys.as_ptr(),
                    values.as_ptr(),
                    key_lens.as_ptr(),
                    value_lens.as_ptr(),
                    1,
                );
            }
        })
    }

    /// One that is not there is as good as removed.
    pub fn remove(&self, object: &str, key: &str) -> Result<(), Error> {
        let name: CString = text("a key", key)?;
        let (keys, lengths) = ([name.as_ptr()], [key.len()]);
        self.write(object, |operation| {
            let of = self.cluster.library.remove_pairs;
            // SAFETY: as in `set`.
            unsafe { of(operation, keys.as_ptr(), lengths.as_ptr(), 1) };
        })
    }

    fn write(&self, object: &str, prepare: impl FnOnce(Operation)) -> Result<(), Error> {
        let library = self.cluster.library;
        let name = text("an object's name", object)?;
        // SAFETY: it is ended below, whatever comes of it.
        let operation = unsafe { (library.write_begin)() };
        prepare(operation);
        // SAFETY: operation and pool are live ones, the name lives through the call; without a time
        // the object bears the present one.
        let done =
            unsafe { (library.write)(operation, self.pool, name.as_ptr(), ptr::null_mut(), 0) };
        // SAFETY: it is done.
        unsafe { (library.write_end)(operation) };
        check(done, &format!("writing {object}"))
    }
}
