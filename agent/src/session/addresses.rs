//! Where operators are: those of the configuration, those that operators told of, and the one that
//! is said to lead.

/// Gives addresses in turn; what is preferred comes first, once.
#[derive(Clone, Debug)]
pub struct Addresses {
    all: Vec<String>,
    next: usize,
    preferred: Option<String>,
}

impl Addresses {
    /// `configured` is not empty.
    #[must_use]
    pub fn new(configured: Vec<String>) -> Self {
        Self {
            all: configured,
            next: 0,
            preferred: None,
        }
    }

    /// The next address to try.
    pub fn next(&mut self) -> String {
        if let Some(preferred) = self.preferred.take() {
            return preferred;
        }
        let address = self.all[self.next % self.all.len()].clone();
        self.next = (self.next + 1) % self.all.len();
        address
    }

    /// Tries this one next.
    pub fn prefer(&mut self, address: &str) {
        self.preferred = Some(address.to_owned());
    }

    /// Adds addresses to those that are tried in turn.
    pub fn learn(&mut self, addresses: impl IntoIterator<Item = String>) {
        for address in addresses {
            if !self.all.contains(&address) {
                self.all.push(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_tried_first_and_once_and_then_all_in_turn() {
        let mut addresses = Addresses::new(vec!["a:1".into(), "b:1".into()]);
        assert_eq!(addresses.next(), "a:1");
        addresses.prefer("c:1");
        addresses.learn(["c:1".into(), "a:1".into()]);
        let tried: Vec<String> = (0..5).map(|_| addresses.next()).collect();
        assert_eq!(tried, ["c:1", "b:1", "c:1", "a:1", "b:1"]);
    }
}
