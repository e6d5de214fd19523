//! The log on disk. One task writes; who hands it an event gets an answer when the line is safe.
//!
//! Lines that wait are written together and synced once. A line that a crash cut short is taken
//! off when the log is opened (nobody was told that it is safe), and that this was done is a line.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Entry, Event, Stage};
use dc_audit::chain::{self, Head};
use dc_audit::verify::{Walked, Wrong, walk};

/// Changes are rare beside reads; so many waiting means that the disk does not keep up.
const WAITING: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("the audit log {} cannot be read or written", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the audit log {} is broken; keep it for the auditor, and give another file", path.display())]
    Broken {
        path: PathBuf,
        #[source]
        source: Wrong,
    },
}

/// Cheap to clone; all clones write one log.
#[derive(Clone)]
pub struct Audit {
    queue: mpsc::Sender<(Event, oneshot::Sender<bool>)>,
}

impl Audit {
    /// Opens the log, after its whole chain was verified.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let mut log = Log::open(path)?;
        let (queue, waiting) = mpsc::channel(WAITING);
        // Syncing blocks, so this is a thread rather than a task.
        std::thread::spawn(move || log.serve(waiting));
        Ok(Self { queue })
    }

    /// Whether the event is on disk.
    pub async fn write(&self, event: Event) -> bool {
        let (told, safe) = oneshot::channel();
        let queued = self.queue.send((event, told)).await;
        queued.is_ok() && safe.await.unwrap_or(false)
    }
}

fn io(path: &Path, source: std::io::Error) -> AuditError {
    AuditError::Io {
        path: path.to_owned(),
        source,
    }
}

struct Log {
    path: PathBuf,
    file: File,
    head: Head,
    length: u64,
}

impl Log {
    fn open(path: &Path) -> Result<Self, AuditError> {
        let failed = |source| io(path, source);
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(failed)?;
        let copy = file.try_clone().map_err(failed)?;
        let walked = walk(BufReader::new(copy), |_| {});
        let Walked { head, whole, torn } = walked.map_err(|wrong| match wrong {
            Wrong::Unreadable(source) => io(path, source),
            source => AuditError::Broken {
                path: path.to_owned(),
                source,
            },
        })?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            head,
            length: whole,
        };
        if torn > 0 {
            tracing::warn!(bytes = torn, "the end of a line was cut off the audit log");
            log.file.set_len(log.length).map_err(failed)?;
            log.append(vec![recovered(torn)]).map_err(failed)?;
        }
        Ok(log)
    }

    fn serve(&mut self, mut waiting: mpsc::Receiver<(Event, oneshot::Sender<bool>)>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut batch = vec![first];
            while let Ok(next) = waiting.try_recv() {
                batch.push(next);
            }
            let (events, told): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let written = self.append(events);
            if let Err(error) = &written {
                tracing::error!(%error, path = %self.path.display(), "the audit log is not written");
            } else {
                // The chain's anchor outside of the file itself.
                let Head { sequence, hash } = &self.head;
                tracing::info!(sequence, hash, "audit head");
            }
            for told in told {
                // Whoever asked may be gone; the line stands.
                let _ = told.send(written.is_ok());
            }
        }
    }

    /// All of the events or none: after a failure the file is cut back to what it was.
    fn append(&mut self, events: Vec<Event>) -> std::io::Result<()> {
        let (mut head, mut text) = (self.head.clone(), String::new());
        for event in events {
            let entry = Entry {
                sequence: head.sequence + 1,
                time: jiff::Timestamp::now().to_string(),
                event,
            };
            let (line, next) = chain::line(&head, &entry)?;
            text.push_str(&line);
            head = next;
        }
        let written = self.file.write_all(text.as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += text.len() as u64;
        self.head = head;
        Ok(())
    }
}

fn recovered(bytes: u64) -> Event {
    Event {
        stage: Stage::Recovered,
        request: String::new(),
        user: String::new(),
        groups: Vec::new(),
        from: String::new(),
        department: String::new(),
        verb: String::new(),
        resource: String::new(),
        name: String::new(),
        change: json!({"bytesCutOff": bytes}),
        status: None,
        problem: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dc_audit::verify::Whole;

    fn verify(path: &Path, noted: &[String]) -> Result<Whole, Wrong> {
        dc_audit::verify::verify(BufReader::new(File::open(path).unwrap()), noted)
    }

    fn event(name: &str) -> Event {
        Event {
            stage: Stage::Asked,
            name: name.to_owned(),
            ..recovered(0)
        }
    }

    async fn write(path: &Path, names: &[&str]) {
        let audit = Audit::open(path).unwrap();
        for name in names {
            assert!(audit.write(event(name)).await);
        }
    }

    #[tokio::test]
    async fn a_log_goes_on_where_it_ended_and_is_verified_as_one_chain() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        write(&path, &["a", "b"]).await;
        let noted = [verify(&path, &[]).unwrap().head.hash];
        write(&path, &["c"]).await;
        let whole = verify(&path, &noted).unwrap();
        assert_eq!((whole.head.sequence, whole.noted), (3, vec![Some(2)]));
    }

    #[tokio::test]
    async fn a_line_cut_short_by_a_crash_is_taken_off_and_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        write(&path, &["a", "b"]).await;
        let length = std::fs::metadata(&path).unwrap().len();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length - 7).unwrap();
        assert!(verify(&path, &[]).is_err(), "an auditor sees the cut");
        write(&path, &["c"]).await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().nth(1).unwrap().contains("bytesCutOff"));
        assert_eq!(verify(&path, &[]).unwrap().head.sequence, 3);
    }

    #[tokio::test]
    async fn a_log_that_somebody_has_changed_is_not_written_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        write(&path, &["innocent"]).await;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("innocent", "guilty12")).unwrap();
        assert!(matches!(Audit::open(&path), Err(AuditError::Broken { .. })));
    }
}
