//! nftables rulesets as values, and their text.
//!
//! A [`Table`] is built by [`department`], [`guard`], [`edge`] or [`overlay`], rendered here, loaded whole and
//! at once by `nft -f`, and recognised again by [`TableSeen`]: every table carries the digest of
//! its own text as the comment of an element, and is compared by that, by the number of rules in
//! each chain and of elements in each set. So a table that somebody flushed or added to is loaded
//! again. `flush ruleset` is never used: tables of other names are not ours.
//!
//! What of a table is looked into, and not just counted, are the elements that carry a comment:
//! the members of a department and its flows (see [`department`]).

pub mod department;
pub mod edge;
pub mod guard;
pub mod overlay;

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The set that carries the table's digest and owner.
pub const MARK_SET: &str = "written";

/// Several tables of one namespace, loaded in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub family: Family,
    pub name: &'static str,
    /// Whose it is, in a form of the builder's choice; carried as a comment.
    pub owner: String,
    pub sets: Vec<Set>,
    pub chains: Vec<Chain>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Inet,
    Bridge,
}

impl Family {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Inet => "inet",
            Family::Bridge => "bridge",
        }
    }
}

/// A named set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    pub name: String,
    /// Such as `ipv4_addr`, or `mark : verdict` for a map. One with raw bytes of a packet (`@th`)
    /// is taken as an expression whose type it has.
    pub type_: &'static str,
    pub form: Form,
    pub elements: Vec<Element>,
}

/// Whether elements may be prefixes and ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Single,
    Interval,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// With ` : value` in a map.
    pub text: String,
    pub comment: Option<String>,
}

impl Element {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            comment: None,
        }
    }

    #[must_use]
    pub fn commented(text: impl Into<String>, comment: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            comment: Some(comment.into()),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    pub base: Option<Base>,
    pub rules: Vec<String>,
}

/// Where a chain hooks in, such as `filter hook forward priority filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    pub hook: &'static str,
    pub policy: Policy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Accept,
    Drop,
}

impl Policy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        }
    }
}

/// A table as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSeen {
    /// `inet` or `bridge`.
    pub family: String,
    pub name: String,
    pub chains: BTreeMap<String, ChainSeen>,
    pub sets: BTreeMap<String, SetSeen>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainSeen {
    pub rules: usize,
    /// Of a base chain.
    pub policy: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetSeen {
    pub count: usize,
    /// Those of simple keys, in the text nft gives them: key and comment.
    pub elements: Vec<(String, Option<String>)>,
}

impl TableSeen {
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.mark("1")
    }

    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.mark("2")
    }

    fn mark(&self, key: &str) -> Option<&str> {
        let set = self.sets.get(MARK_SET)?;
        let (_, comment) = set.elements.iter().find(|(text, _)| text == key)?;
        comment.as_deref()
    }

    /// The elements of a set of simple keys; empty when there is no such set.
    #[must_use]
    pub fn elements(&self, set: &str) -> &[(String, Option<String>)] {
        self.sets.get(set).map_or(&[], |set| &set.elements)
    }
}

impl Set {
    #[must_use]
    pub fn new(name: impl Into<String>, type_: &'static str, form: Form) -> Self {
        Self {
            name: name.into(),
            type_,
            form,
            elements: Vec::new(),
        }
    }

    #[must_use]
    pub fn with(mut self, elements: impl IntoIterator<Item = Element>) -> Self {
        self.elements.extend(elements);
        self
    }

    /// Sets of things to be cut are filled and emptied while the table stays.
    fn is_passing(&self) -> bool {
        department::CUT_SETS.contains(&self.name.as_str())
    }

    fn render(&self, out: &mut String) {
        let word = if self.type_.contains(" : ") {
            "map"
        } else {
            "set"
        };
        let _ = writeln!(out, "  {word} {} {{", self.name);
        let keyword = if self.type_.contains('@') {
            "typeof"
        } else {
            "type"
        };
        let _ = writeln!(out, "    {keyword} {}", self.type_);
        if self.form == Form::Interval {
            out.push_str("    flags interval\n");
        }
        if !self.elements.is_empty() {
            out.push_str("    elements = {\n");
            for element in &self.elements {
                let _ = writeln!(out, "      {},", element.render());
            }
            out.push_str("    }\n");
        }
        out.push_str("  }\n");
    }
}

impl Element {
    /// In a map the comment stands between key and value.
    fn render(&self) -> String {
        let Some(comment) = &self.comment else {
            return self.text.clone();
        };
        match self.text.split_once(" : ") {
            None => format!("{} comment \"{comment}\"", self.text),
            Some((key, value)) => format!("{key} comment \"{comment}\" : {value}"),
        }
    }
}

impl Chain {
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base: None,
            rules: Vec::new(),
        }
    }

    #[must_use]
    pub fn base(name: impl Into<String>, hook: &'static str, policy: Policy) -> Self {
        Self {
            base: Some(Base { hook, policy }),
            ..Self::new(name)
        }
    }

    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rules.push(rule.into());
        self
    }

    #[must_use]
    pub fn rules(mut self, rules: impl IntoIterator<Item = String>) -> Self {
        self.rules.extend(rules);
        self
    }

    fn render(&self, out: &mut String) {
        let _ = writeln!(out, "  chain {} {{", self.name);
        if let Some(Base { hook, policy }) = &self.base {
            let _ = writeln!(out, "    type {hook}; policy {};", policy.as_str());
        }
        for rule in &self.rules {
            let _ = writeln!(out, "    {rule}");
        }
        out.push_str("  }\n");
    }
}

impl Table {
    /// Of everything in it but what passes.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.render_with("", false))
    }

    /// The text that puts this table in place of one of its name.
    #[must_use]
    pub fn render(&self) -> String {
        let (family, name) = (self.family.as_str(), self.name);
        let text = self.render_with(&self.digest(), true);
        format!("table {family} {name}\ndelete table {family} {name}\n{text}")
    }

    fn render_with(&self, digest: &str, passing: bool) -> String {
        let mut out = format!("table {} {} {{\n", self.family.as_str(), self.name);
        self.mark_set(digest).render(&mut out);
        for set in &self.sets {
            if set.is_passing() && !passing {
                Set::new(set.name.clone(), set.type_, set.form).render(&mut out);
            } else {
                set.render(&mut out);
            }
        }
        for chain in &self.chains {
            chain.render(&mut out);
        }
        out.push_str("}\n");
        out
    }

    fn mark_set(&self, digest: &str) -> Set {
        Set::new(MARK_SET, "mark", Form::Single).with([
            Element::commented("1", digest),
            Element::commented("2", &self.owner),
        ])
    }

    /// What reading it back gives.
    #[must_use]
    pub fn as_seen(&self) -> TableSeen {
        let digest = self.digest();
        let mark = [self.mark_set(&digest)];
        let sets = self.sets.iter().chain(&mark);
        TableSeen {
            family: self.family.as_str().to_owned(),
            name: self.name.to_owned(),
            chains: self.chains.iter().map(Chain::as_seen).collect(),
            sets: sets.map(Set::as_seen).collect(),
        }
    }

    /// Whether what was read back is this table, whatever is in its passing sets.
    #[must_use]
    pub fn is_loaded_as(&self, seen: Option<&TableSeen>) -> bool {
        let Some(seen) = seen else {
            return false;
        };
        let mine = self.as_seen();
        let counts = |table: &TableSeen| -> BTreeMap<String, usize> {
            let kept =
                |(name, _): &(&String, &SetSeen)| !department::CUT_SETS.contains(&name.as_str());
            let sets = table.sets.iter().filter(kept);
            sets.map(|(name, set)| (name.clone(), set.count)).collect()
        };
        seen.family == mine.family
            && seen.digest() == mine.digest()
            && seen.owner() == mine.owner()
            && seen.chains == mine.chains
            && counts(seen) == counts(&mine)
    }
}

impl Chain {
    fn as_seen(&self) -> (String, ChainSeen) {
        let policy = self.base.as_ref().map(|b| b.policy.as_str().to_owned());
        let rules = self.rules.len();
        (self.name.clone(), ChainSeen { rules, policy })
    }
}

impl Set {
    fn as_seen(&self) -> (String, SetSeen) {
        let simple = !self.type_.contains([' ', '.']) && self.form == Form::Single;
        let elements = if simple {
            let pair = |e: &Element| (e.text.clone(), e.comment.clone());
            self.elements.iter().map(pair).collect()
        } else {
            Vec::new()
        };
        let count = self.elements.len();
        (self.name.clone(), SetSeen { count, elements })
    }
}

/// FNV-1a of 64 bits. It tells a text from a changed one; whoever could forge a table to fit
/// could as well write its digest.
#[must_use]
pub(crate) fn digest(text: &str) -> String {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(PRIME);
    format!("{:016x}", text.as_bytes().iter().fold(BASIS, mix))
}

impl Ruleset {
    #[must_use]
    pub fn render(&self) -> String {
        self.tables.iter().map(Table::render).collect()
    }
}
