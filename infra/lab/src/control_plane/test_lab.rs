//! A control plane for one test: its own server, its own ledger, gone when the test is.

use std::ops::Deref;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;

use super::{ControlPlane, Durability};
use crate::lab::{Lab, LabName, Owner};
use crate::process::Identity;
use crate::teardown;

/// Taken away when dropped, also by a panic. If the test process is killed instead, the next one
/// that starts a control plane takes it away.
#[derive(Debug)]
pub struct TestControlPlane {
    plane: Option<ControlPlane>,
    lab: Lab,
}

impl ControlPlane {
    /// A control plane for the test `name` (lower-case, short) of the running test process.
    pub async fn start_for_test(name: &str) -> Result<TestControlPlane> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| {
            if let Err(error) = teardown::remove_orphans() {
                tracing::warn!("an orphaned lab of an earlier test stays: {error:#}");
            }
        });
        let lab = test_lab(name)?;
        // From here on the guard takes away whatever is there, also when starting fails.
        let mut guard = TestControlPlane { plane: None, lab };
        guard.plane = Some(Self::ensure(&guard.lab, Durability::InMemory).await?);
        Ok(guard)
    }
}

/// An empty lab that belongs to this test process.
pub fn test_lab(name: &str) -> Result<Lab> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name: LabName = format!("test-{name}-{}-{count}", std::process::id()).parse()?;
    Lab::open_or_create(&name, Owner::Test(Identity::own()?))
}

impl TestControlPlane {
    /// Takes it away and says if something could not be: for tests of just that.
    pub fn stop(mut self) -> Result<()> {
        self.plane = None;
        teardown::remove(&self.lab)
    }
}

impl Deref for TestControlPlane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.plane
            .as_ref()
            .expect("it is set when start_for_test returns")
    }
}

impl Drop for TestControlPlane {
    fn drop(&mut self) {
        if self.lab.folder().exists()
            && let Err(error) = teardown::remove(&self.lab)
        {
            eprintln!("{error:#}");
        }
    }
}
