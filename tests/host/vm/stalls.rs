//! How long a guest's writes stand still, as its storage sees it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// As the image's `counter` writes them.
const RECORD: u64 = 4096;
const FIRST: u64 = 256;

/// How often it is looked.
const PAUSE: Duration = Duration::from_millis(1);

/// Follows a guest's counter through the files that its disk may be in.
pub struct Watch {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Watch {
    pub fn begin(files: Vec<PathBuf>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || follow(&files, &over));
        Self { is_over, thread }
    }

    /// The longest time between two records.
    pub fn end(self) -> Result<Duration> {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().ok().context("whoever watches panicked")
    }

    /// Ends it, and says what it saw for whoever measures.
    pub fn tell(self, meanwhile: &str) -> Result<()> {
        println!("stall: {meanwhile}: {} ms", self.end()?.as_millis());
        Ok(())
    }
}

/// How many records are there without a gap.
pub fn records(file: &Path) -> u64 {
    let files = [file.to_owned()];
    (0..).take_while(|record| arrived(&files, *record)).count() as u64
}

fn follow(files: &[PathBuf], is_over: &AtomicBool) -> Duration {
    let mut next = 0;
    while arrived(files, next) {
        next += 1;
    }
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !is_over.load(Ordering::SeqCst) {
        match arrived(files, next) {
            true => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                next += 1;
            }
            false => std::thread::park_timeout(PAUSE),
        }
    }
    longest.max(last.elapsed())
}

fn arrived(files: &[PathBuf], record: u64) -> bool {
    let expected = format!("record {record} ");
    files.iter().any(|file| {
        let mut found = vec![0; expected.len()];
        let read = File::open(file)
            .and_then(|file| file.read_exact_at(&mut found, (FIRST + record) * RECORD));
        read.is_ok() && found == expected.as_bytes()
    })
}
