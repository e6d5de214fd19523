//! What is made, changed and deleted.
//!
//! Of each effect: the audit log has the line before the API server is asked, so a crash between
//! the two leaves a line and no change, and never a change without a line. What is created carries
//! the digest of its idempotency key, so that the same request, sent again after we died with the
//! answer, finds its own object and gets it as the answer. A change of power or size sent twice asks
//! for the same state; a restart is one for each text.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::IntoResponse;
use kube::api::{
    DeleteParams, Patch as KubePatch, PatchParams, PostParams, Preconditions, Request,
};
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::once::{self, Mark, once};
use super::read::Nothing;
use super::write::{FIELD_MANAGER, send};
use super::{Answered, Place, Served, may, shown};
use crate::app::App;
use crate::audit::{Event, Stage};
use crate::door::{self, Caller, body};
use crate::etag::{Condition, ETag};
use crate::problem::{Part, Problem};
use crate::resources::{Change, Create, Kind, Patch, view};
use crate::rights::reviews::Answer;
use crate::rights::{Resource, Verb};

/// Of what the API has made: which request made it.
pub const MARK: &str = "dc.sonla.gov.vn/idempotency";

pub async fn create<K: Create>(
    State(served): State<Served<K>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let Path(department) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::list(department)?;
    let Nothing {} = body::query(&uri)?;
    let app = &served.app;
    let bytes = body::read(&headers, body, app.settings.body_deadline).await?;
    let deed = Deed::new::<K>(app, &caller, Verb::Create, &place);
    deed.allow(Verb::Create).await?;
    let new: K::New = body::json(&headers, &bytes)?;
    let request = once::Request {
        method: Method::POST,
        uri: &uri,
        headers: &headers,
        body: &bytes,
    };
    once(app, &caller, request, async |mark| {
        let name = K::name(&new).to_owned();
        let deed = deed.on(&name, K::audited(&new));
        let mut object = K::object(&place.department, new);
        if let Some(mark) = &mark {
            let annotations = object.annotations_mut();
            annotations.insert(MARK.to_owned(), mark.text());
        }
        let made = deed.carry_out(make::<K>(&deed, &name, &object, mark.as_ref()));
        let made = made.await?;
        served.cache.wait_for(&made).await;
        let location = format!("{}/{name}", uri.path());
        let answer = shown::<K>(StatusCode::CREATED, &made);
        Ok(([(header::LOCATION, location)], answer).into_response())
    })
    .await
}

async fn make<K: Create>(
    deed: &Deed<'_>,
    name: &str,
    object: &K::Object,
    mark: Option<&Mark>,
) -> Result<K::Object, Problem> {
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let data = serde_json::to_vec(object).map_err(|_| Problem::Internal)?;
    let requests = deed.requests();
    let request = requests
        .create(&params, data)
        .map_err(|_| Problem::Internal)?;
    let person = &deed.caller.person;
    let made = send(&deed.app.client, person, Verb::Create, request).await;
    let (Err(Problem::Exists), Some(mark)) = (&made, mark) else {
        return made;
    };
    // Perhaps it was made by this very request, whose answer was lost.
    let request = requests.get(name, &kube::api::GetParams::default());
    let request = request.map_err(|_| Problem::Internal)?;
    let there: K::Object = send(&deed.app.client, person, Verb::Get, request).await?;
    let said = there.annotations().get(MARK).map(String::as_str);
    let said = said.and_then(|said| said.split_once('.'));
    match said {
        Some((key, request)) if key == mark.key && request == mark.request => Ok(there),
        Some((key, _)) if key == mark.key => Err(Problem::KeyReused),
        _ => Err(Problem::Exists),
    }
}

pub async fn change<K: Change>(
    State(served): State<Served<K>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let app = &served.app;
    let bytes = body::read(&headers, body, app.settings.body_deadline).await?;
    let deed = Deed::new::<K>(app, &caller, Verb::Patch, &place);
    deed.allow(Verb::Patch).await?;
    let name = place.name.clone().unwrap_or_default();
    let condition = Condition::if_match(door::text(&headers, &header::IF_MATCH))?;
    let change: K::Change = body::json(&headers, &bytes)?;
    let Patch { spec, needs } = K::patch(change);
    if spec.as_object().is_none_or(serde_json::Map::is_empty) {
        let fault = crate::problem::Fault::new("body", "it changes nothing");
        return Err(Problem::Invalid(vec![fault]));
    }
    let deed = deed.on(&name, spec.clone());
    if let Some(more) = needs {
        deed.allow(more).await?;
    }
    let request = once::Request {
        method: Method::PATCH,
        uri: &uri,
        headers: &headers,
        body: &bytes,
    };
    once(app, &caller, request, async |_| {
        let now = served.cache.get(&place.department, &name);
        let expected = expected(condition, now.as_deref().map(|now| view::etag(now.meta())))?;
        let mut patch = json!({ "spec": spec });
        if let Some(ETag { uid, version }) = expected {
            patch["metadata"] = json!({ "uid": uid, "resourceVersion": version });
        }
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = deed.requests();
        let request = request.patch(&name, &params, &KubePatch::Merge(patch));
        let request = request.map_err(|_| Problem::Internal)?;
        let person = &caller.person;
        let changed = deed.carry_out(send(&app.client, person, Verb::Patch, request));
        let changed: K::Object = changed.await?;
        served.cache.wait_for(&changed).await;
        Ok(shown::<K>(StatusCode::OK, &changed))
    })
    .await
}

pub async fn delete<K: Kind>(
    State(served): State<Served<K>>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Answered {
    let Path(path) = path.map_err(|_| Problem::NotFound)?;
    let place = Place::object(path)?;
    let Nothing {} = body::query(&uri)?;
    let app = &served.app;
    let name = place.name.clone().unwrap_or_default();
    let deed = Deed::new::<K>(app, &caller, Verb::Delete, &place).on(&name, Value::Null);
    deed.allow(Verb::Delete).await?;
    let condition = Condition::if_match(door::text(&headers, &header::IF_MATCH))?;
    let request = once::Request {
        method: Method::DELETE,
        uri: &uri,
        headers: &headers,
        body: &[],
    };
    once(app, &caller, request, async |_| {
        let now = served.cache.get(&place.department, &name);
        let expected = expected(condition, now.as_deref().map(|now| view::etag(now.meta())))?;
        let preconditions = expected.map(|ETag { uid, version }| Preconditions {
            uid: Some(uid),
            resource_version: Some(version),
        });
        let params = DeleteParams {
            preconditions,
            ..DeleteParams::default()
        };
        let request = deed.requests().delete(&name, &params);
        let request = request.map_err(|_| Problem::Internal)?;
        let person = &caller.person;
        let deleted = deed.carry_out(send::<Value>(&app.client, person, Verb::Delete, request));
        deleted.await?;
        Ok(StatusCode::ACCEPTED.into_response())
    })
    .await
}

/// The state that has to be there still, as the caller's condition says. Of several, the one that
/// our cache shows; a single one is left to the API server, which knows more than our cache.
fn expected(condition: Option<Condition>, now: Option<ETag>) -> Result<Option<ETag>, Problem> {
    match condition {
        None | Some(Condition::Any) => Ok(None),
        Some(Condition::OneOf(mut tags)) => {
            if tags.len() == 1 {
                return Ok(tags.pop());
            }
            let found = now.filter(|now| tags.contains(now));
            found.map(Some).ok_or(Problem::Changed)
        }
    }
}

/// One act of one caller, as it is allowed and written down.
struct Deed<'a> {
    app: &'a App,
    caller: &'a Caller,
    verb: Verb,
    resource: Resource,
    place: &'a Place,
    path: String,
    name: String,
    change: Value,
}

impl<'a> Deed<'a> {
    fn new<K: Kind>(app: &'a App, caller: &'a Caller, verb: Verb, place: &'a Place) -> Self {
        Self {
            app,
            caller,
            verb,
            resource: K::RESOURCE,
            place,
            path: K::Object::url_path(&(), Some(&place.department)),
            name: place.name.clone().unwrap_or_default(),
            change: Value::Null,
        }
    }

    fn on(mut self, name: &str, change: Value) -> Self {
        name.clone_into(&mut self.name);
        self.change = change;
        self
    }

    fn requests(&self) -> Request {
        Request::new(self.path.clone())
    }

    async fn may(&self, verb: Verb) -> Result<Answer, Problem> {
        may(self.app, self.caller, verb, self.resource, self.place).await
    }

    /// Lets pass who has the right. Who has not is told so if they may see it; otherwise it is not
    /// there. Both are written down.
    async fn allow(&self, verb: Verb) -> Result<(), Problem> {
        if self.may(verb).await? == Answer::Yes {
            let department = &self.place.department;
            let there = self.app.departments.get("", department).is_some();
            return there.then_some(()).ok_or(Problem::NotFound);
        }
        let sees = match self.place.name {
            Some(_) => Verb::Get,
            None => Verb::List,
        };
        let problem = match self.may(sees).await? {
            Answer::Yes => Problem::Forbidden(verb),
            Answer::No => Problem::NotFound,
        };
        self.note(Stage::Denied, Some(&problem)).await?;
        Err(problem)
    }

    /// Writes down that it is asked for, does it, and writes down what became of it.
    async fn carry_out<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        self.note(Stage::Asked, None).await?;
        let done = work.await;
        let noted = match &done {
            Ok(_) => self.note(Stage::Done, None).await,
            Err(problem @ (Problem::Forbidden(_) | Problem::NotFound)) => {
                self.note(Stage::Denied, Some(problem)).await
            }
            Err(problem) => self.note(Stage::Failed, Some(problem)).await,
        };
        if noted.is_err() {
            // It was done, and the line before says that it was asked for.
            tracing::error!(
                request = self.caller.request,
                "an outcome is not in the audit log"
            );
        }
        done
    }

    async fn note(&self, stage: Stage, problem: Option<&Problem>) -> Result<(), Problem> {
        let Caller {
            person,
            expires: _,
            from,
            request,
        } = self.caller;
        let event = Event {
            stage,
            request: request.clone(),
            user: person.user.clone(),
            groups: person.groups.to_vec(),
            from: from.to_string(),
            department: self.place.department.clone(),
            verb: self.verb.name().to_owned(),
            resource: self.resource.plural.to_owned(),
            name: self.name.clone(),
            change: match stage {
                Stage::Done | Stage::Failed | Stage::Recovered => Value::Null,
                Stage::Asked | Stage::Denied => self.change.clone(),
            },
            status: problem.map(|problem| problem.status().as_u16()),
            problem: problem.map(|problem| problem.code().to_owned()),
        };
        let safe = self.app.audit.write(event).await;
        safe.then_some(()).ok_or(Problem::Unavailable(Part::Audit))
    }
}
