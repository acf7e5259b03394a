//! The HTTP listener: metrics, health and the administration interface (SEC-034).

mod admin;
mod limited;
mod token;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use parlance_controlling::Register;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) use admin::OPERATOR;
pub use token::{TokenError, admin_token, read_admin_token};

use crate::admin::Admin;
use crate::config::Secret;

/// Looks decisions up by the Call-ID they were made for.
pub type Decisions = Arc<dyn Fn(&str) -> Value + Send + Sync>;

/// What the handlers share.
pub(crate) struct Service {
    /// Does the commands.
    pub(crate) admin: Admin,
    /// Opens `/admin`.
    pub(crate) token: Secret,
    /// The conferences that run.
    pub(crate) sessions: Arc<Register>,
    /// The record of decisions.
    pub(crate) decisions: Decisions,
    /// Whether new work is welcome.
    pub(crate) ready: Arc<AtomicBool>,
    /// What is measured.
    pub(crate) metrics: PrometheusHandle,
}

/// Serves until the task is dropped or aborted.
pub(crate) fn serve(listener: TcpListener, service: Service) -> JoinHandle<()> {
    let router = router(Arc::new(service));
    tokio::spawn(async move {
        let served = axum::serve(limited::Limited::new(listener), router).await;
        if let Err(error) = served {
            tracing::error!(%error, "the HTTP listener ended");
        }
    })
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .nest("/admin", admin::router(&service))
        .with_state(service)
}

async fn ready(State(service): State<Arc<Service>>) -> impl IntoResponse {
    if service.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or draining\n")
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], service.metrics.render())
}
