//! Zones: nothing is claimed for them; they are checked against each other.

use dc_crds::{Zone, ZoneStatus};
use ipnet::IpNet;

use crate::conditions::{Draft, Judged, merge};
use crate::subnet::validate::overlaps;
use crate::words::{Fact, all_words};

/// What was read for one zone.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub zone: &'a Zone,
    pub others: &'a [std::sync::Arc<Zone>],
    /// Subnets that name it.
    pub subnets: usize,
}

/// Pools that overlap would let two departments' subnets share a prefix by accident.
#[must_use]
pub fn validate(seen: &Seen<'_>) -> Vec<Fact> {
    let name = seen.zone.metadata.name.clone().unwrap_or_default();
    let mut wrong = Vec::new();
    for other in seen.others {
        let other_name = other.metadata.name.clone().unwrap_or_default();
        let meet = pools(seen.zone)
            .iter()
            .any(|a| pools(other).iter().any(|b| overlaps(*a, *b)));
        if other_name != name && meet {
            wrong.push(Fact::ZonePoolsOverlap {
                zone: name.clone(),
                other: other_name,
            });
        }
    }
    wrong
}

fn pools(zone: &Zone) -> Vec<IpNet> {
    let v4 = zone.spec.pool_v4.as_ref().map(|pool| IpNet::V4(pool.cidr));
    let v6 = zone.spec.pool_v6.as_ref().map(|pool| IpNet::V6(pool.cidr));
    v4.into_iter().chain(v6).collect()
}

#[must_use]
pub fn status(seen: &Seen<'_>, found: &[Fact], judged: &Judged<'_>) -> ZoneStatus {
    let words = all_words(found).unwrap_or_else(|| Fact::Ready.words());
    let old = seen.zone.status.as_ref();
    ZoneStatus {
        conditions: merge(
            old.map_or(&[], |old| &old.conditions),
            vec![Draft::ready(words)],
            judged,
        ),
        subnets: i64::try_from(seen.subnets).unwrap_or(i64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::ZoneSpec;
    use dc_crds::zone::{PoolV4, ZoneKind};
    use std::sync::Arc;

    fn zone(name: &str, cidr: &str) -> Zone {
        Zone::new(
            name,
            ZoneSpec {
                type_: ZoneKind::Dmz,
                pool_v4: Some(PoolV4 {
                    cidr: cidr.parse().unwrap(),
                    prefix_length: 26,
                }),
                pool_v6: None,
                ingress: vec![],
            },
        )
    }

    #[test]
    fn zones_whose_pools_overlap_are_told_of_each_other() {
        let dmz = zone("dmz", "10.16.0.0/12");
        let others = [
            Arc::new(dmz.clone()),
            Arc::new(zone("internal", "10.20.0.0/16")),
            Arc::new(zone("database", "10.48.0.0/12")),
        ];
        let seen = Seen {
            zone: &dmz,
            others: &others,
            subnets: 0,
        };
        assert_eq!(
            validate(&seen),
            [Fact::ZonePoolsOverlap {
                zone: "dmz".into(),
                other: "internal".into()
            }]
        );
    }
}
