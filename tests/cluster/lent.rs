//! Control planes that tests hand on: one that a test has used is emptied and lent to the next, as
//! an API server takes longer to start than most tests take.
//!
//! What a test left in it is deleted from its etcd, which the API server follows as it follows any
//! other change; the ledger begins anew. One whose own objects (roles, policies, definitions) were
//! changed, or whose test failed, is taken away instead. So are all when the last one comes back:
//! nothing outlives the tests.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use dc_lab::chart;
use dc_lab::control_plane::{ControlPlane, Durability, TestControlPlane};
use etcd_client::{Client, GetOptions};
use futures::{StreamExt, TryStreamExt, stream};

/// A control plane with the chart, and nothing else in it.
pub struct Lent(Option<Furnished>);

struct Furnished {
    plane: TestControlPlane,
    /// All that its etcd held when the chart had just been installed.
    first: Keys,
}

type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct House {
    out: usize,
    idle: Vec<Furnished>,
}

static HOUSE: Mutex<House> = Mutex::new(House {
    out: 0,
    idle: Vec::new(),
});

fn house() -> MutexGuard<'static, House> {
    HOUSE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub async fn lend() -> Lent {
    let idle = {
        let mut house = house();
        house.out += 1;
        house.idle.pop()
    };
    // From here on its end is counted, however making it ends.
    let mut lent = Lent(None);
    if let Some(used) = idle {
        match used.empty().await {
            Ok(emptied) => lent.0 = Some(emptied),
            Err(error) => eprintln!("a control plane is not handed on: {error:#}"),
        }
    }
    if lent.0.is_none() {
        lent.0 = Some(Furnished::make().await.unwrap());
    }
    lent
}

impl Deref for Lent {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.0.as_ref().expect("it is set when lend returns").plane
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let back = self.0.take().filter(|_| !std::thread::panicking());
        let mut house = house();
        house.out -= 1;
        house.idle.extend(back);
        let gone = match house.out {
            0 => std::mem::take(&mut house.idle),
            _ => Vec::new(),
        };
        // Taking them away takes a while; others need not wait for it.
        drop(house);
        drop(gone);
    }
}

impl Furnished {
    async fn make() -> Result<Self> {
        let plane = ControlPlane::start_for_test("lent").await?;
        chart::ensure(&plane).await?;
        let first = keys(&mut store(&plane).await?).await?;
        Ok(Self { plane, first })
    }

    /// As it was made, or an error: then it is of no more use.
    async fn empty(self) -> Result<Self> {
        self.plane.ledger().wipe()?;
        // Also what the test killed.
        ControlPlane::ensure(self.plane.lab(), Durability::InMemory).await?;
        let mut store = store(&self.plane).await?;
        let now = keys(&mut store).await?;
        for (key, value) in self.first.iter().filter(|(key, _)| !moves_by_itself(key)) {
            let same = now.get(key) == Some(value);
            anyhow::ensure!(same, "{} has changed", String::from_utf8_lossy(key));
        }
        let left = now.into_keys();
        let left: Vec<_> = left.filter(|key| !self.first.contains_key(key)).collect();
        // Each at a revision of its own, as the API server itself deletes: of several at one revision a
        // watch that begins among them is not told of the rest, and what it follows has them for ever.
        let deletions = stream::iter(left).map(|key| {
            let mut kv = store.kv_client();
            async move { kv.delete(key, None).await }
        });
        let mut deletions = deletions.buffer_unordered(AT_ONCE);
        while deletions.try_next().await?.is_some() {}
        Ok(self)
    }
}

/// Deletions that are on their way to etcd.
const AT_ONCE: usize = 64;

/// What the API server and the controller manager write whenever they like.
fn moves_by_itself(key: &[u8]) -> bool {
    const THEIRS: [&str; 7] = [
        "apiregistration.k8s.io/",
        "events/",
        "flowschemas/",
        "leases/",
        "masterleases/",
        "peerserverleases/",
        "prioritylevelconfigurations/",
    ];
    let rest = key.strip_prefix(REGISTRY.as_bytes()).unwrap_or_default();
    THEIRS.iter().any(|kind| rest.starts_with(kind.as_bytes()))
}

/// Below it the API server keeps everything.
const REGISTRY: &str = "/registry/";

async fn store(plane: &ControlPlane) -> Result<Client> {
    let etcd = plane.store().context("the cluster is a given one")?;
    Ok(Client::connect([etcd.url()], None).await?)
}

async fn keys(store: &mut Client) -> Result<Keys> {
    let all = GetOptions::new().with_prefix();
    let mut answer = store.get(REGISTRY, Some(all)).await?;
    let pairs = answer.take_kvs().into_iter();
    Ok(pairs.map(|pair| pair.into_key_value()).collect())
}
