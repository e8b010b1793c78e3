//! Answers clients: HTTP/JSON on a unix socket, a connection for each request.
//!
//! A client that is slow, silent or wrong gets a [`Failure`] and costs others nothing.

mod connections;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest as _, Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::types::{Applied, Apply, Failure, Nat, Status, Version};
use connections::{Connections, Progress};

/// What the API can ask for.
pub trait Control: Send + Sync + 'static {
    fn version(&self) -> Version;
    fn status(&self) -> impl Future<Output = Result<Status, Refusal>> + Send;
    fn nat(&self) -> impl Future<Output = Result<Nat, Refusal>> + Send;
    /// Returns once packets see the configuration. Runs to its end even if the client goes away.
    fn apply(&self, apply: Apply) -> impl Future<Output = Result<Applied, Refusal>> + Send;
}

/// What a client may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time to send the header, and again to send the body.
    pub request_time: Duration,
    pub body_bytes: usize,
    /// Beyond it, the oldest connection whose request is not complete gives way.
    pub connections: usize,
    /// How long a request that is being answered is waited for at the end.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_time: Duration::from_secs(10),
            body_bytes: 20 << 20,
            connections: 256,
            farewell: Duration::from_secs(5),
        }
    }
}

/// A request that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    status: StatusCode,
    failure: Failure,
}

impl Refusal {
    /// The input is wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    /// It could not be carried out.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
    }

    /// The request itself is wrong.
    fn request(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "request", message)
    }

    fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, failure: Failure { kind: kind.to_owned(), message: message.into() } }
    }

    /// What the client reads.
    #[must_use]
    pub fn failure(&self) -> &Failure {
        &self.failure
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(self.failure)).into_response()
    }
}

/// Answers until `stop` is ready, then finishes what it has begun.
pub async fn serve<C: Control>(
    listener: UnixListener,
    control: Arc<C>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let mut connections = Connections::new(routes(control, limits), limits);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.open(stream),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a client; trying again in a moment");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            () = connections.reap() => {}
            () = &mut stop => break,
        }
    }
    connections.finish().await;
}

fn routes<C: Control>(control: Arc<C>, limits: Limits) -> Router {
    Router::new()
        .route("/v1/status", get(status::<C>))
        .route("/v1/nat", get(nat::<C>))
        .route("/v1/version", get(version::<C>))
        .route("/v1/apply", post(apply::<C>))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(control)
        .layer(middleware::from_fn_with_state(limits, take_in))
        .layer(DefaultBodyLimit::max(limits.body_bytes))
}

/// Reads all of the request before anything is done about it.
async fn take_in(
    State(limits): State<Limits>,
    Extension(progress): Extension<Progress>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts.clone(), body);
    let read = timeout(limits.request_time, Bytes::from_request(request, &())).await;
    let body = read.map_err(|_| too_slow(limits))?.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(limits),
        status => {
            Refusal::request(status, format!("the request's body cannot be read: {error}; send it again"))
        }
    })?;
    progress.complete();
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    progress.answered();
    Ok(response)
}

fn too_slow(limits: Limits) -> Refusal {
    let message = format!(
        "the request did not arrive within {} s; send it without a pause",
        limits.request_time.as_secs_f32()
    );
    Refusal::request(StatusCode::REQUEST_TIMEOUT, message)
}

fn too_large(limits: Limits) -> Refusal {
    let message = format!(
        "the request has more than {} MiB; is it the right file? Leave out what is not needed",
        limits.body_bytes >> 20
    );
    Refusal::request(StatusCode::PAYLOAD_TOO_LARGE, message)
}

async fn status<C: Control>(State(control): State<Arc<C>>) -> Result<Json<Status>, Refusal> {
    control.status().await.map(Json)
}

async fn nat<C: Control>(State(control): State<Arc<C>>) -> Result<Json<Nat>, Refusal> {
    control.nat().await.map(Json)
}

async fn version<C: Control>(State(control): State<Arc<C>>) -> Json<Version> {
    Json(control.version())
}

async fn apply<C: Control>(State(control): State<Arc<C>>, body: Bytes) -> Result<Json<Applied>, Refusal> {
    let apply = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
    // A task of its own: a client that hangs up must not stop it half-way.
    let work = tokio::spawn(async move { control.apply(apply).await });
    let applied = work.await.map_err(|error| {
        tracing::error!(%error, "applying a configuration has failed; please report this");
        Refusal::failed("the daemon has a mistake of its own; its log says more, please report it")
    })?;
    applied.map(Json)
}

fn malformed(error: &serde_json::Error) -> Refusal {
    let message = format!(
        "the request is not the JSON that /v1/apply takes: {error}; \
         send {{\"sources\": [{{\"name\": \"lb.yaml\", \"text\": \"...\"}}]}}"
    );
    Refusal::request(StatusCode::BAD_REQUEST, message)
}

async fn unknown(request: Request) -> Refusal {
    let message = format!(
        "there is no {}; there are GET /v1/status, GET /v1/nat, GET /v1/version and POST /v1/apply",
        request.uri().path().escape_debug()
    );
    Refusal::request(StatusCode::NOT_FOUND, message)
}

async fn wrong_method(request: Request) -> Refusal {
    let message = format!(
        "{} does not take {}; there are GET /v1/status, GET /v1/nat, GET /v1/version and POST /v1/apply",
        request.uri().path(),
        request.method()
    );
    Refusal::request(StatusCode::METHOD_NOT_ALLOWED, message)
}
