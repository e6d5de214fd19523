//! XML as a tree that cannot be ill-formed: every text and attribute is escaped when it is written.
//!
//! Characters that XML 1.0 has no way to say (control characters) become U+FFFD; whoever compares
//! a text with what came back from libvirt compares [`clean`] texts. Line breaks and tabs are
//! written as references, so that no parser folds them into spaces.

use std::fmt::{Display, Write};

/// One element. Names come from this crate, never from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Vec<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Element(Element),
    Text(String),
}

impl Element {
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            attributes: Vec::new(),
            content: Vec::new(),
        }
    }

    #[must_use]
    pub fn attr(mut self, name: &'static str, value: impl Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    #[must_use]
    pub fn text(mut self, text: impl Display) -> Self {
        self.content.push(Content::Text(text.to_string()));
        self
    }

    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.content.push(Content::Element(child));
        self
    }

    #[must_use]
    pub fn children(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        let children = children.into_iter().map(Content::Element);
        self.content.extend(children);
        self
    }

    /// The element as text: one line for each element that holds elements, so that people can
    /// read it. No white space is added beside text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        out.push_str(&indent);
        out.push('<');
        out.push_str(self.name);
        for (name, value) in &self.attributes {
            write!(out, " {name}=\"").expect("a String takes everything");
            escape(out, value);
            out.push('"');
        }
        if self.content.is_empty() {
            out.push_str("/>\n");
            return;
        }
        out.push('>');
        let has_elements = self
            .content
            .iter()
            .any(|content| matches!(content, Content::Element(_)));
        if has_elements {
            out.push('\n');
        }
        for content in &self.content {
            match content {
                Content::Element(element) => element.write(out, depth + 1),
                Content::Text(text) => escape(out, text),
            }
        }
        if has_elements {
            out.push_str(&indent);
        }
        writeln!(out, "</{}>", self.name).expect("a String takes everything");
    }
}

/// The text as it comes back after a way through XML.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(clean_char).collect()
}

/// XML 1.0, production 2: tab, line feed, carriage return and everything from space on, without
/// the surrogates (which a `char` cannot be) and two non-characters.
fn clean_char(c: char) -> char {
    match c {
        '\t' | '\n' | '\r' => c,
        '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match clean_char(c) {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quotes_and_angle_brackets_stay_text() {
        let evil = "'/><disk type=\"file\">&amp;\n]]>";
        let xml = Element::new("a").attr("b", evil).text(evil).render();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("b"), Some(evil));
        assert_eq!(root.text(), Some(evil));
        assert_eq!(
            root.children().filter(roxmltree::Node::is_element).count(),
            0
        );
    }

    #[test]
    fn an_element_without_content_is_one_tag() {
        assert_eq!(Element::new("acpi").render(), "<acpi/>\n");
        let nested = Element::new("a").child(Element::new("b").text("c"));
        assert_eq!(nested.render(), "<a>\n  <b>c</b>\n</a>\n");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_clean(text in any::<String>()) {
            let xml = Element::new("a").attr("b", &text).render();
            let document = roxmltree::Document::parse(&xml).unwrap();
            let cleaned = clean(&text);
            prop_assert_eq!(document.root_element().attribute("b"), Some(cleaned.as_str()));
            prop_assert_eq!(clean(&cleaned), cleaned);
        }
    }
}
