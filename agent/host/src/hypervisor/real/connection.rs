//! The connection to libvirtd, and the limits within which it is used.
//!
//! A call blocks its thread until libvirtd answers, so each runs on a thread for blocking work and
//! is given up after its limit: the thread stays behind until libvirtd answers or dies, and a
//! bounded number of permits keeps a hung libvirtd from eating threads. A connection that has
//! failed is dropped, and the next call opens another: a restart of libvirtd is no more than one
//! failed call.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use virt::connect::Connect;
use virt::error::Error as VirtError;

use super::super::HypervisorError;
use super::QUICK;

/// Threads that a libvirtd which does not answer may hold.
const CALLS_MAX: usize = 16;

pub(super) struct Connection {
    uri: String,
    open: Mutex<Option<Arc<Connect>>>,
    permits: Arc<Semaphore>,
}

/// What a call on a blocking thread ends with.
pub(super) enum CallError {
    Virt(VirtError),
    Told(HypervisorError),
}

impl From<VirtError> for CallError {
    fn from(error: VirtError) -> Self {
        Self::Virt(error)
    }
}

impl Connection {
    pub(super) fn new(uri: String) -> Self {
        Self {
            uri,
            open: Mutex::new(None),
            permits: Arc::new(Semaphore::new(CALLS_MAX)),
        }
    }

    /// Makes one call. One that found its connection dead is made again on a new one when it only
    /// `looks`.
    pub(super) async fn call<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        limit: Duration,
        call: impl Fn(&Connect) -> Result<T, CallError> + Send + Sync + 'static,
    ) -> Result<T, HypervisorError> {
        let call = Arc::new(call);
        let work = async {
            let permit = Arc::clone(&self.permits)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let _permit = permit;
                shared.call_blocking(name, &*call)
            })
            .await
            .unwrap_or_else(|error| {
                Err(HypervisorError::Unreadable {
                    call: name,
                    message: error.to_string(),
                })
            })
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => {
                self.forget_connection();
                Err(HypervisorError::TimedOut {
                    call: name,
                    limit_s: limit.as_secs(),
                })
            }
        }
    }

    pub(super) async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        call: impl Fn(&Connect) -> Result<T, CallError> + Clone + Send + Sync + 'static,
    ) -> Result<T, HypervisorError> {
        self.look_within(name, QUICK, call).await
    }

    pub(super) async fn look_within<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        limit: Duration,
        call: impl Fn(&Connect) -> Result<T, CallError> + Clone + Send + Sync + 'static,
    ) -> Result<T, HypervisorError> {
        match self.call(name, limit, call.clone()).await {
            // libvirtd has been started anew since: the first call finds the old connection dead.
            Err(HypervisorError::Unreachable { .. }) => self.call(name, limit, call).await,
            result => result,
        }
    }

    fn call_blocking<T>(
        &self,
        name: &'static str,
        call: &(impl Fn(&Connect) -> Result<T, CallError> + ?Sized),
    ) -> Result<T, HypervisorError> {
        let unreachable = |error: &VirtError| HypervisorError::Unreachable {
            uri: self.uri.clone(),
            message: error.message().to_owned(),
        };
        let connection = self.connect().map_err(|error| unreachable(&error))?;
        match call(&connection) {
            Ok(value) => Ok(value),
            Err(CallError::Told(error)) => Err(error),
            Err(CallError::Virt(error)) => {
                if connection.is_alive().unwrap_or(false) {
                    Err(HypervisorError::Refused {
                        call: name,
                        message: error.message().to_owned(),
                    })
                } else {
                    self.forget_connection();
                    Err(unreachable(&error))
                }
            }
        }
    }

    fn connect(&self) -> Result<Arc<Connect>, VirtError> {
        let slot = || self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = slot().clone() {
            return Ok(connection);
        }
        // Opened without the lock: opening may hang, and others must be able to give up.
        let connection = Arc::new(Connect::open(Some(&self.uri))?);
        *slot() = Some(Arc::clone(&connection));
        Ok(connection)
    }

    fn forget_connection(&self) {
        let old = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Closing talks to libvirtd as well, so it is not done on this thread.
        if let Some(old) = old {
            std::thread::spawn(move || drop(old));
        }
    }
}
