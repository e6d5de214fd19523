//! Running cargo's tests, shown as they run, and counting what they said.

use std::io::{BufRead, BufReader};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a `cargo test` command and sums the result lines of its test programs. A command that
/// fails without a failed test (it does not build, a test program crashed) counts as one failure.
pub fn run_tests(command: &mut Command) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut total = Tally::default();
    let stdout = child.stdout.take().context("cargo's output is not there")?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(tally) = parse_result_line(&line) {
            total += tally;
        }
    }
    if !child.wait()?.success() && total.failed == 0 {
        total.failed = 1;
    }
    Ok(total)
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
                failed: 3
            })
        );
        assert_eq!(parse_result_line("test wait ... ok"), None);
    }

    #[test]
    fn a_command_that_fails_without_a_result_is_one_failure() {
        let tally = run_tests(Command::new("sh").args(["-c", "echo broken; exit 101"])).unwrap();
        assert_eq!(
            tally,
            Tally {
                passed: 0,
                failed: 1
            }
        );
    }

    #[test]
    fn the_results_of_several_test_programs_are_summed() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'; \
                      echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101";
        let tally = run_tests(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(
            tally,
            Tally {
                passed: 3,
                failed: 1
            }
        );
    }
}
