//! The driver `rbd` on a real Ceph: who may reach what, who is cut off, and what happens when parts
//! of the cluster die or fill under a writing client.

mod bytes;
mod faults;
mod fences;
mod looks;
mod reach;

use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use dc_agent_core::storage::{Expose, Extent, GrantSeen, Note, Watermark};
use dc_host::drivers::{Driver, DriverError};
use dc_types::plan::VolumeSource;
use dc_types::{Bytes, InstanceId, ObjectRef, ObjectUid, SnapshotId};
use uuid::Uuid;

use crate::cluster::{self, Cluster, DEPARTMENT};
use crate::site::{MIB, epoch, pool, volume};

/// Every volume is of this size unless a test says otherwise.
const SIZE: u64 = 32 * MIB;

/// A cluster, its driver, and volumes that have owners.
struct Bench {
    cluster: Cluster,
    driver: Arc<dyn Driver>,
}

impl Bench {
    async fn new() -> Self {
        let cluster = Cluster::lent();
        let driver = cluster::attach();
        assert_eq!(driver.ensure_pool().await.fault, None);
        Self { cluster, driver }
    }

    async fn own(&self, n: u128, department: &str) {
        let owner = ObjectRef {
            namespace: department.into(),
            name: "data".into(),
            uid: ObjectUid(Uuid::from_u128(n)),
        };
        let note = Note::Owner {
            owner,
            epoch: epoch(5),
        };
        self.driver.note_volume(volume(n), &note).await.unwrap();
    }

    async fn make(&self, n: u128, source: &VolumeSource) -> InstanceId {
        self.own(n, DEPARTMENT).await;
        let made = self.driver.create_volume(volume(n), Bytes(SIZE), source);
        made.await.unwrap();
        volume(n)
    }

    async fn grant(&self, n: u128, revision: u64) -> Result<(), DriverError> {
        let note = Note::Watermark(Watermark::open(epoch(revision)));
        self.driver.note_volume(volume(n), &note).await?;
        let order = Expose {
            pool: pool(),
            volume: volume(n),
            epoch: epoch(revision),
            initiator: "h1".into(),
            access: cluster::access(volume(n), epoch(revision)),
        };
        self.driver.grant(&order).await
    }

    async fn grants(&self, n: u128) -> Vec<GrantSeen> {
        let mut all = self.driver.list_grants().await.unwrap();
        all.retain(|grant| grant.volume == volume(n));
        all
    }

    async fn snapshot(&self, n: u128, name: u128) -> SnapshotId {
        let snapshot = SnapshotId(Uuid::from_u128(name));
        let taken = self.driver.create_snapshot(volume(n), snapshot);
        taken.await.unwrap();
        snapshot
    }

    async fn read(&self, n: u128) -> Vec<u8> {
        let open = self.driver.open_volume(volume(n)).await.unwrap();
        open.read(Extent::new(0, open.size().0)).await.unwrap()
    }
}

/// A client of an image, as QEMU is for a guest.
struct Client {
    image: String,
}

impl Client {
    fn of(n: u128, revision: u64) -> Self {
        Self {
            image: cluster::volume_as(volume(n), epoch(revision)),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("qemu-io");
        command.args(["-f", "raw"]).arg(&self.image);
        command
    }

    /// Does qemu-io commands; what it said, or why it could not.
    fn attempt(&self, commands: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        for line in commands {
            command.args(["-c", line]);
        }
        let output = command.output().expect("qemu-io can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, failed) = (text(&output.stdout), text(&output.stderr));
        let wrong = said.contains("verification failed") || said.contains("failed:");
        match output.status.success() && !wrong {
            true => Ok(said),
            false => Err(format!("{said}{failed}")),
        }
    }

    fn act(&self, commands: &[&str]) -> String {
        match self.attempt(commands) {
            Ok(said) => said,
            Err(why) => panic!("{commands:?} of {}: {why}", self.image),
        }
    }

    /// Stays, and does what it is told, one line at a time: qemu-io looks for more input only when
    /// its pipe has some, and not for what it has read already.
    fn stay(&self) -> Staying {
        Self::spawn(&mut self.command())
    }

    /// Does qemu-io commands in the background, and ends.
    fn begin(&self, commands: &[&str]) -> Staying {
        let mut command = self.command();
        for line in commands {
            command.args(["-c", line]);
        }
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Staying {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-io can be started");
        let stdin = child.stdin.take().expect("its input is ours");
        Staying { child, stdin }
    }
}

struct Staying {
    child: Child,
    stdin: ChildStdin,
}

impl Staying {
    fn tell(&mut self, line: &str) {
        use std::io::Write;
        assert!(!line.contains('\n'), "one line at a time");
        // One that was cut off may have ended.
        let _ = writeln!(self.stdin, "{line}");
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
