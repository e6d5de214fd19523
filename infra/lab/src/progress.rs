//! What a person sees while a lab is being made: each step, how long it took, and a sign of life
//! from what takes long. All of it goes to standard error; standard output is for results.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A step that takes longer than this says so, and again each time it has passed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// How much of a failed command's output is shown.
const SHOWN_OUTPUT: usize = 6000;

fn started() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

fn say(text: &str) {
    let elapsed = started().elapsed().as_secs_f32();
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[2m{elapsed:7.1}s\x1b[0m  {text}");
    } else {
        eprintln!("{elapsed:7.1}s  {text}");
    }
}

/// One line, without a step.
pub fn note(text: impl AsRef<str>) {
    say(text.as_ref());
}

/// A step that is under way. It says that it began, gives a sign of life while it lasts, and says
/// how it ended; dropped without an end it has failed, and the error that follows says why.
#[derive(Debug)]
pub struct Step {
    what: String,
    start: Instant,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

pub fn step(what: impl Into<String>) -> Step {
    let what = what.into();
    say(&format!("{what} …"));
    let (end, ended) = channel::<()>();
    let label = what.clone();
    let start = Instant::now();
    let ticker = std::thread::spawn(move || {
        while ended.recv_timeout(SIGN_OF_LIFE) == Err(RecvTimeoutError::Timeout) {
            say(&format!(
                "  … still {label} ({:.0} s)",
                start.elapsed().as_secs_f32()
            ));
        }
    });
    Step {
        what,
        start,
        ticker: Some((end, ticker)),
    }
}

impl Step {
    pub fn done(mut self, result: impl AsRef<str>) {
        self.stop_ticker();
        let took = self.start.elapsed().as_secs_f32();
        say(&format!(
            "  {}: {} ({took:.1} s)",
            self.what,
            result.as_ref()
        ));
    }

    fn stop_ticker(&mut self) {
        if let Some((end, ticker)) = self.ticker.take() {
            drop(end);
            let _ = ticker.join();
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.ticker.is_some() {
            self.stop_ticker();
            say(&format!("  {}: not done", self.what));
        }
    }
}

/// Runs a command to its end, quietly; if it fails, the end of what it printed is in the error.
pub fn run(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let mut stderr = tempfile::tempfile()?;
    let output = command
        .stdin(Stdio::null())
        .stderr(stderr.try_clone()?)
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{}{stdout}", read_back(&mut stderr)?);
        bail!(
            "{shown} failed ({}):\n{}",
            output.status,
            end_of(said.trim_end())
        );
    }
    Ok(stdout)
}

fn read_back(file: &mut File) -> Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn end_of(text: &str) -> &str {
    let mut from = text.len().saturating_sub(SHOWN_OUTPUT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// The command line as a person would type it, cut short.
pub fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    match line.char_indices().nth(300) {
        Some((cut, _)) => format!("`{}…`", &line[..cut]),
        None => format!("`{line}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_says_what_it_printed() {
        let error =
            run(Command::new("sh").args(["-c", "echo the reason >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the reason") && text.contains("exit status: 3"),
            "{text}"
        );
    }
}
