//! Grants over iSCSI: one target for each volume and epoch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::{Admits, Expose, FenceProof, GrantForm, GrantSeen};
use dc_types::PoolName;
use dc_types::plan::{GrantAccess, GrantItem};
use dc_types::report::{Lack, PoolPlace, Verb};
use tokio::sync::Notify;

use super::DriverError;
use super::folder::layout::volume_file;
use super::grants::Grants;
use crate::targets::{self, FENCE_LIMIT, TargetSeen, Targets, Tid};

/// The targets of one pool's volumes.
pub struct SanGrants {
    pool: PoolName,
    /// Where each pool lies that the daemon serves: targets are not kept by pool.
    roots: Arc<BTreeMap<PoolName, PathBuf>>,
    targets: Arc<dyn Targets>,
}

impl SanGrants {
    #[must_use]
    pub fn new(
        pool: PoolName,
        roots: Arc<BTreeMap<PoolName, PathBuf>>,
        targets: Arc<dyn Targets>,
    ) -> Self {
        Self {
            pool,
            roots,
            targets,
        }
    }

    /// A target of ours, unless its file lies in another pool. One that has no file yet is every
    /// pool's: whichever knows the volume takes it away.
    fn grant(&self, target: TargetSeen) -> Option<GrantSeen> {
        let (volume, epoch) = target.grant()?;
        let mut others = self.roots.iter().filter(|(pool, _)| **pool != self.pool);
        if let Some(lun) = &target.lun
            && others.any(|(_, root)| lun.starts_with(root))
        {
            return None;
        }
        let TargetSeen {
            tid,
            name: _,
            lun,
            accounts,
            acl,
            sessions,
        } = target;
        let expected = self
            .roots
            .get(&self.pool)
            .map(|root| volume_file(root, volume));
        let form = match (&accounts[..], &acl[..]) {
            ([user], [initiator]) if lun.is_some() && lun == expected => {
                GrantForm::Whole(Admits::Iscsi {
                    initiator: initiator.clone(),
                    user: user.clone(),
                })
            }
            _ => GrantForm::Broken(format!(
                "target {tid} has the file {lun:?}, the accounts {accounts:?} and admits {acl:?}"
            )),
        };
        Some(GrantSeen {
            pool: self.pool.clone(),
            volume,
            epoch,
            handle: tid.to_string(),
            form,
            holders: sessions,
        })
    }
}

#[async_trait]
impl Grants for SanGrants {
    async fn list(&self) -> Result<Vec<GrantSeen>, DriverError> {
        let listed = self.targets.list_targets().await?;
        let grants = listed.into_iter().filter_map(|target| self.grant(target));
        Ok(grants.collect())
    }

    async fn open(&self, order: &Expose, file: &Path) -> Result<(), DriverError> {
        let GrantAccess::Iscsi { chap } = &order.access else {
            return Err(DriverError::unsupported(
                &self.pool,
                "another way in than iSCSI",
                "its volumes are opened over iSCSI: the grant must have a CHAP account",
            ));
        };
        let target = targets::NewTarget {
            name: &GrantItem::target_name(order.volume, order.epoch),
            file,
            serial: &order.volume.to_string(),
            initiator: &order.initiator,
            chap,
        };
        targets::expose(&*self.targets, target).await?;
        Ok(())
    }

    async fn close(&self, grant: &GrantSeen) -> Result<FenceProof, DriverError> {
        let name = GrantItem::target_name(grant.volume, grant.epoch);
        let tid = grant
            .handle
            .parse()
            .map(Tid)
            .map_err(|_| DriverError::NotThere {
                pool: self.pool.clone(),
                what: format!("target {}", grant.handle),
            })?;
        let fenced = targets::fence(&*self.targets, tid, &name, FENCE_LIMIT).await?;
        Ok(FenceProof {
            epoch: grant.epoch,
            deleted: fenced.deleted,
            ended_at: jiff::Timestamp::now().as_second(),
            took_ms: u64::try_from(fenced.took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn follow(&self, changed: &Notify) {
        self.targets.follow(changed).await;
    }

    fn place(&self) -> PoolPlace {
        PoolPlace::Iscsi
    }

    fn lacks(&self) -> Vec<Lack> {
        vec![Lack {
            verb: Verb::GrowOnline,
            why:
                "the target daemon takes a file's size once, when it opens it: the machine must be \
                  stopped while its volume grows"
                    .to_owned(),
        }]
    }
}
