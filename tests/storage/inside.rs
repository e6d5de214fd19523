//! Runs a test inside namespaces that end with it.

use std::process::Command;

use tokio::runtime::Runtime;

const MARK: &str = "DC_STORAGE_TEST_INSIDE";

/// Runs `test` alone in a new mount, network and process namespace: the outer call starts the
/// test's own program again there, the inner one does the work. `name` is the test's full name.
pub fn inside<F: Future<Output = ()>>(name: &str, test: impl FnOnce() -> F) {
    if std::env::var_os(MARK).is_none() {
        return start_again(name);
    }
    run(&["ip", "link", "set", "lo", "up"]);
    // What is mounted here and below is seen nowhere else.
    run(&["mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    Runtime::new()
        .expect("a runtime can be made")
        .block_on(test());
}

fn start_again(name: &str) {
    let program = std::env::current_exe().expect("a test knows its program");
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--net"])
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(program)
        .args(["--exact", name, "--nocapture", "--test-threads", "1"])
        .env(MARK, "1")
        .output()
        .expect("unshare of util-linux can be started");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{name} inside:\n{out}\n{err}");
    // A misspelt name would run nothing and pass.
    assert!(out.contains("1 passed"), "{name} did not run: {out}");
}

/// Runs a program to its end; what it said when it fails is the test's message.
pub fn run(line: &[&str]) -> String {
    let output = Command::new(line[0])
        .args(&line[1..])
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", line[0]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
