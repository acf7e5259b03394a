//! `/admin`: [`Command`]s as requests, the conferences that run, and the record of decisions. All
//! of it needs the token.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics::counter;
use parlance_controlling::Untold;
use serde::Deserialize;
use serde_json::json;

use super::{Service, token};
use crate::admin::{Account, AdminError, Command, LIST_MAX};

/// Octets of a request body; local limit, some thousand changes.
const BODY_OCTETS_MAX: usize = 256 * 1024;

/// The name an operator goes by, for the audit trail.
pub(crate) const OPERATOR: &str = "x-operator";

type Shared = State<Arc<Service>>;
type Params<T> = Result<Query<T>, QueryRejection>;

pub(super) fn router(service: &Arc<Service>) -> Router<Arc<Service>> {
    Router::new()
        .route("/users", get(list))
        .route("/users/{user}", get(show).put(add).patch(set).delete(remove))
        .route("/users/{user}/inbox", get(inbox))
        .route("/users/{user}/inbox/{seq}", get(content).delete(discard))
        .route("/audit", get(audit))
        .route("/sessions", get(sessions))
        .route("/sessions/{session}", get(session))
        .route("/decisions", get(decisions))
        .fallback(|| async { failure(StatusCode::NOT_FOUND, "there is no such resource") })
        .layer(DefaultBodyLimit::max(BODY_OCTETS_MAX))
        .layer(from_fn_with_state(Arc::clone(service), authorize))
}

/// Lets through what carries the token (RFC 6750 §2.1).
async fn authorize(State(service): Shared, request: Request, next: Next) -> Response {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = header.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if given.is_some_and(|given| token::is_token(&service.token, given)) {
        return next.run(request).await;
    }
    counter!("parlance_admin_refused_total").increment(1);
    // The path may name a user.
    let path = parlance_isc::Private(request.uri().path());
    tracing::warn!(%path, "administration refused: no token, or a wrong one");
    let challenge = [(WWW_AUTHENTICATE, "Bearer realm=\"parlance\"")];
    (challenge, failure(StatusCode::UNAUTHORIZED, "the admin token is needed")).into_response()
}

fn failure(status: StatusCode, what: impl ToString) -> Response {
    (status, Json(json!({ "error": what.to_string() }))).into_response()
}

fn account(headers: &HeaderMap) -> Account {
    let name = headers.get(OPERATOR).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Account { proof: "token", name: name.to_owned() }
}

async fn run(service: &Service, headers: &HeaderMap, command: Command) -> Response {
    match service.admin.run(&account(headers), command).await {
        Ok(shown) => Json(shown).into_response(),
        Err(error) => failure(status(&error), error),
    }
}

fn status(error: &AdminError) -> StatusCode {
    match error {
        AdminError::NotFound(_) => StatusCode::NOT_FOUND,
        AdminError::Exists(_) | AdminError::InFlight => StatusCode::CONFLICT,
        AdminError::Invalid(_) => StatusCode::BAD_REQUEST,
        AdminError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    after: Option<String>,
    #[serde(default)]
    skip: usize,
    #[serde(default = "page")]
    limit: usize,
}

fn page() -> usize {
    100
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Because {
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    changes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OfCall {
    call_id: String,
}

async fn list(State(service): Shared, headers: HeaderMap, page: Params<Page>) -> Response {
    match page {
        Ok(Query(Page { after, limit, .. })) => {
            run(&service, &headers, Command::List { after, limit }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

async fn show(State(service): Shared, headers: HeaderMap, Path(user): Path<String>) -> Response {
    run(&service, &headers, Command::Show { user }).await
}

async fn add(
    State(service): Shared,
    headers: HeaderMap,
    Path(user): Path<String>,
    body: Result<Json<Changes>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(Changes { changes })) => {
            run(&service, &headers, Command::Add { user, changes }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

async fn set(
    State(service): Shared,
    headers: HeaderMap,
    Path(user): Path<String>,
    body: Result<Json<Changes>, JsonRejection>,
) -> Response {
    match body {
        Ok(Json(Changes { changes })) => {
            run(&service, &headers, Command::Set { user, changes }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

async fn remove(State(service): Shared, headers: HeaderMap, Path(user): Path<String>) -> Response {
    run(&service, &headers, Command::Remove { user }).await
}

async fn inbox(
    State(service): Shared,
    headers: HeaderMap,
    Path(user): Path<String>,
    page: Params<Page>,
) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(error) => return failure(error.status(), error),
    };
    let after = page.after.as_deref().unwrap_or("0");
    match after.parse() {
        Ok(after) => {
            run(&service, &headers, Command::Inbox { user, after, limit: page.limit }).await
        }
        Err(_) => failure(StatusCode::BAD_REQUEST, "after must be a number"),
    }
}

async fn content(
    State(service): Shared,
    headers: HeaderMap,
    Path((user, seq)): Path<(String, u64)>,
    because: Params<Because>,
) -> Response {
    match because {
        Ok(Query(Because { reason })) => {
            run(&service, &headers, Command::Content { user, seq, reason }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

async fn discard(
    State(service): Shared,
    headers: HeaderMap,
    Path((user, seq)): Path<(String, u64)>,
    because: Params<Because>,
) -> Response {
    match because {
        Ok(Query(Because { reason })) => {
            run(&service, &headers, Command::Discard { user, seq, reason }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

async fn audit(State(service): Shared, headers: HeaderMap, page: Params<Page>) -> Response {
    match page {
        Ok(Query(Page { skip, limit, .. })) => {
            run(&service, &headers, Command::Audit { skip, limit }).await
        }
        Err(error) => failure(error.status(), error),
    }
}

/// The conferences that run (CF-076).
async fn sessions(State(service): Shared, headers: HeaderMap, page: Params<Page>) -> Response {
    let page = match page {
        Ok(Query(page)) => page,
        Err(error) => return failure(error.status(), error),
    };
    let lines = service.sessions.list(page.after.as_deref(), page.limit.min(LIST_MAX));
    let detail = format!("list of {} sessions", lines.len());
    match service.admin.saw_session(&account(&headers), "*", detail).await {
        Ok(()) => Json(json!(lines)).into_response(),
        Err(error) => failure(status(&error), error),
    }
}

/// One of them, and who takes part: as the others know them.
async fn session(
    State(service): Shared,
    headers: HeaderMap,
    Path(session): Path<String>,
) -> Response {
    let (line, participants) = match service.sessions.session(&session).await {
        Ok(found) => found,
        Err(Untold::NotFound) => return failure(StatusCode::NOT_FOUND, Untold::NotFound),
        Err(Untold::Busy) => return failure(StatusCode::SERVICE_UNAVAILABLE, Untold::Busy),
    };
    let detail = format!("session of {} participants", participants.len());
    match service.admin.saw_session(&account(&headers), &session, detail).await {
        Ok(()) => Json(json!({ "session": line, "participants": participants })).into_response(),
        Err(error) => failure(status(&error), error),
    }
}

async fn decisions(State(service): Shared, of: Params<OfCall>) -> Response {
    match of {
        Ok(Query(OfCall { call_id })) => Json((service.decisions)(&call_id)).into_response(),
        Err(error) => failure(error.status(), error),
    }
}
