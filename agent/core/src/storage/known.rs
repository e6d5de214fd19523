//! What was seen, with what each item looks for at hand: a host has thousands of grants, and each
//! asks for its own targets and whether its user is its own.

use std::collections::BTreeMap;
use std::ops::Deref;

use dc_types::InstanceId;
use dc_types::plan::{GrantAccess, ItemBody, ItemKind};

use super::judge::live;
use super::seen::{Seen, TargetSeen, TargetsSeen};
use crate::wanted::Wanted;

pub(super) struct Known<'a> {
    seen: &'a Seen,
    targets: BTreeMap<InstanceId, Vec<&'a TargetSeen>>,
    /// How many grants ask for each CHAP user.
    users: BTreeMap<&'a str, usize>,
}

impl<'a> Known<'a> {
    pub fn new(wanted: &Wanted<'a>, seen: &'a Seen) -> Self {
        let mut targets: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if let TargetsSeen::Listed(all) = &seen.targets {
            for target in all {
                if let Some((volume, _)) = target.grant() {
                    targets.entry(volume).or_default().push(target);
                }
            }
        }
        let mut users = BTreeMap::new();
        for item in wanted.of_kind(ItemKind::Grant) {
            if let ItemBody::Grant(grant) = &item.body
                && live(wanted, &item.key).is_some()
            {
                if let GrantAccess::Iscsi { chap } = &grant.access {
                    *users.entry(chap.user.as_str()).or_default() += 1;
                }
            }
        }
        Self {
            seen,
            targets,
            users,
        }
    }

    /// The targets of one volume; empty when they could not be listed.
    pub fn targets_of(&self, volume: InstanceId) -> impl Iterator<Item = &'a TargetSeen> + use<'a> {
        let targets = self.targets.get(&volume).cloned();
        targets.unwrap_or_default().into_iter()
    }

    /// Whether more than one grant asks for a CHAP user.
    pub fn is_shared(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|&grants| grants > 1)
    }
}

impl Deref for Known<'_> {
    type Target = Seen;
    fn deref(&self) -> &Seen {
        self.seen
    }
}
