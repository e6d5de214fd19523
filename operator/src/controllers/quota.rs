//! What decisions about a department's objects are judged from: its limits, the classes of pools,
//! and what its other objects wish.
//!
//! Limits and claims are read anew for each look. Wishes only say who comes first: they are worked
//! out by the look at the department, within a second after something has changed, and the other
//! looks use what it found; whoever was kept waiting by an old picture is woken by the next one. Who
//! is not in the picture yet has it made anew, so that of many that come at once each sees the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use dc_crds::{Department, Subnet, VirtualMachine, Volume, VolumeSnapshot};
use dc_operator_core::claims::Claims;
use dc_operator_core::quota::wish::{ClassSizes, Wisher, ahead, begin, knows, reserved};
use dc_operator_core::quota::{
    AheadOf, Allowance, Amounts, Asker, Limits, Objects, PoolClasses, Wish, used,
};
use dc_operator_core::words::Fact;
use dc_types::ObjectUid;

use super::interest::Thing;
use super::look::Look;
use super::{Context, lock};
use crate::stores::{Key, Kind};

/// The wishes of each department as they were last worked out.
#[derive(Default)]
pub struct Wishes {
    by_department: Mutex<HashMap<String, Arc<Vec<Wish>>>>,
    /// Machines whose volumes this operator is making and may not see yet.
    begun: Mutex<BTreeSet<ObjectUid>>,
}

impl Wishes {
    /// Works them out anew.
    pub fn recount(&self, context: &Context, department: &str, claims: &Claims) -> Arc<Vec<Wish>> {
        let begun = lock(&self.begun).clone();
        let wishes = Arc::new(read_wishes(context, department, claims, &begun));
        lock(&self.by_department).insert(department.to_owned(), wishes.clone());
        wishes
    }

    fn last(&self, context: &Context, department: &str, claims: &Claims) -> Arc<Vec<Wish>> {
        let last = lock(&self.by_department).get(department).cloned();
        last.unwrap_or_else(|| self.recount(context, department, claims))
    }

    /// The last picture, or a new one if the asker is not in it.
    fn with(
        &self,
        context: &Context,
        department: &str,
        claims: &Claims,
        asker: Asker,
    ) -> Arc<Vec<Wish>> {
        let last = self.last(context, department, claims);
        match knows(&last, asker) {
            true => last,
            false => self.recount(context, department, claims),
        }
    }

    /// Notes whether volumes of a machine are being made. Told within the decision about them, so
    /// that the next decision knows of it.
    pub fn note_begun(&self, department: &str, machine: ObjectUid, making: bool) {
        if !making {
            lock(&self.begun).remove(&machine);
        } else if lock(&self.begun).insert(machine)
            && let Some(wishes) = lock(&self.by_department).get_mut(department)
        {
            let wishes: &mut Vec<Wish> = Arc::make_mut(wishes);
            begin(wishes, machine);
        }
    }

    pub fn forget(&self, department: &str) {
        lock(&self.by_department).remove(department);
    }
}

/// What is read for a decision about one object of a department.
pub struct Read<'a> {
    context: &'a Context,
    department: String,
    limits: Option<Limits>,
    classes: PoolClasses,
}

impl<'a> Read<'a> {
    /// The look also hears when there is room: see [`heed`].
    pub fn new(look: &mut Look<'a>, department: &str) -> Self {
        look.room(department);
        let context = look.context;
        let found = look.department("", department);
        Self {
            context,
            department: department.to_owned(),
            limits: match found.as_deref() {
                Some(found) => Some(limits_of(found)),
                // What is tried is nobody's, and charged to nobody.
                None if department == context.parts.namespace => Some(Limits::default()),
                None => None,
            },
            classes: classes(context),
        }
    }

    /// What older wishes ask for.
    pub fn ahead(&self, claims: &Claims, asker: Asker) -> Amounts {
        let Some(limits) = &self.limits else {
            return Amounts::default();
        };
        let wishes = &self.context.wishes;
        let wishes = wishes.with(self.context, &self.department, claims, asker);
        ahead(&wishes, claims, asker, limits)
    }

    /// What the department holds or waits for.
    pub fn taken(&self, claims: &Claims) -> Amounts {
        let wishes = &self.context.wishes;
        let wishes = wishes.last(self.context, &self.department, claims);
        let mut taken = used(claims, &self.department, &self.classes);
        taken.add_all(&reserved(&wishes, &self.limits()));
        taken
    }

    /// None without a Department.
    pub fn limits(&self) -> Limits {
        self.limits.clone().unwrap_or_default()
    }

    pub fn classes(&self) -> &PoolClasses {
        &self.classes
    }

    pub fn allowance<'b>(&'b self, ahead: AheadOf<'b>) -> Allowance<'b> {
        Allowance {
            department: &self.department,
            limits: self.limits.as_ref(),
            classes: &self.classes,
            ahead,
        }
    }
}

/// Ends the interest in room of whoever was not refused for the lack of it.
pub fn heed(look: &mut Look<'_>, department: &str, found: &[Fact]) {
    let refused = |fact: &Fact| matches!(fact, Fact::QuotaExceeded { .. });
    if !found.iter().any(refused) {
        look.forget(&Thing::Room(department.to_owned()));
    }
}

pub fn limits_of(department: &Department) -> Limits {
    Limits::read(department.spec.quota.as_ref())
}

/// Pools are few.
pub fn classes(context: &Context) -> PoolClasses {
    let pools = context.stores.pools.all();
    PoolClasses::read(pools.iter().map(|pool| &**pool))
}

/// What the objects of a department want, from the caches.
fn read_wishes(
    context: &Context,
    department: &str,
    claims: &Claims,
    begun: &BTreeSet<ObjectUid>,
) -> Vec<Wish> {
    let classes = classes(context);
    let stores = &context.stores;
    let vms = stores.vms.in_namespace(department);
    let volumes = stores.volumes.in_namespace(department);
    let subnets = stores.subnets.in_namespace(department);
    let snapshots = stores.snapshots.in_namespace(department);
    let sizes = stores.classes.all();
    let sizes = ClassSizes::read(sizes.iter().map(|class| &**class));
    let objects = Objects {
        vms: &references::<VirtualMachine>(&vms),
        volumes: &references::<Volume>(&volumes),
        subnets: &references::<Subnet>(&subnets),
        snapshots: &references::<VolumeSnapshot>(&snapshots),
        sizes: &sizes,
        classes: &classes,
        begun,
    };
    dc_operator_core::quota::wishes(&objects, claims)
}

fn references<K>(objects: &[Arc<K>]) -> Vec<&K> {
    objects.iter().map(|object| &**object).collect()
}

/// Wakes those of a department that wait for room and now have their turn.
pub fn wake_admitted(context: &Context, department: &str, admitted: &[&Wish]) {
    let waiting = context.interests.of(&Thing::Room(department.to_owned()));
    if waiting.is_empty() {
        return;
    }
    for wish in admitted {
        let kind = match wish.kind {
            Wisher::Vm => Kind::Vm,
            Wisher::Volume => Kind::Volume,
            Wisher::Subnet => Kind::Subnet,
            Wisher::Snapshot => Kind::Snapshot,
        };
        let key = Key::new(kind, department, &wish.name);
        if waiting.contains(&key) {
            context.queue.wake(key);
        }
    }
}
