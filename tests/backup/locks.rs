//! Locks, ours and restic's.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use dc_backup::BackupError;
use dc_backup::lock::Mode;
use dc_lab::wait::{Look, until};
use tempfile::tempdir;
use tokio::runtime::Runtime;

use crate::restic::Restic;
use crate::site::{Disk, MIB, PASSWORD, ensure, job, local, run};

/// A `restic backup` that waits for its input, and so holds its lock.
struct Waiting(Child);

impl Waiting {
    fn start(restic: &Restic, place: &Path) -> Self {
        let mut command = restic.command(&["backup", "--stdin"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"begun").unwrap();
        let locked = until(
            "restic's lock",
            Duration::from_secs(120),
            async || match locks(place) {
                0 => Look::NotYet("no lock".to_owned()),
                _ => Look::Holds(()),
            },
        );
        Runtime::new().unwrap().block_on(locked).unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn locks(place: &Path) -> usize {
    fs::read_dir(place.join("locks")).unwrap().count()
}

#[test]
fn restic_respects_our_locks() {
    let place = tempdir().unwrap();
    let repository = ensure(&local(place.path()));
    let restic = Restic::folder(place.path(), PASSWORD);
    let shared = repository.lock(Mode::Shared).unwrap();
    let refused = restic.fails(&["prune"]);
    assert!(refused.contains("already locked"), "{refused}");
    restic.run(&["snapshots"]);
    shared.release().unwrap();
    let alone = repository.lock(Mode::Exclusive).unwrap();
    let refused = restic.fails(&["backup", "/etc/hostname"]);
    assert!(refused.contains("already locked exclusively"), "{refused}");
    alone.release().unwrap();
    restic.run(&["prune"]);
}

#[test]
fn we_respect_restics_locks_until_its_client_is_dead() {
    let place = tempdir().unwrap();
    let repository = ensure(&local(place.path()));
    let restic = Restic::folder(place.path(), PASSWORD);
    let mut waiting = Waiting::start(&restic, place.path());
    let refused = repository.prune().unwrap_err();
    assert!(matches!(refused, BackupError::Locked { .. }), "{refused}");
    // Beside a backup of restic's, ours goes on.
    let disk = Disk::new(vec![7; usize::try_from(MIB).unwrap()]);
    run(&repository, &job(0, &[("root", &disk)], None)).unwrap();
    assert_eq!(locks(place.path()), 1);

    waiting.kill();
    assert_eq!(locks(place.path()), 1);
    let archived = run(&repository, &job(1, &[("root", &disk)], None)).unwrap();
    assert_eq!(archived.locks_removed.len(), 1);
    assert_eq!(locks(place.path()), 0);
    repository.prune().unwrap();
    restic.check();
}
