//! Pages for people: the same objects, rights and acts as the API, in a browser.
//!
//! A request passes the pages' own [`door`] (session instead of a bearer token), goes to a page of
//! [`pages`], which reads by [`crate::serve::read`] and acts by [`crate::serve::deed`], as the API
//! does. There is no other truth here: no page decides who may do what, or asks for an object by
//! another way.
//!
//! Pages are made whole on the server by `maud`, which escapes every text; the one script only
//! refreshes and saves clicks, and everything works without it. Its policy (CSP) allows nothing
//! inline, and nothing of others.

pub mod door;
pub mod form;
pub mod frame;
pub mod pages;
pub mod session;
pub mod sign_in;
pub mod wizard;
pub mod words;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::identity::code::Client;
use crate::problem::Problem;
use session::Sessions;

/// What pages are made of, beside what the API has. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    pub app: App,
    inner: Arc<Inner>,
}

pub struct Inner {
    /// Such as `https://api.example.vn`, without a slash at its end.
    pub origin: String,
    pub client: Client,
    pub sessions: Sessions,
}

impl Deref for Web {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// Where the provider sends browsers back to, below our origin.
pub const CALLBACK: &str = "/auth/callback";
/// Of style and script: they are public, and the same for all.
pub const STATIC: &str = "/static/";

impl Web {
    #[must_use]
    pub fn new(app: App, origin: String, client: Client) -> Self {
        let inner = Inner {
            origin,
            client,
            sessions: Sessions::default(),
        };
        Self {
            app,
            inner: Arc::new(inner),
        }
    }
}

/// All pages behind their door.
pub fn routes(web: &Web) -> Router {
    use pages::{approvals, backup, backups, department, home, machine, proof, request, requests};
    use pages::{machine_restore, restore, snapshot, usage, volume};
    let under = |rest: &str| format!("/departments/{{department}}{rest}");
    Router::new()
        .route("/", get(home::page))
        .route("/auth/login", get(sign_in::begin))
        .route(CALLBACK, get(sign_in::end))
        .route("/auth/logout", post(sign_in::leave))
        .route("/language", get(frame::switch))
        .route(&under(""), get(department::page))
        .route(&under("/machines"), get(machine::list))
        .route(&under("/machines/{name}"), get(machine::page))
        .route(&under("/machines/{name}/power"), post(machine::power))
        .route(&under("/volumes"), get(volume::list))
        .route(
            &under("/machines/{name}/snapshots"),
            post(snapshot::of_machine),
        )
        .route(&under("/volumes/{name}"), get(volume::page))
        .route(&under("/volumes/{name}/size"), post(volume::acts::grow))
        .route(&under("/volumes/{name}/pool"), post(volume::moving::go))
        .route(&under("/volumes/{name}/delete"), post(volume::acts::remove))
        .route(
            &under("/volumes/{name}/snapshots"),
            post(snapshot::of_volume),
        )
        .route(&under("/snapshots/{name}"), get(snapshot::page))
        .route(&under("/snapshots/{name}/delete"), post(snapshot::remove))
        .route(&under("/backups"), get(backups::list).post(backups::create))
        .route(&under("/backups/{name}"), get(backup::page))
        .route(&under("/backups/{name}/restores"), post(backup::restore))
        .route(&under("/backups/{name}/over"), post(backup::over))
        .route(
            &under("/backups/{name}/machine"),
            post(backup::order_machine),
        )
        .route(&under("/restores/{name}"), get(restore::page))
        .route(&under("/restores/{name}/stop"), post(restore::remove))
        .route(
            &under("/machine-restores/{name}"),
            get(machine_restore::page),
        )
        .route(
            &under("/machine-restores/{name}/stop"),
            post(machine_restore::remove),
        )
        .route(&under("/proofs/{name}"), get(proof::page))
        .route(
            &under("/requests"),
            get(requests::list).post(requests::create),
        )
        .route(&under("/requests/new"), get(requests::blank))
        .route(&under("/requests/{name}"), get(request::page))
        .route(&under("/requests/{name}/wanted"), post(request::wanted))
        .route(&under("/requests/{name}/answer"), post(request::answer))
        .route(&under("/approvals"), get(approvals::page))
        .route(&under("/usage"), get(usage::page))
        .route(&under("/usage/table.csv"), get(usage::table))
        .route(&under("/{part}"), get(async || Problem::NotFound))
        .route(&under("/{part}/{name}"), get(async || Problem::NotFound))
        .route("/static/site.css", get(style))
        .route("/static/site.js", get(script))
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .with_state(web.clone())
        .layer(axum::middleware::from_fn_with_state(
            web.clone(),
            door::pass,
        ))
}

async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("web/static/site.css"),
    )
}

async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("web/static/site.js"),
    )
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
