//! An etcd of the test's own, and operators' ledgers on it.

use std::path::Path;
use std::time::Duration;

use dc_lab::cache::Cache;
use dc_lab::control_plane::{Durability, Etcd, Role, test_lab};
use dc_lab::lab::Lab;
use dc_lab::teardown;
use dc_lab::toolbox::Toolbox;
use dc_operator::leader::Leader;
use dc_operator::ledger::{Known, Ledger, Store, StoreConfig};
use dc_operator::metrics::Metrics;
use dc_operator_core::txn::Txn;
use dc_types::claim::{HeldBy, keys};
use dc_types::{ObjectUid, Vni};
use etcd_client::Client;
use uuid::Uuid;

/// The least that etcd grants.
pub const TTL: Duration = Duration::from_secs(2);

const CLUSTER: &str = "test";

/// Taken away when dropped.
pub struct TestLedger {
    lab: Lab,
    etcd: Etcd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stands {
    pub value: String,
    pub revision: u64,
    pub version: i64,
}

pub fn holder() -> HeldBy {
    HeldBy {
        holder: ObjectUid(Uuid::from_u128(1)),
    }
}

pub fn claim_vni(vni: u32) -> Txn {
    Txn::new(format!("vni {vni}")).claim(keys::vni(Vni(vni)), &holder())
}

pub fn holds(ledger: &Ledger, vni: u32) -> bool {
    ledger.with_claims(|claims| claims.held.contains_key(&keys::vni(Vni(vni))))
}

impl TestLedger {
    pub async fn start(name: &str) -> Self {
        let lab = test_lab(name).unwrap();
        let tools = Toolbox::ensure(&Cache::from_env().unwrap()).unwrap();
        let etcd = Etcd::new(&lab, &tools, Role::Ledger, Durability::InMemory);
        let place = Self { lab, etcd };
        place.etcd.ensure().await.unwrap();
        place
    }

    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    pub fn folder(&self) -> &Path {
        self.lab.folder()
    }

    /// `host:port` of the store.
    pub fn address(&self) -> String {
        self.etcd.url().trim_start_matches("http://").to_owned()
    }

    /// A ledger that is good, and a candidate for it.
    pub async fn operator(&self, known: Known) -> (Ledger, Leader) {
        self.operator_at(&self.etcd.url(), known).await
    }

    pub async fn operator_at(&self, url: &str, known: Known) -> (Ledger, Leader) {
        let (ledger, leader) = begin(url, known).await;
        let good = tokio::time::timeout(Duration::from_secs(30), ledger.wait_good()).await;
        assert!(good.is_ok(), "{:?}", ledger.health());
        (ledger, leader)
    }

    pub async fn operator_without_wait(&self, known: Known) -> (Ledger, Leader) {
        begin(&self.etcd.url(), known).await
    }

    pub async fn read(&self, key: &str) -> Option<Stands> {
        let got = self.client().await.get(full(key), None).await.unwrap();
        got.kvs().first().map(|kv| Stands {
            value: kv.value_str().unwrap().to_owned(),
            revision: kv.mod_revision().cast_unsigned(),
            version: kv.version(),
        })
    }

    pub async fn write(&self, key: &str, value: &str) {
        self.client()
            .await
            .put(full(key), value, None)
            .await
            .unwrap();
    }

    pub async fn delete(&self, key: &str) {
        self.client().await.delete(full(key), None).await.unwrap();
    }

    async fn client(&self) -> Client {
        Client::connect([self.etcd.url()], None).await.unwrap()
    }
}

impl Drop for TestLedger {
    fn drop(&mut self) {
        if let Err(error) = teardown::remove(&self.lab) {
            eprintln!("{error:#}");
        }
    }
}

fn full(key: &str) -> String {
    format!("/dc/{CLUSTER}/{key}")
}

async fn begin(url: &str, known: Known) -> (Ledger, Leader) {
    operators_of(&[url.to_owned()], known).await
}

/// A ledger of a store with these addresses, and a candidate for it.
pub async fn operators_of(urls: &[String], known: Known) -> (Ledger, Leader) {
    let config = StoreConfig {
        endpoints: urls.to_vec(),
        cluster: CLUSTER.to_owned(),
        tls: None,
    };
    let store = Store::connect(&config).await.unwrap();
    let ledger = Ledger::start(store, known, &Metrics::default());
    let leader = Leader::start(&ledger, "127.0.0.1:1", TTL);
    (ledger, leader)
}
