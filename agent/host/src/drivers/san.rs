//! Grants over iSCSI: one target for each volume and epoch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dc_agent_core::storage::{Admits, Expose, FenceProof, GrantForm, GrantSeen};
use dc_types::PoolName;
use dc_types::plan::{GrantAccess, GrantItem};
use dc_types::report::{Lack, PoolPlace};
use tokio::sync::Notify;

use super::DriverError;
use super::folder::layout::volume_file;
use super::grants::{Grants, Sizing};
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

    async fn open(
        &self,
        order: &Expose,
        file: &Path,
        there: Option<&GrantSeen>,
    ) -> Result<(), DriverError> {
        let GrantAccess::Iscsi { chap } = &order.access else {
            return Err(DriverError::unsupported(
                &self.pool,
                "another way in than iSCSI",
                "its volumes are opened over iSCSI: the grant must have a CHAP account",
            ));
        };
        if let Some(there) = there {
            if there.form == GrantForm::Whole(Admits::of(&order.initiator, &order.access)) {
                return Ok(());
            }
            // It was cut off while it was made: nobody has got in through it.
            self.close(there).await?;
        }
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

    /// The daemon takes a file's size once, when it opens it, and can be told of another only while
    /// nothing is in flight [measured: else guests get errors].
    fn sizing(&self) -> Sizing {
        Sizing::AtGrant
    }

    fn lacks(&self) -> Vec<Lack> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::grants::find_own;
    use crate::knobs::Knobs;
    use crate::targets::FakeTargets;
    use dc_types::plan::{Chap, Secret};
    use dc_types::{Epoch, InstanceId};
    use uuid::Uuid;

    fn pool(name: &str) -> PoolName {
        PoolName::new(name).unwrap()
    }

    fn grants(name: &str, targets: &FakeTargets) -> SanGrants {
        let root = |name: &str| (pool(name), PathBuf::from(format!("/pools/{name}")));
        let roots = Arc::new(BTreeMap::from([root("p1"), root("p2")]));
        SanGrants::new(pool(name), roots, Arc::new(targets.clone()))
    }

    fn order(n: u128, revision: u64) -> Expose {
        let volume = InstanceId(Uuid::from_u128(n));
        Expose {
            pool: pool("p1"),
            volume,
            epoch: Epoch {
                incarnation: 1,
                revision,
            },
            initiator: "iqn.h1".into(),
            access: GrantAccess::Iscsi {
                chap: Chap {
                    user: format!("{volume}.{revision}"),
                    secret: Secret("secret123456".into()),
                },
            },
        }
    }

    fn file(order: &Expose) -> PathBuf {
        volume_file(Path::new("/pools/p1"), order.volume)
    }

    async fn open(grants: &SanGrants, order: &Expose, file: &Path) {
        let listed = grants.list().await.unwrap();
        let there = find_own(order, &listed).unwrap();
        grants.open(order, file, there).await.unwrap();
    }

    #[tokio::test]
    async fn a_grant_is_its_own_pools_and_foreign_targets_are_nobodys() {
        let targets = FakeTargets::new(Knobs::new());
        let (p1, p2) = (grants("p1", &targets), grants("p2", &targets));
        let order = order(1, 6);
        open(&p1, &order, &file(&order)).await;
        let foreign = [
            "iqn.2001-04.com.example:disk".to_owned(),
            format!("iqn.2001-04.com.example:{}:1.3", order.volume),
        ];
        for name in &foreign {
            let tid = targets.reserve_tid().await.unwrap();
            targets.create_target(tid, name).await.unwrap();
        }
        let listed = p1.list().await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        let whole = GrantForm::Whole(Admits::of(&order.initiator, &order.access));
        assert_eq!(listed[0].form, whole);
        assert_eq!(p2.list().await.unwrap(), []);
        p1.close(&listed[0]).await.unwrap();
        assert_eq!(p1.list().await.unwrap(), []);
        assert_eq!(targets.list_targets().await.unwrap().len(), foreign.len());
    }

    #[tokio::test]
    async fn a_target_that_was_cut_off_while_it_was_made_is_broken_and_made_anew() {
        let targets = FakeTargets::new(Knobs::new());
        let p1 = grants("p1", &targets);
        let order = order(1, 6);
        let tid = targets.reserve_tid().await.unwrap();
        let name = GrantItem::target_name(order.volume, order.epoch);
        targets.create_target(tid, &name).await.unwrap();
        // It has no file yet: any pool may find it, and none calls it whole.
        for pool in ["p1", "p2"] {
            let listed = grants(pool, &targets).list().await.unwrap();
            assert!(matches!(listed[0].form, GrantForm::Broken(_)), "{listed:?}");
        }
        for _ in 0..2 {
            open(&p1, &order, &file(&order)).await;
            let listed = p1.list().await.unwrap();
            assert_eq!(listed.len(), 1);
            assert!(matches!(listed[0].form, GrantForm::Whole(_)), "{listed:?}");
            assert_ne!(listed[0].handle, tid.to_string(), "a number is used twice");
        }
    }

    #[tokio::test]
    async fn a_target_with_another_file_or_more_than_one_initiator_is_broken() {
        let targets = FakeTargets::new(Knobs::new());
        let p1 = grants("p1", &targets);
        let (one, two) = (order(1, 6), order(2, 6));
        open(&p1, &one, &file(&two)).await;
        open(&p1, &two, &file(&two)).await;
        let open = targets.list_targets().await.unwrap();
        targets
            .allow_initiator(open[1].tid, "iqn.h2")
            .await
            .unwrap();
        for grant in p1.list().await.unwrap() {
            assert!(matches!(grant.form, GrantForm::Broken(_)), "{grant:?}");
        }
    }
}
