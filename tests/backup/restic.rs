//! Stock restic, as Debian has it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use dc_lab::apt::{self, Packages};

/// A repository as restic is told of it.
pub struct Restic {
    pub repository: String,
    pub password: String,
    pub ca: Option<PathBuf>,
}

impl Restic {
    pub fn folder(path: &Path, password: &str) -> Self {
        Self {
            repository: path.display().to_string(),
            password: password.to_owned(),
            ca: None,
        }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        ensure();
        let mut command = Command::new("restic");
        command
            .args(["--no-cache", "--quiet"])
            .args(
                self.ca
                    .iter()
                    .flat_map(|ca| ["--cacert".into(), ca.clone()]),
            )
            .args(args)
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD", &self.password);
        command
    }

    fn said(&self, args: &[&str]) -> (bool, String) {
        let output = self.command(args).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(String::from_utf8);
        (output.status.success(), out.unwrap() + &err.unwrap())
    }

    pub fn run(&self, args: &[&str]) -> String {
        let (is_done, said) = self.said(args);
        assert!(is_done, "restic {args:?}: {said}");
        said
    }

    pub fn fails(&self, args: &[&str]) -> String {
        let (is_done, said) = self.said(args);
        assert!(!is_done, "restic {args:?} did it: {said}");
        said
    }

    /// Everything read, and found sound. Without a lock: a test's own process holds some.
    pub fn check(&self) {
        self.run(&["check", "--read-data", "--no-lock"]);
    }

    pub fn restore(&self, backup: &str, to: &Path) {
        self.run(&[
            "restore",
            backup,
            "--no-lock",
            "--target",
            to.to_str().unwrap(),
        ]);
    }
}

pub fn ensure() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| apt::ensure(Packages::All).unwrap());
}
