//! The join file: what a person carries to a new host, once.
//!
//! The operator makes it, as key [`JOIN_KEY`] of Secret `join-<host>`; the agent reads it when it
//! has no certificate yet. Fields are only ever added, so unknown ones are passed over.

use dc_types::HostName;
use dc_types::plan::Secret;
use dc_types::report::Role;
use serde::{Deserialize, Serialize};

pub const JOIN_KEY: &str = "join.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinFile {
    pub host: HostName,
    /// Good for one host and one join, within its life.
    pub token: Secret,
    /// In PEM: who signs the operator's certificate.
    pub ca: String,
    /// `host:port`.
    pub operator: String,
    /// The roles of the Host object, for simulated hosts; a real one has them in its configuration.
    #[serde(default)]
    pub roles: Vec<Role>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_file_of_a_later_version_is_read_and_its_token_not_shown() {
        let text = r#"{"host":"h1","token":"hunter2","ca":"-----BEGIN","operator":"10.0.0.1:7443",
            "roles":["compute"],"later":1}"#;
        let file: JoinFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.roles, [Role::Compute]);
        assert_eq!(file.token.0, "hunter2");
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
