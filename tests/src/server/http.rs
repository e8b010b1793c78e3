//! The HTTP server.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use axum::{
    Router,
    body::Body,
    extract::{Query, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{door::Door, pattern};

/// Which server answered, also where the body is something else.
pub(crate) const SERVED_BY: &str = "x-served-by";
/// Pieces per second of a download with a rate.
const PIECES: u32 = 10;

#[derive(Clone)]
struct Site {
    name: Arc<str>,
    healthy: Arc<AtomicBool>,
}

pub(super) async fn serve(door: Door, name: &str, healthy: Arc<AtomicBool>) -> Result<()> {
    let served_by = HeaderValue::from_str(name)?;
    let site = Router::new()
        .route("/", get(async |State(site): State<Site>| site.name.to_string()))
        .route("/healthz", get(health))
        .route("/download", get(download))
        .route("/sink", any(sink))
        .with_state(Site { name: name.into(), healthy })
        .layer(axum::middleware::map_response(move |mut response: Response| {
            response.headers_mut().insert(SERVED_BY, served_by.clone());
            std::future::ready(response)
        }));
    Ok(axum::serve(door, site).await?)
}

async fn health(State(site): State<Site>) -> (StatusCode, &'static str) {
    if site.healthy.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "down")
    }
}

#[derive(Deserialize)]
struct Download {
    bytes: u64,
    /// Bytes per second; as fast as it goes without it.
    rate: Option<u64>,
}

async fn download(Query(wanted): Query<Download>) -> Response {
    let piece = wanted.rate.map(|rate| (rate / u64::from(PIECES)).max(1));
    let body = stream::unfold(0, move |sent| async move {
        let rest = wanted.bytes.checked_sub(sent).filter(|rest| *rest > 0)?;
        let mut bytes = pattern::at(sent);
        let most = piece.map_or(rest, |piece| piece.min(rest));
        bytes.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        if piece.is_some() {
            tokio::time::sleep(Duration::from_secs(1) / PIECES).await;
        }
        let sent = sent + bytes.len() as u64;
        Some((Ok::<Bytes, Infallible>(bytes), sent))
    });
    ([(header::CONTENT_LENGTH, wanted.bytes)], Body::from_stream(body)).into_response()
}

async fn sink(body: Body) -> Result<String, (StatusCode, String)> {
    let mut hash = Sha256::new();
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        hash.update(piece.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?);
    }
    Ok(pattern::hex(&hash.finalize()))
}
