//! `/metrics`, `/healthz`, `/readyz`, for Prometheus and whoever supervises the process.
//!
//! Healthy is a process that answers. Ready is one that follows a ledger it believes; what stands
//! in the way is said in the answer.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::ledger::Health;
use crate::operator::Parts;

/// Filled once the operator has come so far.
pub type Started = Arc<OnceLock<Parts>>;

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, started: Started) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let app = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(started);
    axum::serve(listener, app).await
}

async fn readyz(State(started): State<Started>) -> (StatusCode, String) {
    let Some(parts) = started.get() else {
        let text = "waiting for the Kubernetes API\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    };
    let role = match parts.leader.term() {
        Some(term) => format!("leading under term {term}"),
        None => "following".to_owned(),
    };
    let trouble = match parts.ledger.health() {
        Health::Good => return (StatusCode::OK, format!("{role}\n")),
        Health::Starting => "the ledger is not read yet".to_owned(),
        Health::Unreachable { why } => format!("the ledger is out of reach: {why}"),
        Health::Distrusted(why) => {
            format!("the ledger is not trusted: {why}; run `dc-operator ledger rebuild`")
        }
        Health::Rebuilt => "the ledger was rebuilt; starting anew".to_owned(),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n"))
}

async fn metrics(State(started): State<Started>) -> impl IntoResponse {
    let text = started.get().map(|parts| {
        parts
            .metrics
            .render(&parts.ledger, &parts.leader, &parts.observed)
    });
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, kind)],
        text.unwrap_or_else(|| "# EOF\n".to_owned()),
    )
}
