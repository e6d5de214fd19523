//! Who may open which volume, as storage hosts say: the fence is theirs.

use super::{
    AttachClaim, BTreeMap, ById, Epoch, Found, GrantItem, HostName, InstanceId, Outcome, Places,
    VmItem, kept, keys,
};

pub(super) struct Grants<'a> {
    found: ById<'a, GrantItem>,
}

/// Host and machine that an initiator name carries.
fn parties(initiator: &str) -> Option<(HostName, InstanceId)> {
    let (rest, vm) = initiator.rsplit_once(':')?;
    let (_, host) = rest.rsplit_once(':')?;
    let parties = (HostName::new(host).ok()?, vm.parse().ok()?);
    (GrantItem::initiator_name(&parties.0, parties.1) == initiator).then_some(parties)
}

impl<'a> Grants<'a> {
    pub fn new(found: ById<'a, GrantItem>) -> Self {
        Self { found }
    }

    /// Whether every disk of a machine is granted to it, on that host, at the epoch that it has.
    pub fn in_force(&self, vm: &Found<'_, VmItem>) -> bool {
        vm.body.disks.iter().all(|disk| {
            let newest = self.newest(disk.place());
            newest.is_some_and(|(epoch, initiator)| {
                epoch == disk.grant && initiator == disk.initiator
            })
        })
    }

    /// Whether some storage host has a grant of a place.
    pub fn has(&self, place: InstanceId) -> bool {
        self.found.contains_key(&place)
    }

    fn newest(&self, place: InstanceId) -> Option<(Epoch, &str)> {
        let newest = self.found.get(&place)?.first()?;
        Some((newest.item.epoch, &newest.body.initiator))
    }

    /// The attachments: each stands, also one whose machine nobody holds, so that the volume goes
    /// to no other before a person has looked.
    pub fn rebuild(
        &self,
        outcome: &mut Outcome,
        placed: &BTreeMap<InstanceId, HostName>,
        places: &Places,
    ) {
        for (place, several) in &self.found {
            let Some(newest) = several.first() else {
                continue;
            };
            let volume = places.volume_at(*place);
            let Some((host, vm)) = parties(&newest.body.initiator) else {
                outcome.disagree(format!(
                    "volume {volume} on {} is granted to {:?}, which names no machine of ours: \
                     delete that target by hand",
                    newest.host, newest.body.initiator,
                ));
                continue;
            };
            if placed.get(&vm) != Some(&host) {
                outcome.disagree(format!(
                    "volume {volume} on {} is granted to machine {vm} on host {host}, which does \
                     not hold that machine: nobody else gets the volume until the grant is gone",
                    newest.host,
                ));
            }
            let claim = AttachClaim { volume, vm, host };
            outcome.put(keys::attach(*place), &kept(claim, newest.item.epoch));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_initiator_name_gives_its_parties_back_and_a_foreign_one_does_not() {
        let host = HostName::new("compute-1").unwrap();
        let vm = InstanceId(Uuid::from_u128(7));
        let name = GrantItem::initiator_name(&host, vm);
        assert_eq!(parties(&name), Some((host, vm)));
        assert_eq!(parties("iqn.1993-08.org.debian:01:abc"), None);
        assert_eq!(parties(&format!("iqn.x:host:h1:{}", vm)), None);
    }
}
