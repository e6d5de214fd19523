//! Answers of the API server to [`Question`]s, remembered for a moment.
//!
//! The moment is what a change of rights may take to reach us, and so is short. Refusals are
//! remembered as well. The memory is bounded; when it is full, it is emptied.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::{Person, Question};
use crate::metrics::{Metrics, Review};
use crate::problem::{Part, Problem};

/// How long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(2);
/// About 10 MB at the length of our names.
const MOST: usize = 50_000;
/// How many questions are under way at once when a list asks many.
const AT_ONCE: usize = 16;
/// What Kubernetes adds to everybody who has signed in.
const AUTHENTICATED: &str = "system:authenticated";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
}

pub struct Reviews {
    api: Api<SubjectAccessReview>,
    known: Mutex<HashMap<(Person, Question), (Answer, Instant)>>,
    metrics: Metrics,
}

impl Reviews {
    #[must_use]
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self {
            api: Api::all(client),
            known: Mutex::default(),
            metrics,
        }
    }

    pub async fn ask(&self, person: &Person, question: Question) -> Result<Answer, Problem> {
        let key = (person.clone(), question);
        if let Some(answer) = self.known(&key) {
            self.metrics.review(Review::Remembered);
            return Ok(answer);
        }
        self.metrics.review(Review::Asked);
        let review = review(&key.0, &key.1);
        let asked = self.api.create(&PostParams::default(), &review).await;
        let answer = match asked {
            Ok(review) if review.status.as_ref().is_some_and(|status| status.allowed) => {
                Answer::Yes
            }
            Ok(_) => Answer::No,
            Err(error) => {
                tracing::warn!(%error, "a review of access failed");
                return Err(Problem::Unavailable(Part::Kubernetes));
            }
        };
        self.remember(key, answer);
        Ok(answer)
    }

    /// Those of the questions whose answer is yes, in their order.
    pub async fn ask_each<T>(
        &self,
        person: &Person,
        asked: Vec<(T, Question)>,
    ) -> Result<Vec<T>, Problem> {
        let answers = stream::iter(asked)
            .map(async |(what, question)| (what, self.ask(person, question).await))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let mut allowed = Vec::new();
        for (what, answer) in answers {
            if answer? == Answer::Yes {
                allowed.push(what);
            }
        }
        Ok(allowed)
    }

    fn known(&self, key: &(Person, Question)) -> Option<Answer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, at) = known.get(key)?;
        (at.elapsed() < BELIEVED).then_some(*answer)
    }

    fn remember(&self, key: (Person, Question), answer: Answer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (_, at)| at.elapsed() < BELIEVED);
            if known.len() >= MOST {
                known.clear();
            }
        }
        known.insert(key, (answer, Instant::now()));
    }
}

fn review(person: &Person, question: &Question) -> SubjectAccessReview {
    let Person { user, groups } = person;
    let Question {
        verb,
        resource,
        department,
        name,
    } = question;
    let groups = groups.iter().map(String::as_str).chain([AUTHENTICATED]);
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.clone()),
            groups: Some(groups.map(str::to_owned).collect()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.name().to_owned()),
                group: Some(resource.group.to_owned()),
                resource: Some(resource.plural.to_owned()),
                namespace: department.clone(),
                name: name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
