//! A guest's serial console as a test uses it: wait for a line, type a command, read its output.
//!
//! Made for the shell of the tiny image. Works over whatever carries the bytes: a socket of QEMU,
//! or the pseudo terminal that libvirt made. It keeps all that the guest has said, so a failure
//! can show it.

mod pty;

use std::time::Duration;

pub use pty::Pty;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// The prompt of the tiny image's shell.
pub const PROMPT: &str = "dc-tiny# ";
/// How much of the console is shown in an error.
const SHOWN: usize = 3000;

#[derive(Debug)]
pub struct Console<S> {
    stream: S,
    seen: Vec<u8>,
    /// Up to where `seen` was already searched and found.
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Console<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            seen: Vec::new(),
            read: 0,
        }
    }

    /// Waits for a text after all that was waited for before, and returns what came before it.
    pub async fn wait_for(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let rest = &self.seen[self.read..];
            if let Some(at) = find(rest, text.as_bytes()) {
                let before = String::from_utf8_lossy(&rest[..at]).into_owned();
                self.read += at + text.len();
                return Ok(before);
            }
            let mut buffer = [0; 4096];
            match timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) => bail!(
                    "{text:?} did not appear on the console in {limit:?}; it said:\n{}",
                    self.tail()
                ),
                Ok(Ok(0)) => bail!("the console ended before {text:?}:\n{}", self.tail()),
                Ok(read) => self.seen.extend(&buffer[..read.context("console")?]),
            }
        }
    }

    /// Waits for the rest of a line after `start`, as in `dc-tiny: ready`.
    pub async fn line_after(&mut self, start: &str, limit: Duration) -> Result<String> {
        self.wait_for(start, limit).await?;
        let line = self.wait_for("\n", limit).await?;
        Ok(line.trim().to_owned())
    }

    /// Waits for the shell of a tiny guest that is already up: what it said before was not seen.
    pub async fn find_shell(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            self.type_line("").await?;
            // A guest that is still booting drops what is typed: it is typed again.
            match self.wait_for(PROMPT, Duration::from_secs(2)).await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn type_line(&mut self, line: &str) -> Result<()> {
        self.stream
            .write_all(format!("{line}\n").as_bytes())
            .await?;
        Ok(self.stream.flush().await?)
    }

    /// Runs a line in the guest's shell and returns what it printed.
    pub async fn run(&mut self, line: &str, limit: Duration) -> Result<String> {
        // The end mark is assembled by the shell, so that the echo of the line is not taken for it.
        self.type_line(&format!("{line}; echo \"dc-end\"\"-$?-\""))
            .await?;
        let said = self.wait_for("dc-end-", limit).await?;
        let status = self.wait_for("-", limit).await?;
        let output = after_echo(&said);
        if status != "0" {
            bail!("`{line}` ended with {status} in the guest:\n{output}");
        }
        Ok(output)
    }

    /// What `probe` in the tiny image answers: open, refused, timeout or unreachable, with the
    /// first line of a page after `open: `.
    pub async fn probe(&mut self, what: &str) -> Result<String> {
        // Longer than the guest's own limit of three seconds by what emulation may add.
        let limit = Duration::from_secs(30);
        let output = self.run(&format!("probe t {what}"), limit).await?;
        let answer = output
            .lines()
            .find_map(|line| line.strip_prefix("probed t "));
        match answer {
            Some(answer) => Ok(answer.trim().to_owned()),
            None => bail!("the guest's probe of {what} answered {output:?}"),
        }
    }

    /// Reads on until the console ends, as it does with its guest.
    pub async fn read_to_end(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = self.stream.read(&mut buffer).await {
            self.seen.extend(&buffer[..read]);
        }
    }

    /// The end of what the guest has said.
    pub fn tail(&self) -> String {
        let from = self.seen.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(&self.seen[from..]).into_owned()
    }
}

/// What the guest's own scripts say begins with this. They may still be at work when its shell is
/// there, and speak while a command runs.
const GUEST_SAYS: &str = "dc-tiny: ";

/// What follows the echoed line: the terminal repeats what was typed, perhaps folded, up to the
/// closing quote of the end mark.
fn after_echo(said: &str) -> String {
    let output = match said.rfind("\"-$?-\"") {
        Some(at) => &said[at + "\"-$?-\"".len()..],
        None => said,
    };
    let output = output.replace('\r', "");
    let lines = output.lines().filter(|line| !line.starts_with(GUEST_SAYS));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_echo_of_a_command_is_not_its_output() {
        let (near, mut far) = tokio::io::duplex(4096);
        let mut console = Console::new(near);
        let guest = tokio::spawn(async move {
            let mut typed = vec![0; 200];
            let read = far.read(&mut typed).await.unwrap();
            far.write_all(&typed[..read]).await.unwrap();
            far.write_all(b"\r\nhello\r\ndc-end-0-\r\ndc-tiny# ")
                .await
                .unwrap();
            far
        });
        let output = console
            .run("echo hello", Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(output, "hello");
        guest.await.unwrap();
    }

    #[test]
    fn what_the_guest_says_of_its_start_is_no_output_of_a_command() {
        let said =
            "cat a; echo \"dc-end\"\"-$?-\"\r\ndc-tiny: user-data done, result 0\r\none\r\ntwo\r\n";
        assert_eq!(after_echo(said), "one\ntwo");
    }

    #[tokio::test]
    async fn a_text_that_never_comes_shows_what_came_instead() {
        let (near, mut far) = tokio::io::duplex(4096);
        far.write_all(b"Kernel panic").await.unwrap();
        let mut console = Console::new(near);
        let error = console
            .wait_for("ready", Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("Kernel panic"), "{error}");
    }
}
