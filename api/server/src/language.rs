//! Which language an answer is in: Vietnamese, unless English is asked for.

/// The languages of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    Vietnamese,
    English,
}

impl Language {
    /// As Content-Language says it.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Vietnamese => "vi",
            Self::English => "en",
        }
    }

    /// The one of two texts.
    #[must_use]
    pub fn pick<'a>(self, vi: &'a str, en: &'a str) -> &'a str {
        match self {
            Self::Vietnamese => vi,
            Self::English => en,
        }
    }

    /// The one of highest weight in Accept-Language (RFC 9110, 12.5.4); the first of equals.
    #[must_use]
    pub fn accepted(header: Option<&str>) -> Self {
        let mut best = (Self::Vietnamese, 0.0);
        for item in header.unwrap_or_default().split(',') {
            let mut parts = item.split(';');
            let tag = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
            let weight = parts
                .find_map(|part| part.trim().strip_prefix("q="))
                .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
            let language = match tag.split('-').next() {
                Some("vi" | "*") => Self::Vietnamese,
                Some("en") => Self::English,
                _ => continue,
            };
            if weight > best.1 {
                best = (language, weight);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vietnamese_comes_first_and_english_by_weight() {
        let cases = [
            (None, Language::Vietnamese),
            (Some("en"), Language::English),
            (Some("en-GB,vi;q=0.5"), Language::English),
            (Some("vi,en"), Language::Vietnamese),
            (Some("fr, en;q=0.2, vi;q=0.8"), Language::Vietnamese),
            (Some("en;q=0"), Language::Vietnamese),
            (Some(";;q=x,\u{1}"), Language::Vietnamese),
        ];
        for (header, language) in cases {
            assert_eq!(Language::accepted(header), language, "{header:?}");
        }
    }
}
