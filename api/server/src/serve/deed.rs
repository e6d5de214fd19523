//! One act of one caller: allowed, written down, carried out as the caller, written down again.
//!
//! The API's handlers and the pages for people both act through here and nowhere else, so that the
//! two cannot differ in what they allow or in what they leave in the audit log.

use kube::api::{
    DeleteParams, Patch as KubePatch, PatchParams, PostParams, Preconditions, Request,
};
use kube::{Resource as _, ResourceExt};
use serde_json::{Value, json};

use super::once::Mark;
use super::write::{FIELD_MANAGER, send};
use super::{Place, may};
use crate::app::App;
use crate::audit::{Event, Stage};
use crate::door::Caller;
use crate::etag::{Condition, ETag};
use crate::problem::{Fault, Part, Problem};
use crate::resources::{Also, Change, Create, Kind, Patch, view};
use crate::rights::reviews::Answer;
use crate::rights::{Question, Resource, Verb};

/// Of what the API has made: which request made it.
pub const MARK: &str = "dc.sonla.gov.vn/idempotency";

pub struct Deed<'a> {
    app: &'a App,
    caller: &'a Caller,
    verb: Verb,
    /// What a refusal says that was not allowed, where `verb` would say too little.
    refused_as: Verb,
    resource: Resource,
    place: &'a Place,
    path: String,
    name: String,
    /// What the spec is to become, as a merge patch.
    wanted: Value,
    /// What the audit log keeps of it.
    change: Value,
}

impl<'a> Deed<'a> {
    /// To make one; lets pass who may.
    pub async fn creation<K: Create>(
        app: &'a App,
        caller: &'a Caller,
        place: &'a Place,
    ) -> Result<Self, Problem> {
        let mut deed = Self::new::<K>(app, caller, Verb::Create, place);
        deed.refused_as = K::REFUSED_AS;
        deed.allow(Verb::Create).await?;
        Ok(deed)
    }

    /// To change the one that the place names; lets pass who may.
    pub async fn change<K: Change>(
        app: &'a App,
        caller: &'a Caller,
        place: &'a Place,
    ) -> Result<Self, Problem> {
        let deed = Self::new::<K>(app, caller, Verb::Patch, place);
        deed.allow(Verb::Patch).await?;
        Ok(deed)
    }

    /// To delete the one that the place names; lets pass who may.
    pub async fn deletion<K: Kind>(
        app: &'a App,
        caller: &'a Caller,
        place: &'a Place,
    ) -> Result<Self, Problem> {
        let deed = Self::new::<K>(app, caller, Verb::Delete, place);
        deed.allow(Verb::Delete).await?;
        Ok(deed)
    }

    fn new<K: Kind>(app: &'a App, caller: &'a Caller, verb: Verb, place: &'a Place) -> Self {
        Self {
            app,
            caller,
            verb,
            refused_as: verb,
            resource: K::RESOURCE,
            place,
            path: K::Object::url_path(&(), Some(&place.department)),
            name: place.name.clone().unwrap_or_default(),
            wanted: Value::Null,
            change: Value::Null,
        }
    }

    /// What is to be made, known by name; what it needs beside the right to make it is asked for.
    pub async fn of_new<K: Create>(mut self, new: &K::New) -> Result<Self, Problem> {
        self.name = K::name(new, &self.caller.person);
        self.change = K::audited(new);
        if let Some(also) = K::also(new) {
            self.allow_also(also).await?;
        }
        if let Err(problem) = K::judge(new, self.app, self.caller, &self.place.department) {
            self.note(Stage::Denied, Some(&problem)).await?;
            return Err(problem);
        }
        Ok(self)
    }

    /// What is to become of the spec; what it needs beside the right to change is asked for.
    pub async fn of_change<K: Change>(mut self, change: K::Change) -> Result<Self, Problem> {
        let Patch { spec, needs } = K::patch(change);
        if spec.as_object().is_none_or(serde_json::Map::is_empty) {
            let fault = Fault::new("body", "it changes nothing");
            return Err(Problem::Invalid(vec![fault]));
        }
        self.change = K::audited_change(&spec);
        self.wanted = spec;
        if let Some(more) = needs {
            self.refused_as = more;
            self.allow(more).await?;
        }
        Ok(self)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub async fn create<K: Create>(
        &self,
        new: K::New,
        mark: Option<&Mark>,
    ) -> Result<K::Object, Problem> {
        let department = &self.place.department;
        let new = K::completed(new, self.app, department);
        let mut object = K::object(department, &self.name, new);
        if let Some(mark) = mark {
            let annotations = object.annotations_mut();
            annotations.insert(MARK.to_owned(), mark.text());
        }
        let made = self.carry_out(self.make::<K>(&object, mark)).await?;
        self.app.kinds.of::<K>().wait_for(&made).await;
        Ok(made)
    }

    async fn make<K: Create>(
        &self,
        object: &K::Object,
        mark: Option<&Mark>,
    ) -> Result<K::Object, Problem> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let data = serde_json::to_vec(object).map_err(|_| Problem::Internal)?;
        let requests = Request::new(self.path.clone());
        let request = requests
            .create(&params, data)
            .map_err(|_| Problem::Internal)?;
        let (client, person) = (&self.app.client, &self.caller.person);
        let made = send(client, person, self.refused_as, request).await;
        let (Err(Problem::Exists), Some(mark)) = (&made, mark) else {
            return made;
        };
        // Perhaps it was made by this very request, whose answer was lost.
        let request = requests.get(&self.name, &kube::api::GetParams::default());
        let request = request.map_err(|_| Problem::Internal)?;
        let there: K::Object = send(client, person, Verb::Get, request).await?;
        let said = there.annotations().get(MARK).map(String::as_str);
        let said = said.and_then(|said| said.split_once('.'));
        match said {
            Some((key, request)) if key == mark.key && request == mark.request => Ok(there),
            Some((key, _)) if key == mark.key => Err(Problem::KeyReused),
            _ => Err(Problem::Exists),
        }
    }

    pub async fn patch<K: Change>(
        &self,
        condition: Option<Condition>,
    ) -> Result<K::Object, Problem> {
        let cache = self.app.kinds.of::<K>();
        let now = cache.get(&self.place.department, &self.name);
        let expected = expected(condition, now.as_deref().map(|now| view::etag(now.meta())))?;
        let mut patch = json!({ "spec": self.wanted });
        if let Some(ETag { uid, version }) = expected {
            patch["metadata"] = json!({ "uid": uid, "resourceVersion": version });
        }
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let request = Request::new(self.path.clone());
        let request = request.patch(&self.name, &params, &KubePatch::Merge(patch));
        let request = request.map_err(|_| Problem::Internal)?;
        let (client, person) = (&self.app.client, &self.caller.person);
        let changed = self.carry_out(send(client, person, Verb::Patch, request));
        let changed: K::Object = changed.await?;
        cache.wait_for(&changed).await;
        Ok(changed)
    }

    pub async fn delete<K: Kind>(&self, condition: Option<Condition>) -> Result<(), Problem> {
        let cache = self.app.kinds.of::<K>();
        let now = cache.get(&self.place.department, &self.name);
        let expected = expected(condition, now.as_deref().map(|now| view::etag(now.meta())))?;
        let preconditions = expected.map(|ETag { uid, version }| Preconditions {
            uid: Some(uid),
            resource_version: Some(version),
        });
        let params = DeleteParams {
            preconditions,
            ..DeleteParams::default()
        };
        let request = Request::new(self.path.clone()).delete(&self.name, &params);
        let request = request.map_err(|_| Problem::Internal)?;
        let (client, person) = (&self.app.client, &self.caller.person);
        let deleted = self.carry_out(send::<Value>(client, person, Verb::Delete, request));
        deleted.await.map(drop)
    }

    /// Lets pass who has the right. Who has not is told so if they may see it; otherwise it is not
    /// there. Both are written down.
    async fn allow(&self, verb: Verb) -> Result<(), Problem> {
        let may = |verb| may(self.app, self.caller, verb, self.resource, self.place);
        if may(verb).await? == Answer::Yes {
            let department = &self.place.department;
            let there = self.app.departments.get("", department).is_some();
            return there.then_some(()).ok_or(Problem::NotFound);
        }
        let sees = match self.place.name {
            Some(_) => Verb::Get,
            None => Verb::List,
        };
        let problem = match may(sees).await? {
            Answer::Yes => Problem::Forbidden(self.refused_as),
            Answer::No => Problem::NotFound,
        };
        self.note(Stage::Denied, Some(&problem)).await?;
        Err(problem)
    }

    async fn allow_also(&self, also: Also) -> Result<(), Problem> {
        let Also {
            verb,
            resource,
            name,
        } = also;
        let question = Question {
            verb,
            resource,
            department: Some(self.place.department.clone()),
            name: Some(name),
        };
        if self.app.reviews.ask(&self.caller.person, question).await? == Answer::Yes {
            return Ok(());
        }
        let problem = Problem::Forbidden(verb);
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
            Err(problem @ (Problem::Forbidden(_) | Problem::NotFound | Problem::OwnRequest)) => {
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
