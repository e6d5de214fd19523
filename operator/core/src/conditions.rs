//! Conditions from facts: one way to write them, for every kind.
//!
//! The time of a transition is kept as long as the status of the condition stays the same, so that
//! an unchanged object makes an equal status, and an equal status is never written.

use dc_crds::{Condition, ConditionStatus};

use crate::words::{Standing, Words};

/// A condition before it knows when it last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub type_: &'static str,
    pub status: ConditionStatus,
    pub words: Words,
}

impl Draft {
    #[must_use]
    pub fn new(type_: &'static str, status: ConditionStatus, words: Words) -> Self {
        Self {
            type_,
            status,
            words,
        }
    }

    /// The Ready condition of an object that stands as `words` say.
    #[must_use]
    pub fn ready(words: Words) -> Self {
        let status = match words.standing {
            Standing::Settled => ConditionStatus::True,
            Standing::Moving | Standing::Troubled | Standing::Resting => ConditionStatus::False,
            Standing::Unseen => ConditionStatus::Unknown,
        };
        Self::new(dc_crds::condition::types::READY, status, words)
    }
}

/// The clock of one look: when it is, and which generation of the spec was judged.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    pub generation: i64,
    /// RFC 3339 in UTC.
    pub now: &'a str,
}

/// The conditions to write: `drafts` in their order, with the times of `old` where nothing changed.
#[must_use]
pub fn merge(old: &[Condition], drafts: Vec<Draft>, judged: &Judged<'_>) -> Vec<Condition> {
    drafts
        .into_iter()
        .map(|draft| {
            let before = old
                .iter()
                .find(|c| c.type_ == draft.type_ && c.status == draft.status);
            Condition {
                type_: draft.type_.to_owned(),
                status: draft.status,
                reason: draft.words.reason.clone(),
                message: draft.words.message(),
                observed_generation: judged.generation,
                last_transition_time: before.map_or_else(
                    || judged.now.to_owned(),
                    |before| before.last_transition_time.clone(),
                ),
            }
        })
        .collect()
}

#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Fact;

    fn judged(generation: i64, now: &str) -> Judged<'_> {
        Judged { generation, now }
    }

    #[test]
    fn the_time_of_a_transition_is_kept_while_the_status_stays() {
        let first = merge(
            &[],
            vec![Draft::ready(Fact::Creating.words())],
            &judged(1, "t1"),
        );
        let second = merge(
            &first,
            vec![Draft::ready(Fact::Deleting.words())],
            &judged(2, "t2"),
        );
        assert_eq!(second[0].last_transition_time, "t1");
        assert_eq!(second[0].observed_generation, 2);
        let third = merge(
            &second,
            vec![Draft::ready(Fact::Ready.words())],
            &judged(2, "t3"),
        );
        assert_eq!(third[0].last_transition_time, "t3");
        let again = merge(
            &third,
            vec![Draft::ready(Fact::Ready.words())],
            &judged(2, "t4"),
        );
        assert_eq!(third, again);
    }
}
