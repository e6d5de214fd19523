//! etcd's own words, under the ledger's prefix and with a limit on every wait.

use std::future::Future;

use etcd_client::{
    Certificate, Client, Compare, ConnectOptions, DeleteOptions, GetOptions, Identity, KeyValue,
    LeaseKeepAliveStream, LeaseKeeper, Member, PutOptions, ResponseHeader, TlsOptions, Txn, TxnOp,
    TxnOpResponse, WatchOptions, WatchStream,
};
use thiserror::Error;
use tonic::Code;

use super::REQUEST;
use super::mirror::Entry;

/// Keys in one page of a whole read. A claim is about 1 kB; gRPC's default limit is 4 MB.
const PAGE: i64 = 1000;

#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// `http://` or `https://` URLs of the members.
    pub endpoints: Vec<String>,
    /// The data centre's name; several may share one etcd.
    pub cluster: String,
    pub tls: Option<StoreTls>,
}

/// PEM texts for `https://` endpoints.
#[derive(Clone, Debug)]
pub struct StoreTls {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("no answer within {REQUEST:?}")]
    Timeout,
    #[error("no answer")]
    Etcd(#[from] etcd_client::Error),
    #[error("etcd's answer does not read: {0}")]
    Answer(&'static str),
}

impl StoreError {
    /// Whether the request was certainly not carried out. Everything else may have been, or may
    /// still be.
    pub fn is_refusal(&self) -> bool {
        let StoreError::Etcd(etcd_client::Error::GRpcStatus(status)) = self else {
            return false;
        };
        matches!(
            status.code(),
            Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::OutOfRange
                | Code::ResourceExhausted
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::Unimplemented
        )
    }
}

/// Which store answered, and how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub cluster_id: u64,
    pub revision: u64,
}

/// What a transaction answered: one read for each get of the branch that was taken.
#[derive(Debug)]
pub struct Answer {
    pub succeeded: bool,
    pub at: At,
    pub reads: Vec<Option<Entry>>,
}

/// A connection to the ledger's etcd. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    client: Client,
    options: ConnectOptions,
    prefix: String,
}

impl Store {
    /// Does not wait for the store to be there.
    pub async fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        // Pings find a peer that is gone without a word; etcd refuses them more often than 5 s.
        let mut options = ConnectOptions::new()
            .with_connect_timeout(REQUEST)
            .with_keep_alive(REQUEST, REQUEST)
            .with_require_leader(true);
        if let Some(tls) = &config.tls {
            let tls = TlsOptions::new()
                .ca_certificate(Certificate::from_pem(&tls.ca))
                .identity(Identity::from_pem(&tls.certificate, &tls.key));
            options = options.with_tls(tls);
        }
        let client = Client::connect(&config.endpoints, Some(options.clone())).await?;
        Ok(Self {
            client,
            options,
            prefix: format!("/dc/{}/", config.cluster),
        })
    }

    /// Who makes up the store now.
    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let listed = within(self.client.cluster_client().member_list()).await?;
        Ok(listed.members().to_vec())
    }

    /// One member by its own addresses.
    pub async fn connect_to(&self, urls: &[String]) -> Result<Client, StoreError> {
        within(Client::connect(urls, Some(self.options.clone()))).await
    }

    pub fn key(&self, relative: &str) -> String {
        format!("{}{relative}", self.prefix)
    }

    /// Every key, as of one revision.
    pub async fn read_all(&self) -> Result<(Vec<Entry>, At), StoreError> {
        let mut entries = Vec::new();
        let mut first: Option<At> = None;
        let mut from = self.prefix.clone().into_bytes();
        let end = prefix_end(self.prefix.as_bytes());
        loop {
            let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
            if let Some(first) = first {
                options = options.with_revision(first.revision.cast_signed());
            }
            let mut kv = self.client.kv_client();
            let page = within(kv.get(from.clone(), Some(options))).await?;
            first.get_or_insert(at(page.header())?);
            for kv in page.kvs() {
                entries.extend(self.entry(kv));
            }
            match page.kvs().last() {
                Some(last) if page.more() => {
                    from = last.key().to_vec();
                    from.push(0);
                }
                _ => {
                    let first = first.ok_or(StoreError::Answer("no header"))?;
                    return Ok((entries, first));
                }
            }
        }
    }

    pub async fn read_key(&self, key: &str) -> Result<(Option<Entry>, At), StoreError> {
        let mut kv = self.client.kv_client();
        let got = within(kv.get(self.key(key), None)).await?;
        let entry = got.kvs().first().and_then(|kv| self.entry(kv));
        Ok((entry, at(got.header())?))
    }

    pub async fn txn(
        &self,
        when: Vec<Compare>,
        then: Vec<TxnOp>,
        otherwise: Vec<TxnOp>,
    ) -> Result<Answer, StoreError> {
        let txn = Txn::new().when(when).and_then(then).or_else(otherwise);
        let mut kv = self.client.kv_client();
        let answer = within(kv.txn(txn)).await?;
        let reads = answer.op_responses().into_iter();
        let reads = reads.filter_map(|op| match op {
            TxnOpResponse::Get(get) => Some(get.kvs().first().and_then(|kv| self.entry(kv))),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        Ok(Answer {
            succeeded: answer.succeeded(),
            at: at(answer.header())?,
            reads: reads.collect(),
        })
    }

    pub fn put(&self, key: &str, value: &str) -> TxnOp {
        TxnOp::put(self.key(key), value, None)
    }

    pub fn put_with_lease(&self, key: &str, value: &str, lease: i64) -> TxnOp {
        TxnOp::put(
            self.key(key),
            value,
            Some(PutOptions::new().with_lease(lease)),
        )
    }

    /// Raises a key's mod revision and changes nothing else.
    pub fn touch(&self, key: &str) -> TxnOp {
        let same = PutOptions::new().with_ignore_value().with_ignore_lease();
        TxnOp::put(self.key(key), "", Some(same))
    }

    pub fn get(&self, key: &str) -> TxnOp {
        TxnOp::get(self.key(key), None)
    }

    pub fn delete(&self, key: &str) -> TxnOp {
        TxnOp::delete(self.key(key), None)
    }

    /// Removes everything of this ledger but the keys that begin with one of `kept`, each of which ends in
    /// '/', in their order. At once.
    pub async fn delete_all_but(&self, kept: &[&str]) -> Result<(), StoreError> {
        let mut from = self.prefix.clone().into_bytes();
        let last = prefix_end(&from);
        let mut deletes = Vec::with_capacity(kept.len() + 1);
        let delete = |from: Vec<u8>, end: Vec<u8>| {
            TxnOp::delete(from, Some(DeleteOptions::new().with_range(end)))
        };
        for kept in kept {
            let kept = self.key(kept).into_bytes();
            let after = prefix_end(&kept);
            deletes.push(delete(from, kept));
            from = after;
        }
        deletes.push(delete(from, last));
        self.txn(vec![], deletes, vec![]).await.map(drop)
    }

    /// Every change from `revision` on.
    pub async fn watch(&self, revision: u64) -> Result<WatchStream, StoreError> {
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(revision.cast_signed());
        let mut watch = self.client.watch_client();
        within(watch.watch(self.prefix.clone(), Some(options))).await
    }

    pub async fn lease(&self, ttl_s: u32) -> Result<i64, StoreError> {
        let mut lease = self.client.lease_client();
        Ok(within(lease.grant(i64::from(ttl_s), None)).await?.id())
    }

    pub async fn keep_alive(
        &self,
        lease: i64,
    ) -> Result<(LeaseKeeper, LeaseKeepAliveStream), StoreError> {
        within(self.client.lease_client().keep_alive(lease)).await
    }

    pub async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        within(self.client.lease_client().revoke(lease))
            .await
            .map(drop)
    }

    /// A key of ours without the prefix.
    pub fn entry(&self, kv: &KeyValue) -> Option<Entry> {
        let key = kv.key_str().ok()?.strip_prefix(&self.prefix)?;
        Some(Entry {
            key: key.to_owned(),
            // What is not UTF-8 was not written by us; as text it will not read as a claim.
            value: Some(String::from_utf8_lossy(kv.value()).into_owned()),
            revision: kv.mod_revision().cast_unsigned(),
            created: kv.create_revision().cast_unsigned(),
        })
    }
}

pub(super) async fn within<T>(
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::Timeout),
    }
}

fn at(header: Option<&ResponseHeader>) -> Result<At, StoreError> {
    let header = header.ok_or(StoreError::Answer("no header"))?;
    Ok(At {
        cluster_id: header.cluster_id(),
        revision: header.revision().cast_unsigned(),
    })
}

/// The first key after all that begin with `prefix`. It ends in '/', so the last byte has room.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
