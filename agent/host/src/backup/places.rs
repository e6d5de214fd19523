//! Where a repository is.

use std::fmt;
use std::sync::Arc;

use dc_backup::store::{LocalStore, RestAddress, RestStore, Store, StoreError};
use dc_types::plan::RepositoryPlace;
use tokio::runtime::Handle;

pub trait Places: Send + Sync {
    /// The place of a repository, whether there is one or not. Called, and what it gives used, on a
    /// thread that may block.
    ///
    /// # Errors
    /// When it is no place.
    fn open(&self, place: &RepositoryPlace, runtime: &Handle)
    -> Result<Arc<dyn Store>, StoreError>;
}

/// Folders of the host, and servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealPlaces;

impl Places for RealPlaces {
    fn open(
        &self,
        place: &RepositoryPlace,
        _runtime: &Handle,
    ) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match place {
            RepositoryPlace::Folder { path } => Arc::new(LocalStore::new(path)),
            RepositoryPlace::Rest {
                url,
                user,
                login,
                ca,
            } => Arc::new(RestStore::new(RestAddress {
                url: url.clone(),
                user: user.clone(),
                password: login.0.clone(),
                ca_pem: ca.clone(),
            })?),
        })
    }
}

/// A place, for people: without what opens it.
pub(super) struct Shown<'a>(pub &'a RepositoryPlace);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            RepositoryPlace::Folder { path } => f.write_str(path),
            RepositoryPlace::Rest { url, .. } => f.write_str(url),
        }
    }
}
