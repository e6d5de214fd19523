//! `/metrics`, `/healthz`, `/readyz`, on an address of their own that departments do not reach.
//!
//! Healthy is a process that answers. Ready is one that has read all kinds, the list of people and
//! the provider's keys; what stands in the way is said in the answer.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::app::App;
use crate::identity::people;

#[derive(Clone)]
struct Watched {
    app: App,
    read: Vec<watch::Receiver<bool>>,
}

/// Serves until the process ends.
pub async fn serve(
    address: SocketAddr,
    app: App,
    read: Vec<watch::Receiver<bool>>,
) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Watched { app, read });
    axum::serve(listener, router).await
}

async fn readyz(State(watched): State<Watched>) -> (StatusCode, String) {
    let unread = watched.read.iter().filter(|read| !*read.borrow()).count();
    let trouble = match watched.app.roll.state() {
        _ if unread > 0 => format!("{unread} kinds are not read yet\n"),
        people::State::Unread => "the list of people is not read yet\n".to_owned(),
        _ if !watched.app.provider.is_ready() => {
            "the keys of the identity provider are not read yet; see the log\n".to_owned()
        }
        // The one before holds: it would not help to send requests elsewhere.
        people::State::Damaged(why) => {
            let map = people::CONFIG_MAP;
            return (
                StatusCode::OK,
                format!("ready, but the ConfigMap {map} is not read: {why}\n"),
            );
        }
        people::State::Read => return (StatusCode::OK, "ready\n".to_owned()),
    };
    (StatusCode::SERVICE_UNAVAILABLE, trouble)
}

async fn metrics(State(watched): State<Watched>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], watched.app.metrics.render())
}
