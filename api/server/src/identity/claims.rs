//! From claims to a person. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::people::People;
use crate::problem::TokenFault;
use crate::rights::Person;

/// Which claims say who somebody is.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Such as `email` or `preferred_username`; `sub` is never reassigned, but says little.
    pub user: String,
    /// An array of texts; absent where the provider knows no groups.
    pub groups: String,
}

/// Names of Kubernetes' own users and groups begin so. No token makes anybody one of them.
const RESERVED: &str = "system:";
/// As many as an API server takes in a request without trouble.
const MOST_GROUPS: usize = 256;
const LONGEST_NAME: usize = 253;

/// The person of a token whose signature, issuer, audience and times are right.
pub fn person(claims: &Value, rules: &Rules, people: &People) -> Result<Person, TokenFault> {
    let user = claims[&rules.user].as_str().unwrap_or_default();
    if !is_name(user) {
        return Err(TokenFault::NoUser);
    }
    // An address that anybody may enter at the provider proves nothing.
    if rules.user == "email" && claims["email_verified"] != Value::Bool(true) {
        return Err(TokenFault::NoUser);
    }
    if people.is_removed(user) {
        return Err(TokenFault::Removed);
    }
    let told = claims[&rules.groups].as_array().into_iter().flatten();
    let told = told.filter_map(Value::as_str);
    let groups: BTreeSet<&str> = told
        .filter(|group| is_name(group))
        .chain(people.groups_of(user).filter(|group| is_name(group)))
        .take(MOST_GROUPS)
        .collect();
    Ok(Person {
        user: user.to_owned(),
        groups: groups.into_iter().map(str::to_owned).collect(),
    })
}

/// Also safe as the value of a header, which impersonation makes of it.
fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with(RESERVED)
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules() -> Rules {
        Rules {
            user: "email".to_owned(),
            groups: "groups".to_owned(),
        }
    }

    fn of(claims: Value) -> Result<Person, TokenFault> {
        let people = "groups: {province:auditors: [a@x.vn]}\nremoved: [gone@x.vn]";
        person(&claims, &rules(), &People::parse(people).unwrap())
    }

    #[test]
    fn groups_come_from_the_token_and_from_the_list() {
        let person = of(json!({"email": "a@x.vn", "email_verified": true, "groups": ["g"]}));
        assert_eq!(
            *person.unwrap().groups,
            ["g".to_owned(), "province:auditors".to_owned()]
        );
    }

    #[test]
    fn no_token_makes_anybody_a_part_of_kubernetes() {
        let claims = json!({"email": "a@x.vn", "email_verified": true,
                            "groups": ["system:masters", "g\r\nImpersonate-Group: system:masters"]});
        assert_eq!(
            *of(claims).unwrap().groups,
            ["province:auditors".to_owned()]
        );
        let claims = json!({"email": "system:admin", "email_verified": true});
        assert_eq!(of(claims), Err(TokenFault::NoUser));
    }

    #[test]
    fn an_address_that_nobody_verified_is_nobodys() {
        assert_eq!(of(json!({"email": "a@x.vn"})), Err(TokenFault::NoUser));
        let claims = json!({"email": "a@x.vn", "email_verified": false});
        assert_eq!(of(claims), Err(TokenFault::NoUser));
        let claims = json!({"email": ["a@x.vn"], "email_verified": true});
        assert_eq!(of(claims), Err(TokenFault::NoUser));
    }

    #[test]
    fn a_removed_user_is_refused_however_good_the_token() {
        let claims = json!({"email": "gone@x.vn", "email_verified": true});
        assert_eq!(of(claims), Err(TokenFault::Removed));
    }
}
