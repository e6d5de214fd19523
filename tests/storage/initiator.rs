//! QEMU's own iSCSI initiator, as a guest's disk uses it.

use std::fs;

use uuid::Uuid;

use crate::holder::{Holder, Writer};
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
    pub fn holder(&self) -> Holder {
        let secret = format!("/mnt/secret-{}", Uuid::new_v4());
        fs::write(&secret, &self.secret).unwrap();
        let chap = match &self.user {
            Some(user) => format!(",user={user},password-secret=s0"),
            None => String::new(),
        };
        let disk = format!(
            "driver=iscsi,transport=tcp,portal={PORTAL},target={},lun=1,initiator-name={}{chap}",
            self.target, self.name
        );
        let secret = format!("secret,id=s0,file={secret}");
        let arguments = ["--object", &secret, "--image-opts", &disk];
        Holder {
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    /// Does qemu-io commands; what it said, or why it could not.
    pub fn attempt(&self, commands: &[&str]) -> Result<String, String> {
        self.holder().attempt(commands)
    }

    /// Does qemu-io commands that must succeed.
    pub fn act(&self, commands: &[&str]) -> String {
        self.holder().act(commands)
    }

    /// Writes without end, as a busy guest does.
    pub fn write_on(&self, commands: &'static str) -> Writer {
        self.holder().go_on(|| Some(commands.to_owned()))
    }
}
