//! HTTP/1.1 from inside a namespace, one connection per request.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{lab::NetNs, server::pattern};

/// No request of a test takes longer without an answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// The server's name, from its `x-served-by` header.
    pub served_by: Option<String>,
    pub body: Vec<u8>,
}

impl Response {
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One GET on a new connection.
pub fn get(netns: &NetNs, server: impl Into<SocketAddr>, path: &str) -> Result<Response> {
    let server = server.into();
    netns.run(|| request(server, path))
}

/// `requests` GETs of `/`, each on a new connection, one after the other: answers by the server's name.
pub fn distribution(
    netns: &NetNs,
    server: impl Into<SocketAddr>,
    requests: usize,
) -> Result<BTreeMap<String, usize>> {
    let server = server.into();
    netns.run(|| {
        let mut answers = BTreeMap::new();
        for number in 1..=requests {
            let response = request(server, "/").with_context(|| format!("request {number} of {requests}"))?;
            ensure!(response.status == 200, "request {number} of {requests}: status {}", response.status);
            *answers.entry(response.text()).or_insert(0) += 1;
        }
        Ok(answers)
    })
}

/// Uploads `bytes` of the pattern; `Ok` when the server's hash of them is the right one.
pub fn upload(netns: &NetNs, server: impl Into<SocketAddr>, bytes: u64) -> Result<()> {
    let server = server.into();
    netns.run(|| {
        let mut stream = connect(server)?;
        write!(
            stream,
            "PUT /sink HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Length: {bytes}\r\n\r\n"
        )?;
        let mut sent = 0;
        while sent < bytes {
            let block = pattern::at(sent);
            let take = usize::try_from(bytes - sent).map_or(block.len(), |rest| rest.min(block.len()));
            stream.write_all(&block[..take])?;
            sent += take as u64;
        }
        let (mut response, mut body) = head(stream)?;
        body.read_to_end(&mut response.body)?;
        ensure!(response.status == 200, "upload: status {}", response.status);
        ensure!(
            response.text() == pattern::sha256(bytes),
            "upload of {bytes} bytes: the server received others"
        );
        Ok(())
    })
}

fn request(server: SocketAddr, path: &str) -> Result<Response> {
    let (mut response, mut body) = open(server, path)?;
    body.read_to_end(&mut response.body).context("read the body")?;
    Ok(response)
}

/// Sends a GET and reads the head of its answer.
fn open(server: SocketAddr, path: &str) -> Result<(Response, impl std::io::Read + use<>)> {
    let mut stream = connect(server)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    head(stream)
}

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&server, PATIENCE).with_context(|| format!("connect to {server}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn head(stream: TcpStream) -> Result<(Response, impl std::io::Read + use<>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    ensure!(reader.read_line(&mut line).context("read the status line")? > 0, "closed without an answer");
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .with_context(|| format!("status line {line:?}"))?;
    let (mut served_by, mut length) = (None, 0);
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line).context("read the head")? > 0, "closed within the head");
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("x-served-by") => {
                served_by = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().context("content-length")?;
            }
            Some(_) => {}
            None => break,
        }
    }
    // An early end shows as a body that is too short: the hash, or the caller's comparison, tells.
    Ok((Response { status, served_by, body: Vec::new() }, reader.take(length)))
}

/// A download that goes on in the background.
pub struct Download {
    bytes: u64,
    received: std::sync::Arc<std::sync::atomic::AtomicU64>,
    served_by: String,
    thread: std::thread::JoinHandle<Result<String>>,
}

impl Download {
    /// Returns when the head of the answer is there. Without `rate` (bytes per second) it is as fast as it goes.
    pub fn start(
        netns: &NetNs,
        server: impl Into<SocketAddr>,
        bytes: u64,
        rate: Option<u64>,
    ) -> Result<Self> {
        let server = server.into();
        let rate = rate.map(|rate| format!("&rate={rate}")).unwrap_or_default();
        let (response, mut body) = netns.run(|| open(server, &format!("/download?bytes={bytes}{rate}")))?;
        ensure!(response.status == 200, "download: status {}", response.status);
        let served_by = response.served_by.context("the answer does not name its server")?;
        let received = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let progress = received.clone();
        let thread = std::thread::spawn(move || {
            let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
            loop {
                match body.read(&mut buffer)? {
                    0 => return Ok(pattern::hex(&hash.finalize())),
                    len => {
                        hash.update(&buffer[..len]);
                        progress.fetch_add(len as u64, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            }
        });
        Ok(Self { bytes, received, served_by, thread })
    }

    #[must_use]
    pub fn served_by(&self) -> &str {
        &self.served_by
    }

    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for the end; `Ok` when every byte came and was the right one.
    pub fn finish(self) -> Result<()> {
        let hash = self
            .thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .context("download")?;
        let received = self.received.load(std::sync::atomic::Ordering::Relaxed);
        ensure!(received == self.bytes, "download ended after {received} of {} bytes", self.bytes);
        ensure!(
            hash == pattern::sha256(self.bytes),
            "download of {received} bytes: not those that were sent"
        );
        Ok(())
    }
}
