use super::*;
use crate::lab::{LabName, Owner};
use crate::teardown;

/// A lab of this test alone, taken away at its end.
struct TestLab(Lab);

impl TestLab {
    fn new(name: &str) -> Self {
        let name: LabName = format!("unit-{name}-{}", std::process::id())
            .parse()
            .unwrap();
        let owner = Owner::Test(Identity::own().unwrap());
        Self(Lab::open_or_create(&name, owner).unwrap())
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        teardown::remove(&self.0).unwrap();
        assert!(!self.0.folder().exists());
    }
}

fn sleeper() -> Spec {
    Spec::new("sleeper", "/bin/sleep").arg("1000")
}

#[test]
fn a_daemon_that_runs_as_wanted_is_kept() {
    let lab = TestLab::new("kept");
    let Ensured::Started(first) = ensure(&lab.0, &sleeper()).unwrap() else {
        panic!("not started")
    };
    assert_eq!(ensure(&lab.0, &sleeper()).unwrap(), Ensured::Kept(first));
}

#[test]
fn a_daemon_with_other_arguments_is_restarted() {
    let lab = TestLab::new("changed");
    let first = ensure(&lab.0, &sleeper()).unwrap().pid();
    let other = Spec::new("sleeper", "/bin/sleep").arg("2000");
    let Ensured::Restarted(second) = ensure(&lab.0, &other).unwrap() else {
        panic!("not restarted")
    };
    assert_ne!(first, second.pid);
    assert_eq!(Identity::of(first).filter(Identity::is_alive), None);
}

#[test]
fn a_daemon_that_was_killed_is_started_again() {
    let lab = TestLab::new("killed");
    ensure(&lab.0, &sleeper()).unwrap();
    kill(&lab.0, "sleeper").unwrap();
    assert_eq!(running(&lab.0, "sleeper").unwrap(), None);
    assert!(matches!(
        ensure(&lab.0, &sleeper()).unwrap(),
        Ensured::Started(_)
    ));
}

#[test]
fn a_daemon_that_ignores_sigterm_is_killed_after_its_grace() {
    let lab = TestLab::new("stubborn");
    let mut spec = Spec::new("stubborn", "/bin/sh").args([
        "-c",
        "trap '' TERM; echo ready; while :; do sleep 1000; done",
    ]);
    spec.stop_grace = Duration::from_millis(100);
    let identity = Identity::of(ensure(&lab.0, &spec).unwrap().pid()).unwrap();
    stop(&lab.0, "stubborn").unwrap();
    assert!(!identity.is_alive());
    assert_eq!(running(&lab.0, "stubborn").unwrap(), None);
}

#[test]
fn a_stranger_with_the_recorded_pid_is_left_alone() {
    let own = Identity::own().unwrap();
    let stranger = Identity {
        start_ticks: own.start_ticks + 1,
        ..own
    };
    stop_identity(stranger, Duration::ZERO).unwrap();
}

#[test]
fn a_process_without_a_record_is_found_by_its_marker_and_ended() {
    let lab = TestLab::new("unrecorded");
    let identity = Identity::of(ensure(&lab.0, &sleeper()).unwrap().pid()).unwrap();
    Record::remove(&lab.0, "sleeper").unwrap();
    assert_eq!(find_marked(lab.0.id()), [identity]);
    drop(lab);
    assert!(!identity.is_alive());
}

#[test]
fn what_a_daemon_prints_is_in_its_log() {
    let lab = TestLab::new("log");
    let spec =
        Spec::new("talker", "/bin/sh").args(["-c", "echo out; echo err >&2; exec sleep 1000"]);
    ensure(&lab.0, &spec).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !tail(&lab.0, "talker").contains("err") {
        assert!(Instant::now() < deadline, "{}", tail(&lab.0, "talker"));
        std::thread::yield_now();
    }
    assert!(tail(&lab.0, "talker").contains("out"));
}

fn restarted() -> Spec {
    Spec::new("restarted", "/bin/sleep")
        .arg("1000")
        .restart(Restart::Always)
}

fn wait_working(lab: &Lab, other_than: Option<Identity>) -> Identity {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match working(lab, "restarted").unwrap() {
            Some(identity) if Some(identity) != other_than => return identity,
            _ => assert!(Instant::now() < deadline, "{}", tail(lab, "restarted")),
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_daemon_that_ends_by_itself_is_started_again() {
    let lab = TestLab::new("again");
    ensure(&lab.0, &restarted()).unwrap();
    let first = wait_working(&lab.0, None);
    stop_identity(first, Duration::ZERO).unwrap();
    assert!(wait_working(&lab.0, Some(first)).is_alive());
    assert!(matches!(
        ensure(&lab.0, &restarted()).unwrap(),
        Ensured::Kept(_)
    ));
}

#[test]
fn a_restarted_daemon_ends_with_its_loop_when_it_is_stopped() {
    let lab = TestLab::new("stopped");
    ensure(&lab.0, &restarted()).unwrap();
    let program = wait_working(&lab.0, None);
    stop(&lab.0, "restarted").unwrap();
    assert!(!program.is_alive());
    assert!(find_marked(lab.0.id()).is_empty());
}

#[test]
fn a_restarted_daemon_that_is_killed_stays_dead_until_it_is_wanted_again() {
    let lab = TestLab::new("dead");
    ensure(&lab.0, &restarted()).unwrap();
    let program = wait_working(&lab.0, None);
    kill(&lab.0, "restarted").unwrap();
    assert!(!program.is_alive());
    assert!(find_marked(lab.0.id()).is_empty());
    assert!(matches!(
        ensure(&lab.0, &restarted()).unwrap(),
        Ensured::Started(_)
    ));
}
