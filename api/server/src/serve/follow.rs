//! Changes as they come, as server-sent events: `changed` and `deleted` with the object, `reset`
//! when some were missed, `end` before we close.
//!
//! Rights are asked again all the time, and the list of people is followed: a stream ends soon
//! after its reader may no longer read, and at once when its reader is removed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::read::Nothing;
use super::{Answered, Place, ROOT};
use crate::app::App;
use crate::cache::Told;
use crate::door::{Caller, body};
use crate::metrics::Metrics;
use crate::problem::{Part, Problem};
use crate::resources::Kind;
use crate::rights::{Question, Resource, Verb};

/// How often rights are asked again.
const RECHECK: Duration = Duration::from_secs(2);
/// Lines without meaning, so that nobody on the way takes the silence for the end.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Events that wait for a slow reader before it is behind.
const WAITING: usize = 64;
const MOST_OF_ONE: usize = 16;
const MOST: usize = 4096;

/// What happened to one object.
#[derive(Debug)]
pub struct Change {
    pub resource: Resource,
    pub department: String,
    pub event: &'static str,
    pub data: Value,
}

impl Change {
    #[must_use]
    pub fn of<K: Kind>(told: &Told<K::Object>) -> Self {
        let (event, object) = match told {
            Told::Present(object) => ("changed", object),
            Told::Gone(object) => ("deleted", object),
        };
        let kind = K::RESOURCE.plural;
        Self {
            resource: K::RESOURCE,
            department: object.namespace().unwrap_or_default(),
            event,
            data: json!({ "resource": kind, "object": K::view(object) }),
        }
    }
}

/// How many streams there are, and of whom.
#[derive(Clone)]
pub struct Slots {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    metrics: Metrics,
}

struct Slot {
    slots: Slots,
    user: String,
}

impl Slots {
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self {
            taken: Arc::default(),
            metrics,
        }
    }

    fn take(&self, user: &str) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(user).copied().unwrap_or_default();
        if all >= MOST || own >= MOST_OF_ONE {
            return None;
        }
        taken.insert(user.to_owned(), own + 1);
        self.metrics.streams().inc();
        Some(Slot {
            slots: self.clone(),
            user: user.to_owned(),
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let taken = &self.slots.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.user);
            }
        }
        self.slots.metrics.streams().dec();
    }
}

#[derive(Clone)]
struct Followed {
    app: App,
    kinds: Arc<[Resource]>,
}

/// The address of a department's changes.
#[must_use]
pub fn path() -> String {
    format!("{ROOT}/departments/{{department}}/changes")
}

pub fn routes(app: &App, kinds: Vec<Resource>) -> Router {
    let followed = Followed {
        app: app.clone(),
        kinds: kinds.into(),
    };
    Router::new()
        .route(&path(), get(follow))
        .with_state(followed)
}

async fn follow(
    State(followed): State<Followed>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Nothing {} = body::query(&uri)?;
    // First, so that what happens from here on is not missed.
    let changes = followed.app.changes.subscribe();
    let mut reader = Reader {
        followed,
        caller,
        department: place.department,
        kinds: Vec::new(),
    };
    reader.ask().await?;
    let there = reader.followed.app.departments.get("", &reader.department);
    if reader.kinds.is_empty() || there.is_none() {
        return Err(Problem::NotFound);
    }
    let slot = reader.followed.app.slots.take(&reader.caller.person.user);
    let slot = slot.ok_or(Problem::Unavailable(Part::Streams))?;
    let (events, sent) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let _slot = slot;
        reader.read(changes, &events).await;
    });
    let alive = KeepAlive::new().interval(SIGN_OF_LIFE);
    let stream = Sse::new(ReceiverStream::new(sent)).keep_alive(alive);
    Ok(stream.into_response())
}

type Events = mpsc::Sender<Result<Event, Infallible>>;

struct Reader {
    followed: Followed,
    caller: Caller,
    department: String,
    /// What may be read, as last asked.
    kinds: Vec<Resource>,
}

/// Why a stream ends.
#[derive(Debug)]
enum End {
    /// The reader is gone.
    Left,
    /// The reader may no longer read, or we end.
    Sent,
}

impl Reader {
    async fn read(mut self, changes: broadcast::Receiver<Arc<Change>>, events: &Events) {
        if let Err(End::Sent) = self.relay(changes, events).await {
            // Whoever has left does not hear it.
            let _ = events
                .send(Ok(Event::default().event("end").data("{}")))
                .await;
        }
    }

    async fn relay(
        &mut self,
        mut changes: broadcast::Receiver<Arc<Change>>,
        events: &Events,
    ) -> Result<Infallible, End> {
        let mut people = self.followed.app.roll.changes();
        let mut recheck = tokio::time::interval(RECHECK);
        send(events, Event::default().event("open").data("{}")).await?;
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => self.pass(&change, events).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        send(events, Event::default().event("reset").data("{}")).await?;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(End::Sent),
                },
                _ = recheck.tick() => self.recheck().await?,
                _ = people.changed() => self.recheck().await?,
                () = events.closed() => return Err(End::Left),
            }
        }
    }

    async fn pass(&self, change: &Change, events: &Events) -> Result<(), End> {
        if change.department != self.department || !self.kinds.contains(&change.resource) {
            return Ok(());
        }
        let event = Event::default().event(change.event);
        send(events, event.data(change.data.to_string())).await
    }

    async fn recheck(&mut self) -> Result<(), End> {
        let now = jiff::Timestamp::now().as_second();
        let expired = i64::try_from(self.caller.expires).is_ok_and(|expires| expires < now);
        let people = self.followed.app.roll.now();
        if expired || people.is_removed(&self.caller.person.user) {
            return Err(End::Sent);
        }
        match self.ask().await {
            Ok(()) if self.kinds.is_empty() => Err(End::Sent),
            // While the API server does not answer, nothing comes from it either.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn ask(&mut self) -> Result<(), Problem> {
        let asked = self.followed.kinds.iter().map(|resource| {
            let question = Question {
                verb: Verb::List,
                resource: *resource,
                department: Some(self.department.clone()),
                name: None,
            };
            (*resource, question)
        });
        let reviews = &self.followed.app.reviews;
        self.kinds = reviews
            .ask_each(&self.caller.person, asked.collect())
            .await?;
        Ok(())
    }
}

async fn send(events: &Events, event: Event) -> Result<(), End> {
    events.send(Ok(event)).await.map_err(|_| End::Left)
}
