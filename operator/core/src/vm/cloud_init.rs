//! User-data: what cloud-init would not take is said before a guest boots with it in vain.

use dc_types::plan::Secret;
use serde_norway::Value;

use super::UserData;
use crate::words::Fact;

/// Given to a guest whose object asks for nothing: cloud-init then sets its name and network only.
const NOTHING: &str = "#cloud-config\n{}\n";

/// The text as the guest gets it.
pub fn validate(user_data: UserData<'_>) -> Result<Secret, Fact> {
    let (text, shown) = match user_data {
        UserData::Absent => return Ok(Secret(NOTHING.to_owned())),
        UserData::Inline(text) => (text, Shown::Whole),
        UserData::InSecret(text) => (text, Shown::PositionOnly),
        UserData::NoSecret(secret) => {
            return Err(Fact::SecretMissing {
                secret: secret.to_owned(),
            });
        }
        UserData::NoKey(secret) => {
            return Err(Fact::SecretKeyMissing {
                secret: secret.to_owned(),
            });
        }
        UserData::Unreadable { secret, error } => {
            return Err(Fact::SecretUnreadable {
                secret: secret.to_owned(),
                error: error.to_owned(),
            });
        }
    };
    check(text, shown)?;
    Ok(Secret(text.to_owned()))
}

#[derive(Clone, Copy)]
enum Shown {
    Whole,
    /// The parser's words may quote the text.
    PositionOnly,
}

fn check(text: &str, shown: Shown) -> Result<(), Fact> {
    if text.starts_with("#!") {
        return Ok(());
    }
    let first = text.lines().next().unwrap_or_default().trim_end();
    if first != "#cloud-config" {
        return Err(Fact::CloudInitKind);
    }
    match serde_norway::from_str::<Value>(text) {
        Ok(Value::Mapping(_) | Value::Null) => Ok(()),
        Ok(_) => Err(Fact::CloudInitNotYaml {
            error: "it is not a mapping of keys to values".to_owned(),
        }),
        Err(error) => {
            let at = error.location().map_or("somewhere".to_owned(), |at| {
                format!("line {} column {}", at.line(), at.column())
            });
            Err(Fact::CloudInitNotYaml {
                error: match shown {
                    Shown::Whole => error.to_string(),
                    Shown::PositionOnly => at,
                },
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cloud_config_and_scripts_are_taken_as_they_are() {
        for text in [
            "#cloud-config\nhostname: a\n",
            "#cloud-config\n",
            "#!/bin/sh\necho \"<&'\"\n",
        ] {
            assert_eq!(
                validate(UserData::Inline(text)),
                Ok(Secret(text.to_owned())),
                "{text}"
            );
        }
        assert!(validate(UserData::Absent).is_ok());
    }

    #[test]
    fn what_cloud_init_would_not_take_is_refused_with_the_place() {
        let broken = "#cloud-config\nusers: [a\nb: }\n";
        let Err(Fact::CloudInitNotYaml { error }) = validate(UserData::Inline(broken)) else {
            panic!("taken");
        };
        assert!(error.contains("line"), "{error}");
        assert_eq!(
            validate(UserData::Inline("#cloud-config\n- a\n")),
            Err(Fact::CloudInitNotYaml {
                error: "it is not a mapping of keys to values".to_owned()
            })
        );
        for text in ["hostname: a", "", " #cloud-config\n", "#cloud-configx\n"] {
            assert_eq!(validate(UserData::Inline(text)), Err(Fact::CloudInitKind));
        }
    }

    #[test]
    fn the_text_of_a_secret_is_not_in_the_message() {
        let broken = "#cloud-config\npassword: [hunter2\n";
        let Err(fact) = validate(UserData::InSecret(broken)) else {
            panic!("taken");
        };
        assert!(!fact.words().message().contains("hunter2"));
    }
}
