//! What was seen, with what each item looks for at hand: a host has thousands of grants, and each
//! asks for its volume's own and whether its user is its own.

use std::collections::BTreeMap;
use std::ops::Deref;

use dc_types::InstanceId;
use dc_types::plan::{GrantAccess, ItemBody, ItemKind};

use super::judge::live;
use super::seen::{GrantSeen, PoolSeen, Seen};
use crate::wanted::Wanted;

pub(super) struct Known<'a> {
    seen: &'a Seen,
    grants: BTreeMap<InstanceId, Vec<&'a GrantSeen>>,
    /// How many grants ask for each CHAP user.
    users: BTreeMap<&'a str, usize>,
}

impl<'a> Known<'a> {
    pub fn new(wanted: &Wanted<'a>, seen: &'a Seen) -> Self {
        let mut grants: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for grant in seen.pools.values().flat_map(|pool| pool.grants.listed()) {
            grants.entry(grant.volume).or_default().push(grant);
        }
        let mut users = BTreeMap::new();
        for item in wanted.of_kind(ItemKind::Grant) {
            if let ItemBody::Grant(grant) = &item.body
                && let GrantAccess::Iscsi { chap, .. } = &grant.access
                && live(wanted, &item.key).is_some()
            {
                *users.entry(chap.user.as_str()).or_default() += 1;
            }
        }
        Self {
            seen,
            grants,
            users,
        }
    }

    /// The grants of one volume; empty when they could not be listed.
    pub fn grants_of(&self, volume: InstanceId) -> impl Iterator<Item = &'a GrantSeen> + use<'a> {
        let grants = self.grants.get(&volume).cloned();
        grants.unwrap_or_default().into_iter()
    }

    /// Whether more than one grant asks for a CHAP user.
    pub fn is_shared(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|&grants| grants > 1)
    }

    /// The pools, as they were seen.
    pub fn pools(&self) -> impl Iterator<Item = &'a PoolSeen> + use<'a> {
        self.seen.pools.values()
    }
}

impl Deref for Known<'_> {
    type Target = Seen;
    fn deref(&self) -> &Seen {
        self.seen
    }
}
