//! Running cargo's tests, shown as they run, and counting what they said.

use std::io::{BufRead, BufReader, Read};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    /// For each failure that has a name: the name, and the beginning of what it said.
    pub said: Vec<String>,
}

impl Tally {
    #[must_use]
    pub fn one(passed: bool) -> Self {
        Self {
            passed: usize::from(passed),
            failed: usize::from(!passed),
            said: Vec::new(),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.said.extend(other.said);
    }
}

/// So much of what a failed test said is shown again at the end.
const SAID_LINES: usize = 6;

/// Finds in a test program's output what failed tests said.
#[derive(Default)]
struct Said {
    found: Vec<String>,
    left: usize,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let heading = line.strip_prefix("---- ");
        if let Some(name) = heading.and_then(|rest| rest.strip_suffix(" ----")) {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.found.push(name.to_owned());
            self.left = SAID_LINES;
        } else if line.starts_with("failures:") || line.starts_with("Stack backtrace") {
            self.left = 0;
        } else if self.left > 0
            && !line.trim().is_empty()
            && let Some(last) = self.found.last_mut()
        {
            self.left -= 1;
            let shown: String = line.chars().take(600).collect();
            last.push_str("\n    ");
            last.push_str(&shown);
        }
    }
}

/// Runs a `cargo test` command and sums the result lines of its test programs. A command that
/// fails without a failed test (it does not build, a test program crashed) counts as one failure.
///
/// `heading` stands before each line that is shown.
pub fn run_tests(command: &mut Command, heading: &str) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo's output is not there")?;
    let stderr = child
        .stderr
        .take()
        .context("cargo's errors are not there")?;
    let mut total = Tally::default();
    let mut said = Said::default();
    std::thread::scope(|scope| -> Result<()> {
        scope.spawn(move || {
            // When it cannot be read any more there is nothing to show.
            let _ = each_line(stderr, |line| eprintln!("{heading}{line}"));
        });
        each_line(stdout, |line| {
            println!("{heading}{line}");
            said.hear(line);
            if let Some(tally) = parse_result_line(line) {
                total += tally;
            }
        })
    })?;
    if !child.wait()?.success() && total.failed == 0 {
        total.failed = 1;
    }
    total.said = said.found;
    Ok(total)
}

fn each_line(output: impl Read, mut hear: impl FnMut(&str)) -> Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        hear(&String::from_utf8_lossy(&line?));
    }
    Ok(())
}

/// `test result: ok. 3 passed; 0 failed; …`, as libtest prints it.
fn parse_result_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?;
    let count = |word: &str| {
        let before = counts.split_once(word)?.0.trim_end();
        before
            .rsplit(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    Some(Tally {
        passed: count(" passed")?,
        failed: count(" failed")?,
        said: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_line_is_counted_and_no_other_line_is() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered \
                    out; finished in 0.01s";
        assert_eq!(
            parse_result_line(line),
            Some(Tally {
                passed: 12,
                failed: 3,
                said: vec![]
            })
        );
        assert_eq!(parse_result_line("test wait ... ok"), None);
    }

    #[test]
    fn a_command_that_fails_without_a_result_is_one_failure() {
        let tally =
            run_tests(Command::new("sh").args(["-c", "echo broken; exit 101"]), "").unwrap();
        assert_eq!(tally, Tally::one(false));
    }

    #[test]
    fn the_results_of_several_test_programs_are_summed() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; \
                      echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        let tally = run_tests(Command::new("sh").args(["-c", script]), "a │ ").unwrap();
        assert_eq!(
            tally,
            Tally {
                passed: 3,
                failed: 1,
                said: vec![]
            }
        );
    }

    #[test]
    fn what_a_failed_test_said_is_kept_without_its_backtrace() {
        let lines = [
            "failures:",
            "",
            "---- one stdout ----",
            "",
            "thread 'one' panicked at a.rs:1:2:",
            "left is not right",
            "Stack backtrace:",
            "   0: core",
            "---- two ----",
            "it is not so",
            "",
            "failures:",
            "    one",
        ];
        let mut said = Said::default();
        for line in lines {
            said.hear(line);
        }
        assert_eq!(
            said.found,
            [
                "one\n    thread 'one' panicked at a.rs:1:2:\n    left is not right",
                "two\n    it is not so"
            ]
        );
    }
}
