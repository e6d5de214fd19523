//! The agent in the guest, asked through libvirt about its file systems.
//!
//! Asked in its own words rather than by libvirt's freeze call, which has no time limit: a guest
//! that does not answer must not hold anything up. The names are of QEMU's guest agent protocol.

use dc_agent_core::vm::hold::Freeze;
use serde_json::{Value, json};
use virt::domain::Domain;
use virt::error::Error as VirtError;

use crate::hypervisor::CommandState;

/// Seconds. A freeze writes out all that the guest has cached.
const FREEZE_S: i32 = 10;
/// Seconds, for what takes milliseconds.
const ANSWER_S: i32 = 5;

fn ask(domain: &Domain, command: &str, limit_s: i32) -> Result<String, VirtError> {
    domain.qemu_agent_command(&format!("{{\"execute\":\"{command}\"}}"), limit_s, 0)
}

/// Whatever it answers: how its file systems are is asked afterwards.
pub(super) fn freeze(domain: &Domain) {
    // Not answered and refused are the same here, and both are seen by the state.
    let _ = ask(domain, "guest-fsfreeze-freeze", FREEZE_S);
}

pub(super) fn thaw(domain: &Domain) -> Result<(), VirtError> {
    ask(domain, "guest-fsfreeze-thaw", ANSWER_S).map(drop)
}

pub(super) fn freeze_state(domain: &Domain) -> Freeze {
    match ask(domain, "guest-fsfreeze-status", ANSWER_S) {
        Ok(answer) => read_state(&answer),
        Err(_) => Freeze::Unanswered,
    }
}

fn read_state(answer: &str) -> Freeze {
    let state = serde_json::from_str::<serde_json::Value>(answer).ok();
    match state.as_ref().and_then(|answer| answer["return"].as_str()) {
        Some("frozen") => Freeze::Frozen,
        Some("thawed") => Freeze::Thawed,
        Some(_) | None => Freeze::Unanswered,
    }
}

pub(super) fn ping(domain: &Domain) -> bool {
    ask(domain, "guest-ping", ANSWER_S).is_ok()
}

/// Starts a program; `None` when no agent answers, or it may not.
pub(super) fn start(domain: &Domain, command: &[String]) -> Option<i64> {
    let (path, arguments) = command.split_first()?;
    let order = json!({"execute": "guest-exec", "arguments": {
        "path": path, "arg": arguments, "capture-output": false,
    }});
    let answer = domain.qemu_agent_command(&order.to_string(), ANSWER_S, 0);
    let answer: Value = serde_json::from_str(&answer.ok()?).ok()?;
    answer["return"]["pid"].as_i64()
}

pub(super) fn state(domain: &Domain, number: i64) -> CommandState {
    let order = json!({"execute": "guest-exec-status", "arguments": {"pid": number}});
    match domain.qemu_agent_command(&order.to_string(), ANSWER_S, 0) {
        Ok(answer) => read_command(&answer),
        Err(_) => CommandState::Unknown,
    }
}

fn read_command(answer: &str) -> CommandState {
    let Ok(answer) = serde_json::from_str::<Value>(answer) else {
        return CommandState::Unknown;
    };
    let state = &answer["return"];
    let number = |field: &str| state[field].as_i64().and_then(|n| i32::try_from(n).ok());
    match state["exited"].as_bool() {
        Some(false) => CommandState::Runs,
        Some(true) => match (number("exitcode"), number("signal")) {
            (Some(code), _) => CommandState::Ended(code),
            (None, Some(signal)) => CommandState::Ended(128_i32.saturating_add(signal)),
            (None, None) => CommandState::Unknown,
        },
        None => CommandState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_answer_counts() {
        assert_eq!(read_state(r#"{"return":"frozen"}"#), Freeze::Frozen);
        assert_eq!(read_state(r#"{"return":"thawed"}"#), Freeze::Thawed);
        assert_eq!(read_state(r#"{"return":4}"#), Freeze::Unanswered);
        assert_eq!(read_state("frozen"), Freeze::Unanswered);
    }

    #[test]
    fn a_command_that_a_signal_ended_has_not_ended_well() {
        for (answer, state) in [
            (r#"{"return":{"exited":false}}"#, CommandState::Runs),
            (
                r#"{"return":{"exited":true,"exitcode":3}}"#,
                CommandState::Ended(3),
            ),
            (
                r#"{"return":{"exited":true,"signal":9}}"#,
                CommandState::Ended(137),
            ),
            (r#"{"return":{"exited":true}}"#, CommandState::Unknown),
            ("", CommandState::Unknown),
        ] {
            assert_eq!(read_command(answer), state, "{answer}");
        }
    }
}
