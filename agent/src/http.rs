//! `/metrics`, `/healthz`, `/readyz`; for simulated hosts also `/knobs`.
//!
//! Healthy is a process that answers. Ready is one that has looked at its host once, with all its
//! reconcilers; an operator is not needed for that.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::agent::Health;
use crate::metrics::Metrics;

struct Served {
    metrics: Metrics,
    agents: Vec<Health>,
}

/// The pages of these agents.
pub fn pages(metrics: Metrics, agents: Vec<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(Arc::new(Served { metrics, agents }))
}

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, pages: Router) -> std::io::Result<()> {
    axum::serve(TcpListener::bind(address).await?, pages).await
}

async fn readyz(State(served): State<Arc<Served>>) -> (StatusCode, String) {
    let connected = served.agents.iter().filter(|a| a.is_connected()).count();
    let all = served.agents.len();
    let waiting: Vec<&str> = served.agents.iter().flat_map(Health::waits_for).collect();
    if waiting.is_empty() {
        let text = format!("ready; {connected} of {all} hosts have a session\n");
        return (StatusCode::OK, text);
    }
    let mut what: Vec<&str> = waiting.clone();
    what.sort_unstable();
    what.dedup();
    let text = format!(
        "{} first looks are still to come: {}\n",
        waiting.len(),
        what.join(", ")
    );
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn render(State(served): State<Arc<Served>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], served.metrics.render())
}
