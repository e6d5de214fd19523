//! QEMU's own iSCSI initiator, as a guest's disk uses it.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use uuid::Uuid;

use crate::site::PORTAL;

#[derive(Clone, Debug)]
pub struct Initiator {
    pub target: String,
    pub name: String,
    /// No CHAP when absent.
    pub user: Option<String>,
    pub secret: String,
}

impl Initiator {
    fn command(&self) -> Command {
        let secret = format!("/mnt/secret-{}", Uuid::new_v4());
        fs::write(&secret, &self.secret).unwrap();
        let chap = match &self.user {
            Some(user) => format!(",user={user},password-secret=s0"),
            None => String::new(),
        };
        let mut command = Command::new("qemu-io");
        command
            .args(["--object", &format!("secret,id=s0,file={secret}")])
            .arg("--image-opts")
            .arg(format!(
                "driver=iscsi,transport=tcp,portal={PORTAL},target={},lun=1,initiator-name={}{chap}",
                self.target, self.name
            ));
        command
    }

    fn output(&self, commands: &[&str]) -> Output {
        let mut command = self.command();
        for line in commands {
            command.args(["-c", line]);
        }
        command
            .output()
            .expect("qemu-io of qemu-utils can be started")
    }

    /// Does qemu-io commands; what it said, or why it could not.
    pub fn attempt(&self, commands: &[&str]) -> Result<String, String> {
        let output = self.output(commands);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        // It ends well also when a read finds another pattern.
        let found_otherwise = said.contains("verification failed");
        match output.status.success() && !found_otherwise && failed.is_empty() {
            true => Ok(said),
            false => Err(format!("{said}{failed}")),
        }
    }

    /// Does qemu-io commands that must succeed.
    pub fn act(&self, commands: &[&str]) -> String {
        match self.attempt(commands) {
            Ok(said) => said,
            Err(why) => panic!("{commands:?} by {}: {why}", self.name),
        }
    }

    /// Writes without end, as a busy guest does.
    pub fn write_on(&self, commands: &'static str) -> Writer {
        let mut child = self
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("qemu-io of qemu-utils can be started");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // Ends when the program does.
        std::thread::spawn(move || while stdin.write_all(commands.as_bytes()).is_ok() {});
        Writer(child)
    }
}

/// A program that writes until it is stopped.
pub struct Writer(Child);

impl Writer {
    pub fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
