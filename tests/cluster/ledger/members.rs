//! A ledger of several members, and what each of them has of a key that was deleted.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dc_lab::cache::Cache;
use dc_lab::toolbox::{Tool, Toolbox};
use dc_lab::wait::{Look, until};
use dc_operator::ledger::Known;
use dc_operator_core::txn::Txn;
use dc_types::InstanceId;
use dc_types::claim::{VolumeKey, keys};
use dc_types::plan::{Formatted, Secret};
use etcd_client::{Client, GetOptions};
use tempfile::TempDir;
use uuid::Uuid;

use super::place::operators_of;
use super::{DEADLINE, done, wait_leading};
use crate::sessions::running::free_port;

struct Member {
    name: String,
    client: SocketAddr,
    peer: SocketAddr,
    process: Option<Child>,
}

/// Members of one etcd, each a process of its own; they end with the test.
pub struct Members {
    members: Vec<Member>,
    tools: Toolbox,
    folder: TempDir,
}

impl Drop for Members {
    fn drop(&mut self) {
        for n in 0..self.members.len() {
            self.kill(n);
        }
    }
}

impl Members {
    pub async fn start(count: usize) -> Self {
        let member = |n: usize| Member {
            name: format!("ledger-{n}"),
            client: free_port(),
            peer: free_port(),
            process: None,
        };
        let mut members = Self {
            members: (0..count).map(member).collect(),
            tools: Toolbox::ensure(&Cache::from_env().unwrap()).unwrap(),
            folder: TempDir::new().unwrap(),
        };
        for n in 0..count {
            members.spawn(n);
        }
        for n in 0..count {
            members.wait(n).await;
        }
        members
    }

    pub fn url(&self, n: usize) -> String {
        format!("http://{}", self.members[n].client)
    }

    pub fn name(&self, n: usize) -> &str {
        &self.members[n].name
    }

    fn data(&self, n: usize) -> std::path::PathBuf {
        self.folder.path().join(&self.members[n].name)
    }

    fn spawn(&mut self, n: usize) {
        let peers = self.members.iter();
        let peers = peers.map(|of| format!("{}=http://{}", of.name, of.peer));
        let peers: Vec<String> = peers.collect();
        let (member, data) = (&self.members[n], self.data(n));
        let client = format!("http://{}", member.client);
        let peer = format!("http://{}", member.peer);
        let mut etcd = Command::new(self.tools.path(Tool::Etcd).unwrap());
        etcd.args([
            "--log-level",
            "error",
            "--unsafe-no-fsync",
            "--name",
            &member.name,
        ])
        .arg(format!("--data-dir={}", data.display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster={}", peers.join(",")))
        .stdin(Stdio::null());
        self.members[n].process = Some(etcd.spawn().unwrap());
    }

    async fn wait(&self, n: usize) {
        let url = self.url(n);
        until(
            &format!("{} to answer", self.name(n)),
            DEADLINE,
            async || {
                let asked = async {
                    let client = Client::connect([&url], None).await?;
                    client.kv_client().get("/", None).await
                };
                match tokio::time::timeout(Duration::from_secs(2), asked).await {
                    Ok(Ok(_)) => Look::Holds(()),
                    other => Look::NotYet(format!("{:?}", other.map(|asked| asked.err()))),
                }
            },
        )
        .await
        .unwrap();
    }

    /// As SIGKILL does.
    pub fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.members[n].process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub async fn start_again(&mut self, n: usize) {
        self.spawn(n);
        self.wait(n).await;
    }

    /// What one member says of a key at a revision, asked for itself.
    pub async fn says(&self, n: usize, key: &str, revision: u64) -> Result<usize, String> {
        let client = Client::connect([self.url(n)], None).await.unwrap();
        let at = GetOptions::new()
            .with_revision(revision.cast_signed())
            .with_serializable();
        let said = client.kv_client().get(key, Some(at)).await;
        said.map(|got| got.kvs().len())
            .map_err(|error| error.to_string())
    }

    /// How often a text stands in the files of a member, by what they are. Their log alone is 64 MiB, and
    /// the leader's lease is renewed meanwhile, so another thread looks.
    async fn holds(&self, n: usize, text: &str) -> (usize, usize) {
        let (member, text) = (self.data(n).join("member"), text.to_owned());
        let count = move |folder: &Path| {
            let files = std::fs::read_dir(folder).unwrap();
            let bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default());
            let found = |bytes: Vec<u8>| {
                let parts = bytes.windows(text.len());
                parts.filter(|part| *part == text.as_bytes()).count()
            };
            bytes.map(found).sum()
        };
        let both = move || (count(&member.join("snap")), count(&member.join("wal")));
        tokio::task::spawn_blocking(both).await.unwrap()
    }
}

fn wrapped(volume: InstanceId) -> VolumeKey {
    VolumeKey {
        volume,
        master: "2026".into(),
        nonce: "0".repeat(24),
        wrapped: Secret(format!("{:096x}", volume.0.as_u128())),
        formatted: Formatted::Never,
        former: Vec::new(),
    }
}

#[tokio::test]
async fn each_member_is_asked_whether_it_still_has_a_deleted_key_and_one_that_is_off_is_named() {
    let mut members = Members::start(3).await;
    let urls = [members.url(0), members.url(1)];
    let (ledger, leader) = operators_of(&urls, Known::default()).await;
    ledger.wait_good().await;
    wait_leading(&leader, &ledger).await;
    let volume = |n| InstanceId(Uuid::from_u128(0xfeed_0000 + n));
    let at = |n| keys::key(volume(n));
    let full = |n| format!("/dc/test/{}", at(n));
    let deleted = async |n: u128| {
        let made = Txn::new("made").claim(at(n), &wrapped(volume(n)));
        done(ledger.commit(&made).await);
        // A put has a revision of its own, as the record of the destruction has.
        let gone = Txn::new("gone").delete(at(n)).put(
            keys::pool(&dc_types::PoolName::new("p").unwrap()),
            &n.to_string(),
        );
        done(ledger.commit(&gone).await)
    };

    let revision = deleted(1).await;
    // A follower may be behind: it has not even heard of that revision.
    for n in 0..3 {
        let what = format!("{} to have the key before", members.name(n));
        until(&what, DEADLINE, async || {
            match members.says(n, &full(1), revision - 1).await {
                Ok(1) => Look::Holds(()),
                said => Look::NotYet(format!("{said:?}")),
            }
        })
        .await
        .unwrap();
    }
    let began = Instant::now();
    let reading = ledger.read_members(revision).await;
    println!(
        "three members were asked in {:?}: {reading:?}",
        began.elapsed()
    );
    let said = reading.members.unwrap();
    assert_eq!(said.len(), 3);
    for (member, said) in &said {
        assert_eq!(*said, Ok(()), "{member}");
    }
    for n in 0..3 {
        let told = members.says(n, &full(1), revision - 1).await.unwrap_err();
        assert!(told.contains("has been compacted"), "{told}");
        let text = wrapped(volume(1)).wrapped.0;
        let (pages, log) = members.holds(n, &text).await;
        println!(
            "{}: {pages} times in its pages, {log} times in its log",
            members.name(n)
        );
        assert!(log > 0, "its log is not where this looks");
    }
    // The same again is the same.
    assert_eq!(ledger.read_members(revision).await.members, Ok(said));

    // One is off: it is named, and nothing is said for it.
    let later = deleted(2).await;
    members.kill(2);
    let silent = |said: &Result<std::collections::BTreeMap<String, Result<(), String>>, String>| {
        let said = said.as_ref().unwrap().iter();
        let silent = said.filter(|(_, said)| said.is_err());
        let names = silent.map(|(name, _)| name.split(' ').next().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    // It may have led the others, who then answer nothing until they have another leader.
    let reading = until("the others to answer", DEADLINE, async || {
        let reading = ledger.read_members(later).await;
        match &reading.members {
            Ok(_) if silent(&reading.members).len() == 1 => Look::Holds(reading),
            _ => Look::NotYet(format!("{reading:?}")),
        }
    })
    .await
    .unwrap();
    println!("one is off: {reading:?}");
    assert_eq!(silent(&reading.members), [members.name(2)]);
    // It comes back with what was done meanwhile still before it, and then has it not either.
    members.start_again(2).await;
    until("the third to have it no more", DEADLINE, async || {
        let reading = ledger.read_members(later).await;
        match silent(&reading.members).is_empty() {
            true => Look::Holds(()),
            false => Look::NotYet(format!("{reading:?}")),
        }
    })
    .await
    .unwrap();
    let told = members.says(2, &full(2), later - 1).await.unwrap_err();
    assert!(told.contains("has been compacted"), "{told}");

    // A revision that is not there yet was compacted by nobody.
    let reading = ledger.read_members(later + 1000).await;
    assert_eq!(silent(&reading.members).len(), 3, "{reading:?}");
    assert!(ledger.is_trusted());
}
