//! Objects of one kind in memory, kept by a watch, in the order of their names.
//!
//! Reads are answered from here, so that a thousand readers cost the API server nothing. A cache is
//! behind the API server by a moment; who has just written waits for it ([`Cache::wait_for`]), and
//! so reads what they wrote.

pub mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

/// How long who has written waits for their write to come back. Seconds mean that the watch is
/// being renewed; then the answer goes out anyway.
const WAIT: Duration = Duration::from_secs(2);

/// By department (empty for kinds that belong to none), then by name.
type Objects<K> = BTreeMap<String, BTreeMap<String, Arc<K>>>;

/// Cheap to clone; all clones are one cache.
pub struct Cache<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    objects: RwLock<Objects<K>>,
    /// Counts events; what is seen of it last is never newer than the objects.
    seen: watch::Sender<u64>,
    read: watch::Sender<bool>,
}

/// What one event did.
#[derive(Clone, Debug)]
pub enum Told<K> {
    Present(Arc<K>),
    Gone(Arc<K>),
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                objects: RwLock::default(),
                seen: watch::Sender::new(0),
                read: watch::Sender::new(false),
            }),
        }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Follows all objects of the kind for as long as the process lives, and tells every change.
    pub fn start(client: Client, tell: impl Fn(Told<K>) + Send + 'static) -> Self {
        let cache = Self::default();
        let taker = cache.clone();
        let config = watcher::Config::default().streaming_lists();
        tokio::spawn(async move {
            let events = watcher(Api::<K>::all(client), config).default_backoff();
            // What nobody reads and weighs most.
            let slim = |object: &mut K| object.meta_mut().managed_fields = None;
            let mut events = events.map_ok(|event| event.modify(slim)).boxed();
            let mut renewed = BTreeSet::new();
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => taker.take(event, &mut renewed).into_iter().for_each(&tell),
                    Err(error) => {
                        tracing::warn!(kind = %K::kind(&()), %error, "the watch is renewed");
                    }
                }
            }
        });
        cache
    }

    /// Becomes true once the kind was read whole.
    #[must_use]
    pub fn read(&self) -> watch::Receiver<bool> {
        self.inner.read.subscribe()
    }

    #[must_use]
    pub fn get(&self, department: &str, name: &str) -> Option<Arc<K>> {
        self.objects().get(department)?.get(name).cloned()
    }

    /// Up to `limit` objects after a name that fulfil a condition, and whether there are more.
    #[must_use]
    pub fn page(
        &self,
        department: &str,
        after: Option<&str>,
        limit: usize,
        is_meant: impl Fn(&K) -> bool,
    ) -> (Vec<Arc<K>>, bool) {
        let objects = self.objects();
        let Some(all) = objects.get(department) else {
            return (Vec::new(), false);
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let found = all.range::<str, _>((from, Bound::Unbounded));
        let found = found.map(|(_, object)| object);
        let found = found.filter(|object| is_meant(object)).take(limit + 1);
        let mut page: Vec<_> = found.cloned().collect();
        let more = page.len() > limit;
        page.truncate(limit);
        (page, more)
    }

    /// Waits, not for long, until the cache knows this state of an object or a newer one.
    pub async fn wait_for(&self, written: &K) {
        let (department, name) = place(written);
        let Some(version) = version(written) else {
            return;
        };
        let mut seen = self.inner.seen.subscribe();
        let known = seen.wait_for(|_| {
            let there = self.get(&department, &name);
            there.is_some_and(|there| crate::cache::version(&*there) >= Some(version))
        });
        if tokio::time::timeout(WAIT, known).await.is_err() {
            tracing::warn!(kind = %K::kind(&()), department, name, "the watch is late");
        }
    }

    fn take(&self, event: Event<K>, renewed: &mut BTreeSet<(String, String)>) -> Vec<Told<K>> {
        let told = match event {
            Event::Init => {
                renewed.clear();
                return Vec::new();
            }
            Event::Apply(object) => vec![self.put(object)],
            Event::InitApply(object) => {
                renewed.insert(place(&object));
                vec![self.put(object)]
            }
            Event::Delete(object) => self.remove(&object).into_iter().collect(),
            Event::InitDone => {
                let gone = self.retain(renewed);
                self.inner.read.send_replace(true);
                gone
            }
        };
        self.inner.seen.send_modify(|seen| *seen += 1);
        told
    }

    fn put(&self, object: K) -> Told<K> {
        let (department, name) = place(&object);
        let object = Arc::new(object);
        let mut objects = self.objects_mut();
        let of = objects.entry(department).or_default();
        of.insert(name, object.clone());
        Told::Present(object)
    }

    /// A late deletion of an older object of the name removes nothing newer.
    fn remove(&self, object: &K) -> Option<Told<K>> {
        let (department, name) = place(object);
        let mut objects = self.objects_mut();
        let of = objects.get_mut(&department)?;
        if of.get(&name)?.meta().uid != object.meta().uid {
            return None;
        }
        let gone = of.remove(&name)?;
        if of.is_empty() {
            objects.remove(&department);
        }
        Some(Told::Gone(gone))
    }

    fn retain(&self, renewed: &BTreeSet<(String, String)>) -> Vec<Told<K>> {
        let mut gone = Vec::new();
        let mut objects = self.objects_mut();
        for (department, of) in objects.iter_mut() {
            of.retain(|name, object| {
                let stays = renewed.contains(&(department.clone(), name.clone()));
                if !stays {
                    gone.push(Told::Gone(object.clone()));
                }
                stays
            });
        }
        objects.retain(|_, of| !of.is_empty());
        gone
    }

    fn objects(&self) -> RwLockReadGuard<'_, Objects<K>> {
        // Each change leaves them whole, so a panic elsewhere has not broken them.
        let objects = self.inner.objects.read();
        objects.unwrap_or_else(PoisonError::into_inner)
    }

    fn objects_mut(&self) -> RwLockWriteGuard<'_, Objects<K>> {
        let objects = self.inner.objects.write();
        objects.unwrap_or_else(PoisonError::into_inner)
    }
}

fn place<K: Resource>(object: &K) -> (String, String) {
    let meta = object.meta();
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// Kubernetes says since 1.35 that versions of one kind are numbers that grow.
fn version<K: Resource>(object: &K) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_crds::{MachineClass, MachineClassSpec};

    fn class(name: &str, uid: &str, version: u64) -> MachineClass {
        let spec = MachineClassSpec {
            vcpus: 1,
            memory: "1Gi".into(),
            cpu_model: "qemu64".into(),
        };
        let mut class = MachineClass::new(name, spec);
        class.metadata.uid = Some(uid.to_owned());
        class.metadata.resource_version = Some(version.to_string());
        class
    }

    fn names(page: &[Arc<MachineClass>]) -> Vec<String> {
        let names = page.iter().filter_map(|class| class.metadata.name.clone());
        names.collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let (cache, mut renewed) = (Cache::default(), BTreeSet::new());
        for name in ["d", "b", "a", "c"] {
            cache.take(Event::Apply(class(name, name, 1)), &mut renewed);
        }
        let (first, more) = cache.page("", None, 2, |_| true);
        assert_eq!((names(&first), more), (vec!["a".into(), "b".into()], true));
        // The last one of the page goes away in between.
        cache.take(Event::Delete(class("b", "b", 2)), &mut renewed);
        let (second, more) = cache.page("", Some("b"), 2, |_| true);
        assert_eq!(
            (names(&second), more),
            (vec!["c".into(), "d".into()], false)
        );
    }

    #[test]
    fn what_a_renewed_watch_does_not_show_is_gone_and_told() {
        let (cache, mut renewed) = (Cache::default(), BTreeSet::new());
        for event in [
            Event::Apply(class("a", "1", 1)),
            Event::Apply(class("b", "2", 1)),
            Event::Init,
            Event::InitApply(class("b", "2", 1)),
        ] {
            cache.take(event, &mut renewed);
        }
        assert!(!*cache.read().borrow());
        let gone = cache.take(Event::InitDone, &mut renewed);
        assert!(
            matches!(gone.as_slice(), [Told::Gone(class)] if class.metadata.name.as_deref() == Some("a"))
        );
        assert!(cache.get("", "a").is_none() && cache.get("", "b").is_some());
        assert!(*cache.read().borrow());
    }

    #[test]
    fn a_late_deletion_does_not_remove_a_newer_object_of_the_name() {
        let (cache, mut renewed) = (Cache::default(), BTreeSet::new());
        cache.take(Event::Apply(class("a", "2", 5)), &mut renewed);
        cache.take(Event::Delete(class("a", "1", 4)), &mut renewed);
        assert!(cache.get("", "a").is_some());
    }

    #[tokio::test]
    async fn who_has_written_waits_until_the_cache_knows_it() {
        let cache = Cache::default();
        let written = class("a", "1", 7);
        let (waiter, taker) = (cache.clone(), cache.clone());
        let take = async move {
            taker.take(Event::Apply(class("a", "1", 6)), &mut BTreeSet::new());
            taker.take(Event::Apply(class("a", "1", 7)), &mut BTreeSet::new());
        };
        tokio::join!(waiter.wait_for(&written), take);
        let there = cache.get("", "a").unwrap();
        assert_eq!(there.metadata.resource_version.as_deref(), Some("7"));
    }
}
