//! A store as `rustic_core` wants to see it. It knows no locks: those are ours ([`crate::lock`]).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
};

use crate::store::{Kind, Store, StoreError};

#[derive(Clone)]
pub struct Backend(Arc<dyn Store>);

impl Backend {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn kind(file: FileType) -> Kind {
    match file {
        FileType::Config => Kind::Config,
        FileType::Key => Kind::Key,
        FileType::Snapshot => Kind::Snapshot,
        FileType::Index => Kind::Index,
        FileType::Pack => Kind::Pack,
    }
}

/// It goes along as the source, and [`crate::BackupError`] takes it out again.
fn wrap(error: StoreError) -> Box<RusticError> {
    let said = error.to_string();
    RusticError::with_source(ErrorKind::Backend, said, error)
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.0.location()
    }

    fn list_with_size(&self, file: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let files = self.0.list(kind(file)).map_err(wrap)?;
        // No file of the format reaches 4 GiB; one that does is told as the wrong size that it is.
        let sizes = files
            .into_iter()
            .map(|(id, size)| (id, u32::try_from(size).unwrap_or(u32::MAX)));
        Ok(sizes.collect())
    }

    fn read_full(&self, file: FileType, id: &Id) -> RusticResult<Bytes> {
        let bytes = self.0.read(kind(file), *id, None).map_err(wrap)?;
        Ok(bytes.into())
    }

    fn read_partial(
        &self,
        file: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let start = u64::from(offset);
        let range = start..start + u64::from(length);
        let bytes = self.0.read(kind(file), *id, Some(range)).map_err(wrap)?;
        Ok(bytes.into())
    }

    fn warmup_path(&self, file: FileType, id: &Id) -> String {
        format!("{}/{}", kind(file).folder(), id.to_hex().as_str())
    }
}

impl WriteBackend for Backend {
    fn create(&self) -> RusticResult<()> {
        self.0.create().map_err(wrap)
    }

    fn write_bytes(
        &self,
        file: FileType,
        id: &Id,
        _cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let bytes = content.slice().concat();
        self.0.write(kind(file), *id, &bytes).map_err(wrap)
    }

    fn remove(&self, file: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.0.remove(kind(file), *id).map_err(wrap)
    }
}
