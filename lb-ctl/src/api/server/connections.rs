//! The connections of clients: how many, how long, and who gives way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::response::IntoResponse as _;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{Limits, too_slow};

/// How far the request of a connection has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    const HEADER: u8 = 1;
    const COMPLETE: u8 = 2;
    const ANSWERED: u8 = 3;

    fn header(&self) {
        self.0.store(Self::HEADER, Ordering::Relaxed);
    }

    /// All of the request is here: from now on it is we who take time.
    pub(super) fn complete(&self) {
        self.0.store(Self::COMPLETE, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.0.store(Self::ANSWERED, Ordering::Relaxed);
    }

    fn has_header(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::HEADER
    }

    fn is_complete(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::COMPLETE
    }

    fn being_answered(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::COMPLETE
    }
}

/// All that are open.
pub(super) struct Connections {
    router: Router,
    limits: Limits,
    tasks: JoinSet<()>,
    /// Oldest first.
    open: VecDeque<(Progress, AbortHandle)>,
}

impl Connections {
    pub(super) fn new(router: Router, limits: Limits) -> Self {
        Self { router, limits, tasks: JoinSet::new(), open: VecDeque::new() }
    }

    /// Starts to serve a client.
    pub(super) fn open(&mut self, stream: UnixStream) {
        self.make_room();
        let progress = Progress::default();
        let serving = converse(stream, self.router.clone(), progress.clone(), self.limits);
        let task = self.tasks.spawn(serving);
        self.open.push_back((progress, task));
    }

    fn make_room(&mut self) {
        self.open.retain(|(_, task)| !task.is_finished());
        if self.open.len() >= self.limits.connections
            && let Some(waiting) = self.open.iter().position(|(progress, _)| !progress.being_answered())
            && let Some((_, task)) = self.open.remove(waiting)
        {
            task.abort();
        }
    }

    /// Waits for the end of a connection, for ever if there is none.
    pub(super) async fn reap(&mut self) {
        match self.tasks.join_next().await {
            Some(Err(error)) if error.is_panic() => {
                tracing::error!(%error, "answering a client has failed; please report this");
            }
            Some(_) => {}
            None => std::future::pending().await,
        }
    }

    /// Ends all; those whose request is complete get their answer first.
    pub(super) async fn finish(mut self) {
        for (progress, task) in &self.open {
            if !progress.is_complete() {
                task.abort();
            }
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.limits.farewell, all).await.is_err() {
            tracing::warn!("a client's request is not finished, and the daemon ends");
        }
    }
}

/// One request and its answer.
async fn converse(stream: UnixStream, router: Router, progress: Progress, limits: Limits) {
    let router = TowerToHyperService::new(router);
    let seen = progress.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        seen.header();
        request.extensions_mut().insert(seen.clone());
        router.call(request)
    });
    let mut connection = http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = &mut connection => return note(ended),
        () = sleep(limits.request_time) => {}
    }
    if progress.has_header() {
        note(connection.await);
    } else {
        refuse(&connection.into_parts().io.into_inner(), limits).await;
    }
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection ended early");
    }
}

/// Answers a client whose header has not come; it need not listen.
async fn refuse(stream: &UnixStream, limits: Limits) {
    let body = too_slow(limits).into_response().into_body();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return };
    let head = format!(
        "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    if let Err(error) = stream.try_write(&[head.as_bytes(), &body].concat()) {
        tracing::debug!(%error, "a slow client did not wait for its answer");
    }
}
