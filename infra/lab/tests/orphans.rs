//! What a test process leaves that was killed before it could clean up.

use std::process::{Command, Stdio};
use std::time::Duration;

use dc_lab::control_plane::test_lab;
use dc_lab::lab::Lab;
use dc_lab::process::{self, Spec};
use dc_lab::wait::{self, Look};
use dc_lab::{remains, teardown};

const DEADLINE: Duration = Duration::from_secs(60);
const HOLD: &str = "DC_LAB_TEST_HOLD";

/// Not a test but the process that the test below kills.
#[test]
#[ignore = "started by another test, which kills it"]
fn holds_a_lab_until_it_is_killed() {
    if std::env::var_os(HOLD).is_none() {
        return;
    }
    let lab = test_lab("orphan").unwrap();
    process::ensure(&lab, &Spec::new("sleeper", "/bin/sleep").arg("1000")).unwrap();
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn the_lab_of_a_killed_test_is_taken_away_by_the_next() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_lab_until_it_is_killed"])
        .env(HOLD, "1")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let name = format!("test-orphan-{}-0", holder.id()).parse().unwrap();
    let lab = wait::until(
        "the other process's lab",
        DEADLINE,
        async || match Lab::open(&name) {
            Ok(Some(lab)) if matches!(process::running(&lab, "sleeper"), Ok(Some(_))) => {
                Look::Holds(lab)
            }
            other => Look::NotYet(format!("{other:?}")),
        },
    )
    .await
    .unwrap();

    teardown::remove_orphans().unwrap();
    assert!(lab.folder().exists(), "its test still runs");

    holder.kill().unwrap();
    holder.wait().unwrap();
    teardown::remove_orphans().unwrap();
    assert_eq!(remains::find(&lab).unwrap(), [""; 0]);
}
