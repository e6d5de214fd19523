//! The form of what people read: a reason for programs, a sentence in each language, and a length
//! that fits a screen.

use super::Standing;

/// A fact in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub standing: Standing,
    /// PascalCase, for programs.
    pub reason: String,
    pub en: String,
    pub vi: String,
}

/// The API server takes up to 32768 bytes in a condition's message of its own kinds; one screen is
/// what a person reads.
pub(super) const MESSAGE_MAX: usize = 2048;
/// Between English and Vietnamese.
pub(super) const SEPARATOR: &str = " · ";

impl Words {
    pub(super) fn new(
        standing: Standing,
        reason: &str,
        en: impl Into<String>,
        vi: impl Into<String>,
    ) -> Self {
        Self {
            standing,
            reason: reason.to_owned(),
            en: en.into(),
            vi: vi.into(),
        }
    }

    /// Both languages in one text.
    #[must_use]
    pub fn message(&self) -> String {
        let text = match (self.en.is_empty(), self.vi.is_empty()) {
            (true, true) => String::new(),
            (false, true) => self.en.clone(),
            (true, false) => self.vi.clone(),
            // Where both are too long for one screen, the first one is cut more: it holds the
            // details, such as host by host.
            (false, false) => {
                let vi = cut(&self.vi, MESSAGE_MAX / 2);
                let room = MESSAGE_MAX - SEPARATOR.len() - vi.len();
                format!("{}{SEPARATOR}{vi}", cut(&self.en, room))
            }
        };
        cut(&text, MESSAGE_MAX)
    }
}

/// At most `max` bytes, and a sign where something is missing.
fn cut(text: &str, max: usize) -> String {
    const SIGN: char = '…';
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max - SIGN.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{SIGN}", &text[..end])
}

/// A volume that a machine waits for, with what its own Ready condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    pub volume: String,
    pub says: Option<String>,
}

impl Awaited {
    /// In English and in Vietnamese.
    pub(super) fn words(&self) -> (String, String) {
        let Self { volume, says } = self;
        match says {
            None => (volume.clone(), volume.clone()),
            Some(says) => {
                let (en, vi) = says.split_once(SEPARATOR).unwrap_or((says, says));
                (format!("{volume}: {en}"), format!("{volume}: {vi}"))
            }
        }
    }
}
