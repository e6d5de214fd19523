//! Answering: the same handlers for every kind of the table.
//!
//! - [`read`]: lists and single objects, from the caches.
//! - [`change`]: what is made, changed, deleted: audited, recognised when sent twice, written as
//!   the caller.
//! - [`deed`]: one such act: what both the API and the pages do it by.
//! - [`follow`]: changes as they come, as server-sent events.
//!
//! The order is the same everywhere: what the caller may see is decided before anything is looked
//! up, so that what is not there and what may not be seen take the same way to the same answer.

pub mod change;
pub mod deed;
pub mod follow;
pub mod once;
pub mod read;
pub mod write;

use axum::Router;
use axum::response::Response;
use axum::routing::{delete, get, patch, post};
use tokio::sync::watch;

use crate::app::App;
use crate::door::{self, Caller};
use crate::problem::Problem;
use crate::resources::{
    self, Kind, Table, catalogue, departments, events, policies, protection, showback, view,
};
use crate::rights::reviews::Answer;
use crate::rights::{Question, Resource, Verb, is_name};

pub type Answered = Result<Response, Problem>;

/// Below which everything is.
pub const ROOT: &str = "/api/v1";

/// All routes behind the door, and what must be read before they answer truly.
pub fn routes(app: &App, document: String) -> (Router, Vec<watch::Receiver<bool>>) {
    let mut routes = Routes {
        app: app.clone(),
        router: Router::new(),
        kinds: Vec::new(),
    };
    resources::all(&mut routes);
    let Routes { router, kinds, .. } = routes;
    let router = router
        .merge(departments::routes(app))
        .merge(events::routes(app))
        .merge(showback::routes(app))
        .merge(policies::routes(app))
        .merge(protection::routes(app))
        .merge(catalogue::routes(app))
        .merge(follow::routes(app, kinds))
        .route(
            &format!("{ROOT}/openapi.json"),
            get(async move || ([("content-type", "application/json")], document)),
        )
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(axum::middleware::from_fn_with_state(
            app.clone(),
            door::pass,
        ));
    (router, app.read())
}

struct Routes {
    app: App,
    router: Router,
    kinds: Vec<Resource>,
}

impl Routes {
    fn add(&mut self, path: &str, methods: axum::routing::MethodRouter) {
        let router = std::mem::take(&mut self.router);
        self.router = router.route(path, methods);
    }
}

/// The address of a list.
#[must_use]
pub fn list_path(plural: &str) -> String {
    format!("{ROOT}/departments/{{department}}/{plural}")
}

/// The address of an object.
#[must_use]
pub fn object_path(plural: &str) -> String {
    format!("{}/{{name}}", list_path(plural))
}

impl Table for Routes {
    fn read<K: Kind>(&mut self) {
        // Followed from now on, and waited for before anything is answered.
        let _ = self.app.kinds.of::<K>();
        let plural = K::RESOURCE.plural;
        self.kinds.push(K::RESOURCE);
        let list = get(read::list::<K>).with_state(self.app.clone());
        self.add(&list_path(plural), list);
        let one = get(read::one::<K>).with_state(self.app.clone());
        self.add(&object_path(plural), one);
    }

    fn create<K: resources::Create>(&mut self) {
        let create = post(change::create::<K>).with_state(self.app.clone());
        self.add(&list_path(K::RESOURCE.plural), create);
    }

    fn change<K: resources::Change>(&mut self) {
        let change = patch(change::change::<K>).with_state(self.app.clone());
        self.add(&object_path(K::RESOURCE.plural), change);
    }

    fn delete<K: Kind>(&mut self) {
        let delete = delete(change::delete::<K>).with_state(self.app.clone());
        self.add(&object_path(K::RESOURCE.plural), delete);
    }
}

/// Where an object is, from a request's path.
#[derive(Clone, Debug)]
pub struct Place {
    pub department: String,
    /// Absent in the path of a list.
    pub name: Option<String>,
}

impl Place {
    /// Names that cannot be are those of nothing.
    pub fn list(department: String) -> Result<Self, Problem> {
        let place = Self {
            department,
            name: None,
        };
        is_name(&place.department)
            .then_some(place)
            .ok_or(Problem::NotFound)
    }

    pub fn object((department, name): (String, String)) -> Result<Self, Problem> {
        let place = Self {
            department,
            name: Some(name),
        };
        let names = [Some(&place.department), place.name.as_ref()];
        let possible = names.into_iter().flatten().all(|name| is_name(name));
        possible.then_some(place).ok_or(Problem::NotFound)
    }
}

/// Whether the caller may do this. A right to one object by its name counts as well.
pub async fn may(
    app: &App,
    caller: &Caller,
    verb: Verb,
    resource: Resource,
    place: &Place,
) -> Result<Answer, Problem> {
    let question = |name: Option<String>| Question {
        verb,
        resource,
        department: Some(place.department.clone()),
        name,
    };
    let answer = app.reviews.ask(&caller.person, question(None)).await?;
    match (answer, &place.name) {
        (Answer::No, Some(name)) => {
            let named = question(Some(name.clone()));
            app.reviews.ask(&caller.person, named).await
        }
        (answer, _) => Ok(answer),
    }
}

/// The etag and view of an object, as an answer's header and body.
pub fn shown<K: Kind>(status: axum::http::StatusCode, object: &K::Object) -> Response {
    use axum::response::IntoResponse;
    let etag = view::etag(kube::Resource::meta(object)).to_string();
    let body = axum::Json(K::view(object));
    (status, [(axum::http::header::ETAG, etag)], body).into_response()
}
