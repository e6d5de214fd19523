//! The formatting of one volume, from a look at it to its header.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dc_agent_core::vm::luks::FormatOrder;
use dc_types::Bytes;
use dc_types::plan::LUKS_HEADER;
use serde::Deserialize;
use tokio::process::Command;

use super::LuksError;
use super::memory::Memory;
use super::target::Target;

/// What of a header makes it one of LUKS: without it QEMU says that it is none [measured].
const HEAD: u64 = 4096;
const MAGIC: &[u8] = b"LUKS\xba\xbe";
/// Written at a time; three times as much is held in memory for a moment.
const CHUNK: u64 = 32 << 20;
/// libiscsi goes on for ever where a target does not answer. A chunk at 1 MB/s takes a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// QEMU's measuring of how fast it is fails by chance, more often the faster it is.
const TRIES: usize = 50;

/// What is on a volume.
enum Found {
    Blank,
    Header,
}

pub struct Work {
    order: FormatOrder,
    target: Target,
    percent: Arc<AtomicU32>,
}

/// What is taken from `qemu-img info`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
}

impl Work {
    pub fn new(order: FormatOrder, percent: Arc<AtomicU32>) -> Result<Self, LuksError> {
        let target = Target::new(&order).map_err(|source| LuksError::Memory {
            disk: order.name.clone(),
            source,
        })?;
        Ok(Self {
            order,
            target,
            percent,
        })
    }

    /// When this returns well, the volume opens with its key.
    pub async fn carry_out(&self) -> Result<(), LuksError> {
        let payload = self.payload().await?;
        match self.look().await? {
            Found::Header => self.open().await,
            Found::Blank => {
                let made = self.make(payload).await?;
                self.write(&made, payload).await?;
                self.open().await
            }
        }
    }

    /// All that the volume has beside its header.
    async fn payload(&self) -> Result<u64, LuksError> {
        let what = "looking how large its volume is";
        let mut command = self.qemu("qemu-img");
        command.args(["info", "--output=json"]);
        command.args(self.target.objects());
        command.args(["--image-opts", &self.target.raw()]);
        let answer = self.run("qemu-img", what, command).await?;
        let info: Info = serde_json::from_slice(&answer)
            .map_err(|error| self.failed(what, error.to_string()))?;
        let needs = self.order.payload.0 + LUKS_HEADER.0;
        match info.virtual_size.checked_sub(needs) {
            Some(_) => Ok(info.virtual_size - LUKS_HEADER.0),
            None => Err(LuksError::TooSmall {
                disk: self.order.name.clone(),
                has: Bytes(info.virtual_size),
                needs: Bytes(needs),
            }),
        }
    }

    async fn look(&self) -> Result<Found, LuksError> {
        let head = self.memory(Memory::new("head"))?;
        let mut command = self.qemu("qemu-img");
        command.args(["convert", "-O", "raw", "-S", "0"]);
        command.args(self.target.objects());
        command.args(["--image-opts", &self.target.raw_first(HEAD), &head.path()]);
        self.run("qemu-img", "reading how its volume begins", command)
            .await?;
        let head = self.memory(head.read(0, usize::try_from(HEAD).unwrap_or_default()))?;
        if head.starts_with(MAGIC) {
            return Ok(Found::Header);
        }
        match head.iter().all(|byte| *byte == 0) {
            true => Ok(Found::Blank),
            false => Err(LuksError::NotBlank {
                disk: self.order.name.clone(),
            }),
        }
    }

    async fn open(&self) -> Result<(), LuksError> {
        let mut command = self.qemu("qemu-io");
        command.arg("-r").args(self.target.objects());
        command.args(["--image-opts", &self.target.decrypted(), "-c", "length"]);
        let opened = self.run("qemu-io", "opening it with its key", command);
        match opened.await {
            Ok(_) => Ok(()),
            Err(LuksError::Program { disk, said, .. }) if said.contains("Invalid password") => {
                Err(LuksError::OtherKey { disk, said })
            }
            Err(error) => Err(error),
        }
    }

    /// A header in memory, and room behind it for what is written through it.
    async fn make(&self, payload: u64) -> Result<Memory, LuksError> {
        let mut last = None;
        for _ in 0..TRIES {
            let made = self.memory(Memory::new("header"))?;
            let mut command = self.qemu("qemu-img");
            command.args(["create", "-q", "-f", "luks"]);
            command.args(self.target.objects());
            command.args(["-o", &self.target.format_options()]);
            command.args([made.path(), payload.to_string()]);
            if let Err(error) = self.run("qemu-img", "making its header", command).await {
                last = Some(error);
                continue;
            }
            let has = self.memory(made.len())?.saturating_sub(payload);
            return match Bytes(has) == LUKS_HEADER {
                true => Ok(made),
                false => Err(LuksError::OtherHeader {
                    disk: self.order.name.clone(),
                    has: Bytes(has),
                    expected: LUKS_HEADER,
                }),
            };
        }
        Err(last.unwrap_or(LuksError::Stopped))
    }

    /// All but the head, each part flushed; then the head.
    async fn write(&self, made: &Memory, payload: u64) -> Result<(), LuksError> {
        self.copy(made, HEAD, LUKS_HEADER.0 - HEAD).await?;
        let mut at = 0;
        while at < payload {
            let len = CHUNK.min(payload - at);
            self.encrypt_zeros(made, at, len).await?;
            self.copy(made, LUKS_HEADER.0 + at, len).await?;
            self.memory(made.give_back(LUKS_HEADER.0 + at, len))?;
            at += len;
            let percent = u32::try_from(at * 100 / payload).unwrap_or(100);
            self.percent.store(percent.min(99), Ordering::Relaxed);
        }
        self.copy(made, 0, HEAD).await
    }

    async fn encrypt_zeros(&self, made: &Memory, at: u64, len: u64) -> Result<(), LuksError> {
        let mut command = self.qemu("qemu-io");
        command.args(self.target.objects());
        command.args(["--image-opts", &self.target.decrypted_memory(made)]);
        command.args(["-c", &format!("write -q -z {at} {len}")]);
        self.run("qemu-io", "encrypting zeros", command).await?;
        Ok(())
    }

    /// Writes a range to the volume, as it is, and flushes it.
    async fn copy(&self, made: &Memory, at: u64, len: u64) -> Result<(), LuksError> {
        let bytes = self.memory(made.read(at, usize::try_from(len).unwrap_or_default()))?;
        let part = self.memory(Memory::holding("part", &bytes))?;
        drop(bytes);
        let mut command = self.qemu("qemu-io");
        command.args(self.target.objects());
        command.args(["--image-opts", &self.target.raw()]);
        let write = format!("write -q -s {} {at} {len}", part.path());
        command.args(["-c", &write, "-c", "flush"]);
        self.run("qemu-io", "writing to its volume", command)
            .await?;
        Ok(())
    }

    /// Without our environment, and with no core that would hold the key.
    fn qemu(&self, program: &'static str) -> Command {
        let mut command = Command::new("prlimit");
        command
            .args(["--core=0", "--", program])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(
        &self,
        program: &'static str,
        what: &'static str,
        mut command: Command,
    ) -> Result<Vec<u8>, LuksError> {
        let output = match tokio::time::timeout(LIMIT, command.output()).await {
            Err(_) => {
                let said = format!("it took more than {} s", LIMIT.as_secs());
                return Err(self.failed(what, said));
            }
            Ok(output) => output.map_err(|source| LuksError::NoProgram {
                disk: self.order.name.clone(),
                program,
                source,
            })?,
        };
        if output.status.success() {
            return Ok(output.stdout);
        }
        // qemu-io tells what has failed on its standard output.
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let said = match said.trim() {
            "" => output.status.to_string(),
            said => said.chars().take(500).collect(),
        };
        Err(self.failed(what, said))
    }

    fn failed(&self, what: &'static str, said: String) -> LuksError {
        let disk = self.order.name.clone();
        LuksError::Program { disk, what, said }
    }

    fn memory<T>(&self, done: std::io::Result<T>) -> Result<T, LuksError> {
        done.map_err(|source| LuksError::Memory {
            disk: self.order.name.clone(),
            source,
        })
    }
}
