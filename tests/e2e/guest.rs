//! A guest as a test sees it: where it runs, and what its shell says.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dc_lab::console::{Console, Pty};
use serde_json::Value;

use crate::centre::Centre;
use crate::objects::text;

/// For one command in a guest that shares two cores with everything else.
const COMMAND: Duration = Duration::from_secs(60);

pub struct Guest {
    pub department: String,
    pub name: String,
    pub host: String,
    pub v4: IpAddr,
    pub v6: IpAddr,
    console: Console<Pty>,
}

/// One start of a guest's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    pub id: String,
    pub uptime_s: u64,
}

/// What a guest's probe said of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// With the first line of the page, when one was asked for.
    Open(String),
    Closed(String),
}

impl Guest {
    /// Opens the console of a guest that runs.
    pub async fn open(centre: &Centre, department: &str, name: &str) -> Result<Self> {
        let vm = centre.get("vm", department, name)?;
        let status = |pointer: &str| {
            text(&vm, pointer).with_context(|| format!("no {pointer} in {department}/{name}: {vm}"))
        };
        let host = status("/status/host")?;
        let instance_id = status("/status/instanceId")?;
        let mut console = centre.machine(&host)?.guest_console(&instance_id)?;
        console
            .find_shell(COMMAND)
            .await
            .with_context(|| format!("{department}/{name} on {host}"))?;
        Ok(Self {
            department: department.to_owned(),
            name: name.to_owned(),
            v4: status("/status/interfaces/0/ipv4")?.parse()?,
            v6: status("/status/interfaces/0/ipv6")?.parse()?,
            host,
            console,
        })
    }

    pub fn label(&self) -> String {
        format!("{}/{}", self.department, self.name)
    }

    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4, self.v6]
    }

    pub async fn run(&mut self, line: &str) -> Result<String> {
        let ran = self.console.run(line, COMMAND).await;
        ran.with_context(|| format!("in {} on {}", self.label(), self.host))
    }

    pub async fn boot(&mut self) -> Result<Boot> {
        let said = self
            .run("cat /proc/sys/kernel/random/boot_id; cut -d. -f1 /proc/uptime")
            .await?;
        let mut words = said.split_whitespace();
        let (Some(id), Some(uptime)) = (words.next(), words.next()) else {
            bail!("{} said {said:?} of its boot", self.label());
        };
        Ok(Boot {
            id: id.to_owned(),
            uptime_s: uptime.parse().context(said.clone())?,
        })
    }

    /// Probes all targets at once, for a closed one answers only by silence. `targets` are the
    /// words after `probe ID`, such as `tcp 10.0.0.1 80`.
    pub async fn probe(&mut self, targets: &[String]) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        // What fits into a line of the guest's shell and into its memory.
        for (at, some) in targets.chunks(16).enumerate() {
            answers.extend(self.probe_some(at, some).await?);
        }
        Ok(answers)
    }

    async fn probe_some(&mut self, at: usize, targets: &[String]) -> Result<Vec<Answer>> {
        let script = format!("/tmp/probes-{at}");
        self.run(&format!(": >{script}")).await?;
        for (id, target) in targets.iter().enumerate() {
            self.run(&format!("echo 'probe {at}-{id} {target} &' >>{script}"))
                .await?;
        }
        let said = self
            .run(&format!(
                "echo wait >>{script}; PROBE_SECONDS=5 sh {script}"
            ))
            .await?;
        let answer_of = |id: usize| {
            let start = format!("probed {at}-{id} ");
            said.lines()
                .find_map(|line| line.trim().strip_prefix(&start))
                .map(parse_answer)
        };
        (0..targets.len())
            .map(|id| {
                answer_of(id).with_context(|| {
                    format!("{} said nothing of {}: {said:?}", self.label(), targets[id])
                })
            })
            .collect()
    }
}

fn parse_answer(said: &str) -> Answer {
    match said.trim().strip_prefix("open") {
        Some(page) => Answer::Open(page.trim_start_matches(':').trim().to_owned()),
        None => Answer::Closed(said.trim().to_owned()),
    }
}

/// Of a VirtualMachine that is ready: when its guest was started.
pub fn started_at(vm: &Value) -> Option<String> {
    text(vm, "/status/startedAt")
}
