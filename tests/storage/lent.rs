//! Clusters of Ceph that tests hand on: a cluster takes longer to start than most tests take.
//!
//! ```text
//! this program ── "run TEST" ─▶ keeper: a cluster in namespaces of its own ─▶ the test, alone in them
//!              ◀─ how it ended ─┘
//! ```
//! A keeper is this program once more. It keeps its cluster's daemons running, as systemd would,
//! and gives each test an empty pool. One whose test failed is taken away. All end with this
//! program, however it ends: they read their orders from it, and there are no more.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dc_lab::ceph::Ceph;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufReadExt;
use tokio::runtime::Runtime;

use crate::cluster;
use crate::inside::run;

/// What this process is: see [`KEEPER`] and [`TEST`]. Absent in the one that people start.
const MARK: &str = "DC_STORAGE_TEST_CEPH";
const KEEPER: &str = "keeper";
const TEST: &str = "test";

/// Before an answer: whatever else a program writes does not begin so.
const ANSWER: &str = "a test has ended: ";

/// How often a keeper sees whether its daemons are there.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

#[derive(Serialize, Deserialize)]
struct Ran {
    passed: bool,
    said: String,
}

/// Runs `test` with a cluster; `name` is its full name.
pub fn with_ceph<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    let runtime = || Runtime::new().expect("a runtime can be made");
    match std::env::var(MARK).as_deref() {
        Err(_) => lend(name),
        Ok(KEEPER) => runtime().block_on(keep()),
        Ok(_) => {
            // What is mounted here is seen nowhere else.
            for folder in ["/mnt/state", "/mnt/images"] {
                run(&["mount", "-t", "tmpfs", "tmpfs", folder]);
            }
            runtime().block_on(test());
        }
    }
}

static IDLE: Mutex<Vec<Keeper>> = Mutex::new(Vec::new());

fn idle() -> MutexGuard<'static, Vec<Keeper>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lend(name: &str) {
    let kept = idle().pop();
    let mut keeper = kept.unwrap_or_else(|| Keeper::start(name));
    let Ran { passed, said } = keeper.run(name);
    assert!(passed, "{name} inside:\n{said}");
    // A misspelt name would run nothing and pass.
    assert!(said.contains("1 passed"), "{name} did not run: {said}");
    idle().push(keeper);
}

/// A cluster in another process.
struct Keeper {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// `name` is of any test that asks for a cluster.
    fn start(name: &str) -> Self {
        let mut process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--net"])
            .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(std::env::current_exe().expect("a test knows its program"))
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env(MARK, KEEPER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux can be started");
        let answers = process.stdout.take().expect("its output is ours");
        Self {
            orders: process.stdin.take(),
            answers: BufReader::new(answers),
            process,
        }
    }

    fn run(&mut self, name: &str) -> Ran {
        let orders = self.orders.as_mut().expect("it is there until the end");
        // One that has ended says why in what it has written.
        let _ = writeln!(orders, "{name}");
        let mut said = String::new();
        for line in self.answers.by_ref().lines().map_while(Result::ok) {
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return serde_json::from_str(answer).expect("a keeper answers in JSON");
            }
            said.push_str(&line);
            said.push('\n');
        }
        Ran {
            passed: false,
            said: format!("its keeper has ended:\n{said}"),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves one test after the other until there is nobody who asks.
async fn keep() {
    run(&["ip", "link", "set", "lo", "up"]);
    // What is mounted here and below is seen nowhere else.
    run(&["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    for folder in ["/mnt/state", "/mnt/images"] {
        std::fs::create_dir(folder).unwrap();
    }
    let ceph = cluster::make().await.unwrap();
    let mut orders = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    let mut is_used = false;
    while let Ok(Some(name)) = orders.next_line().await {
        let renewed = match std::mem::replace(&mut is_used, true) {
            true => cluster::renew(&ceph).await,
            false => Ok(()),
        };
        let ran = match renewed {
            Ok(()) => serve(&ceph, &name).await,
            Err(error) => Err(error),
        };
        let ran = ran.unwrap_or_else(|error| Ran {
            passed: false,
            said: format!("{error:#}"),
        });
        println!("{ANSWER}{}", serde_json::to_string(&ran).unwrap());
    }
}

/// Runs a test to its end, and has its cluster's daemons running meanwhile.
async fn serve(ceph: &Ceph, name: &str) -> anyhow::Result<Ran> {
    let test = tokio::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(std::env::current_exe()?)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(MARK, TEST)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let ended = test.wait_with_output();
    tokio::pin!(ended);
    let output = loop {
        tokio::select! {
            output = &mut ended => break output?,
            () = tokio::time::sleep(LOOK_PAUSE) => ceph.ensure_daemons().await?,
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran {
        passed: output.status.success(),
        said: format!("{}\n{}", text(&output.stdout), text(&output.stderr)),
    })
}
