//! Whether the pool is there and is the one that it was, and what the first look at it makes and
//! sweeps.

use std::sync::Arc;

use dc_types::Bytes;
use dc_types::plan::Portal;
use uuid::Uuid;

use super::pool::Pool;
use super::{RbdDriver, Readied, images, names, records};
use crate::drivers::DriverError;

/// Space is told in steps of this many bytes: it changes all the time, and each change is told.
const SPACE_STEP: u64 = 64 << 20;

impl RbdDriver {
    /// The pool, once it is seen to be the one that it was; readied by the first call.
    pub(super) async fn see_pool(&self) -> Result<&Arc<Pool>, DriverError> {
        let mut ready = self.ready.lock().await;
        let seen = self.see_id().await;
        let readied = match seen {
            Ok(()) if *ready == Readied::NotYet => self.make_ready().await,
            other => other,
        };
        *ready = match readied {
            Ok(()) => Readied::Done,
            Err(_) => Readied::NotYet,
        };
        readied.map(|()| &self.pool)
    }

    async fn see_id(&self) -> Result<(), DriverError> {
        let unusable = |fault| DriverError::PoolUnusable {
            pool: self.pool.name.clone(),
            fault,
        };
        let name = &self.pool.ceph_name;
        let is = match records::read_id(&self.pool).await {
            Err(DriverError::Tool { said, .. } | DriverError::NotThere { what: said, .. }) => {
                return Err(unusable(said));
            }
            other => other?,
        };
        let was = self
            .remembered
            .id_of(&self.pool.name)
            .map_err(|fault| unusable(format!("what is remembered of it: {fault}")))?;
        match (is, was) {
            (Some(is), Some(was)) if is == was => return Ok(()),
            (Some(is), Some(was)) => {
                return Err(unusable(format!(
                    "the pool {name} is another one, {is}, not {was}: see that ceph.conf names the \
                     right cluster"
                )));
            }
            (None, Some(was)) => {
                return Err(unusable(format!(
                    "the pool {name} has lost its id, {was}: it may have been made anew"
                )));
            }
            (Some(_), None) | (None, None) => {}
        }
        let id = match is {
            Some(id) => id,
            None => {
                let id = Uuid::new_v4();
                records::write_id(&self.pool, id).await?;
                id
            }
        };
        let kept = self.remembered.remember(&self.pool.name, id);
        kept.map_err(unusable)
    }

    /// Makes what the first call needs, and removes what a crash has left.
    async fn make_ready(&self) -> Result<(), DriverError> {
        let rbd = &self.pool.rbd;
        let made = rbd.ensure_namespace(names::IMAGES).await;
        made.map_err(|error| self.told(error))?;
        images::sweep_scratch(&self.scratch)
            .map_err(|error| DriverError::io(&self.pool.name, "emptying", &self.scratch, error))?;
        images::empty_trash(&self.pool).await?;
        tracing::info!(pool = %self.pool.name, "pool is ready");
        Ok(())
    }

    pub(super) async fn facts(&self) -> Result<(Bytes, Bytes, Vec<Portal>), DriverError> {
        let pool = self.see_pool().await?;
        let looked = tokio::try_join!(pool.cluster.read_space(), pool.cluster.list_monitors());
        let (space, monitors) = looked.map_err(|error| self.told(error))?;
        let portals = monitors.into_iter().map(|at| Portal {
            address: at.ip(),
            port: at.port(),
        });
        let used = space.used.0.div_ceil(SPACE_STEP) * SPACE_STEP;
        let capacity = (space.used.0 + space.free.0) / SPACE_STEP * SPACE_STEP;
        Ok((
            Bytes(capacity),
            Bytes(used.min(capacity)),
            portals.collect(),
        ))
    }
}
