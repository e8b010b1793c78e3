//! Asks the daemon.

mod stream;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::types::{Applied, Apply, Failure, Nat, Status, Version};
use stream::Stream;

/// A daemon that lives answers a question within this time.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Putting a configuration into force may wait for the kernel, and for an earlier one.
const APPLY_TIME: Duration = Duration::from_mins(2);
/// No answer is longer.
const MOST_BYTES: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "no daemon answers at {}: {cause}\n  is `lbctl serve` running? start it, or name another one with --instance or --socket",
        socket.display()
    )]
    Unreachable { socket: PathBuf, cause: io::Error },
    #[error(
        "{} belongs to root: {cause}\n  run this as root, for example with sudo",
        socket.display()
    )]
    NotPermitted { socket: PathBuf, cause: io::Error },
    #[error(
        "the daemon at {} has not answered within {} s\n  it may be busy or stopped: see its log, then try again; what was asked for may still happen",
        socket.display(), limit.as_secs()
    )]
    TooSlow { socket: PathBuf, limit: Duration },
    #[error(
        "the answer from {} is not understood: {what}\n  is it the socket of an lbctl of this version? `lbctl version` compares",
        socket.display()
    )]
    Broken { socket: PathBuf, what: String },
    /// The daemon's own words.
    #[error("{}", .0.message)]
    Refused(Failure),
}

/// Knows where the daemon listens; each request is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub async fn status(&self) -> Result<Status, Error> {
        self.within(ANSWER_TIME, self.ask(Method::GET, "/v1/status", Body::empty())).await
    }

    pub async fn nat(&self) -> Result<Nat, Error> {
        self.within(ANSWER_TIME, self.ask(Method::GET, "/v1/nat", Body::empty())).await
    }

    pub async fn version(&self) -> Result<Version, Error> {
        self.within(ANSWER_TIME, self.ask(Method::GET, "/v1/version", Body::empty())).await
    }

    /// Returns once packets see the configuration.
    pub async fn apply(&self, apply: &Apply) -> Result<Applied, Error> {
        let body = self.json(apply)?;
        self.within(APPLY_TIME, self.ask(Method::POST, "/v1/apply", body)).await
    }

    fn json(&self, request: &impl Serialize) -> Result<Body, Error> {
        serde_json::to_vec(request).map(Body::from).map_err(|error| self.broken(error))
    }

    async fn within<A>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<A, Error>>,
    ) -> Result<A, Error> {
        let too_slow = |_| Error::TooSlow { socket: self.socket.clone(), limit };
        timeout(limit, answer).await.map_err(too_slow)?
    }

    async fn ask<A: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<A, Error> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.no_connection(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(Stream::new(stream))).await.map_err(|error| self.broken(error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "lbctl")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| self.broken(error))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|error| self.broken(error))?;
            let status = answer.status();
            let bytes = axum::body::to_bytes(Body::new(answer.into_body()), MOST_BYTES).await;
            Ok((status, bytes.map_err(|error| self.broken(error))?))
        };
        // What is wrong with the connection shows in the answer.
        let (answer, _) = tokio::join!(answer, connection);
        let (status, bytes) = answer?;
        self.understand(status, &bytes)
    }

    fn understand<A: DeserializeOwned>(&self, status: StatusCode, bytes: &[u8]) -> Result<A, Error> {
        if status.is_success() {
            return serde_json::from_slice(bytes).map_err(|error| self.broken(error));
        }
        match serde_json::from_slice(bytes) {
            Ok(failure) => Err(Error::Refused(failure)),
            Err(_) => Err(self.broken(format!("HTTP {status}"))),
        }
    }

    fn no_connection(&self, cause: io::Error) -> Error {
        let socket = self.socket.clone();
        if cause.kind() == io::ErrorKind::PermissionDenied {
            Error::NotPermitted { socket, cause }
        } else {
            Error::Unreachable { socket, cause }
        }
    }

    fn broken(&self, what: impl Display) -> Error {
        Error::Broken { socket: self.socket.clone(), what: what.to_string() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixListener;
    use std::sync::mpsc;

    use futures_util::{StreamExt as _, stream};

    use super::*;

    const ANSWER: &str = "HTTP/1.1 413 Payload Too Large\r\ncontent-type: application/json\r\ncontent-length: 42\r\nconnection: close\r\n\r\n{\"kind\":\"request\",\"message\":\"it is a lot\"}";

    /// hyper looks for an answer, finds none, and asks the body for more: just then the daemon
    /// answers and closes, so that what hyper writes next fails before it reads again.
    #[tokio::test]
    async fn an_answer_is_read_although_the_daemon_has_closed_before_it_had_read_everything() {
        let folder = std::env::temp_dir().join(format!("lbctl-client-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let ((ask, asked), (closed, wait)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            asked.recv().unwrap();
            stream.write_all(ANSWER.as_bytes()).unwrap();
            drop(stream);
            closed.send(()).unwrap();
        });
        // Not ready at once, so that what is before it gets written.
        let last = stream::once(async move {
            tokio::task::yield_now().await;
            ask.send(()).unwrap();
            wait.recv().unwrap();
            "behind"
        });
        let parts = stream::iter(["in front"]).chain(last).map(Ok::<_, io::Error>);
        let client = Client::new(&socket);
        let answer = client.ask::<Applied>(Method::POST, "/v1/apply", Body::from_stream(parts)).await;
        daemon.join().unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let Err(Error::Refused(failure)) = answer else { panic!("{answer:?}") };
        assert_eq!(failure.message, "it is a lot");
    }
}
