//! qemu-io over a volume, as a guest's disk has it.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;

use nix::fcntl::{FcntlArg, fcntl};

/// Bytes of lines that are on the way: the least that the kernel gives a pipe.
const PIPE: i32 = 4096;

/// Who opens a volume, by which way in.
#[derive(Clone, Debug)]
pub struct Holder {
    /// After `qemu-io`; the last is the image.
    pub arguments: Vec<String>,
}

impl Holder {
    fn command(&self) -> Command {
        let mut command = Command::new("qemu-io");
        command.args(&self.arguments);
        command
    }

    /// Does qemu-io commands; what it said, or why it could not.
    pub fn attempt(&self, commands: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        for line in commands {
            command.args(["-c", line]);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command
            .output()
            .expect("qemu-io of qemu-utils can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, failed) = (text(&stdout), text(&stderr));
        // It ends well also when a read finds another pattern.
        let wrong = said.contains("verification failed") || !failed.is_empty();
        match status.success() && !wrong {
            true => Ok(said),
            false => Err(format!("{said}{failed}")),
        }
    }

    /// Does commands that must succeed.
    pub fn act(&self, commands: &[&str]) -> String {
        match self.attempt(commands) {
            Ok(said) => said,
            Err(why) => panic!("{commands:?} by {:?}: {why}", self.arguments),
        }
    }

    /// Goes on with the lines of `next` until it is stopped, each when the one before it is done. The
    /// last of them may stay undone: qemu-io reads ahead, and looks at what it has read only when
    /// there is more.
    pub fn go_on(&self, next: impl FnMut() -> Option<String> + Send + 'static) -> Writer {
        self.go_on_to(AtEnd::StaysOpen, next)
    }

    /// The same; it ends by itself after the last line.
    pub fn go_on_and_end(&self, next: impl FnMut() -> Option<String> + Send + 'static) -> Writer {
        self.go_on_to(AtEnd::Ends, next)
    }

    fn go_on_to(
        &self,
        end: AtEnd,
        mut next: impl FnMut() -> Option<String> + Send + 'static,
    ) -> Writer {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-io of qemu-utils can be started");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // The lines that were told and are not done yet are few.
        fcntl(&stdin, FcntlArg::F_SETPIPE_SZ(PIPE)).expect("a pipe may be small");
        let (at_end, open) = mpsc::channel();
        // Ends when the program does, or there is no line any more.
        std::thread::spawn(move || {
            while let Some(line) = next() {
                if stdin.write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
            if end == AtEnd::StaysOpen {
                let _ = at_end.send(stdin);
            }
        });
        Writer { child, _open: open }
    }
}

/// What becomes of its input after the last line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    StaysOpen,
    Ends,
}

/// A program that writes until it is stopped.
pub struct Writer {
    child: Child,
    _open: mpsc::Receiver<ChildStdin>,
}

impl Writer {
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
