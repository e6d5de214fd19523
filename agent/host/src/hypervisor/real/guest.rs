//! The agent in the guest, asked through libvirt about its file systems.
//!
//! Asked in its own words rather than by libvirt's freeze call, which has no time limit: a guest
//! that does not answer must not hold anything up. The names are of QEMU's guest agent protocol.

use dc_agent_core::vm::hold::Freeze;
use virt::domain::Domain;
use virt::error::Error as VirtError;

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
}
