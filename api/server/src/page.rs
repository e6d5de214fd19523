//! Pages of a list: the names after one name, at most so many.
//!
//! A list is in the order of names, so a page is stable while objects come and go: nothing that
//! stays is shown twice or left out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::problem::Problem;

pub const DEFAULT_LIMIT: usize = 100;
pub const LARGEST_LIMIT: usize = 500;

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// 1 to [`LARGEST_LIMIT`].
    pub limit: usize,
    /// Names after this one.
    pub after: Option<String>,
}

/// The sign that what follows was made by us, in this format.
const PREFIX: &str = "1:";

impl Page {
    pub fn parse(limit: Option<usize>, token: Option<&str>) -> Result<Self, Problem> {
        let limit = limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=LARGEST_LIMIT).contains(&limit) {
            let wrong = format!("from 1 to {LARGEST_LIMIT}");
            return Err(Problem::unreadable("limit", wrong));
        }
        let after = token.map(name_in).transpose()?;
        Ok(Self { limit, after })
    }
}

/// What `continue` says for the page after this name. Opaque to callers.
#[must_use]
pub fn token_after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{PREFIX}{name}"))
}

fn name_in(token: &str) -> Result<String, Problem> {
    let wrong = || Problem::unreadable("continue", "take it from the page before, unchanged");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
    let text = String::from_utf8(bytes).map_err(|_| wrong())?;
    let name = text.strip_prefix(PREFIX).ok_or_else(wrong)?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_token_leads_back_to_its_name(name in "[a-z0-9-]{1,63}") {
            let page = Page::parse(None, Some(&token_after(&name))).unwrap();
            prop_assert_eq!(page.after, Some(name));
        }

        #[test]
        fn a_token_that_is_not_ours_is_refused_and_breaks_nothing(token in ".{0,64}") {
            if let Ok(page) = Page::parse(None, Some(&token)) {
                prop_assert_eq!(token_after(&page.after.unwrap()), token);
            }
        }
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        assert!(Page::parse(Some(0), None).is_err());
        assert!(Page::parse(Some(LARGEST_LIMIT + 1), None).is_err());
        assert_eq!(Page::parse(None, None).unwrap().limit, DEFAULT_LIMIT);
    }
}
