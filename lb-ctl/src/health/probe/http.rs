//! The HTTP probe: `GET`, and the status of the answer (S-PRB-10, S-PRB-15).

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Budget, Closing, Probed};
use crate::health::outcome::Outcome;

/// Bytes of a response head, interim responses included, that a probe reads.
const HEAD_LIMIT: usize = 64 * 1024;

/// Bytes of a status line that a probe keeps.
const STATUS_LINE_LIMIT: usize = 1024;

pub(super) async fn probe(address: SocketAddr, path: &str, budget: Budget) -> Probed {
    let mut stream = match budget.wait(TcpStream::connect(address)).await {
        Ok(stream) => stream,
        Err(outcome) => return outcome.into(),
    };
    match budget.wait(exchange(&mut stream, &request(address, path))).await {
        Ok(status) => Probed { outcome: Outcome::Answered(status), closing: Some(Closing(stream)) },
        Err(outcome) => outcome.into(),
    }
}

/// The `Host` header is the member's address, with the port unless it is 80 (S-PRB-10).
fn request(address: SocketAddr, path: &str) -> String {
    let host = match address.port() {
        80 => address.ip().to_string(),
        _ => address.to_string(),
    };
    let target = request_target(path);
    format!(
        "GET {target} HTTP/1.1\r\n\
         Host: {host}\r\n\
         User-Agent: Load Balancer Agent\r\n\
         Accept: */*\r\n\
         Connection: close\r\n\r\n"
    )
}

/// A relative path is taken from the root (S-PRB-17). What may not stand in a request line is
/// percent-encoded (RFC 3986, 2.1), so that no path can add a header.
fn request_target(path: &str) -> String {
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for byte in path.bytes() {
        if byte.is_ascii_graphic() {
            target.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
    target
}

/// The status that the member answers with. It may answer before it has the request, and close or
/// reset then: what it said counts, so a failure to send is only told when no answer came.
async fn exchange(stream: &mut TcpStream, request: &str) -> Result<u16, Outcome> {
    let sent = stream.write_all(request.as_bytes()).await;
    match (read_status(stream).await, sent) {
        (Err(Outcome::Closed), Err(error)) => Err(error.into()),
        (result, _) => result,
    }
}

async fn read_status(stream: &mut TcpStream) -> Result<u16, Outcome> {
    let mut head = Head::default();
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(Outcome::Closed);
        }
        if let Some(status) = head.feed(&buffer[..count])? {
            return Ok(status);
        }
    }
}

/// What is kept of a response head while it comes in.
#[derive(Default)]
struct Head {
    seen: usize,
    status: Option<u16>,
    /// The status line, until `status` is known.
    line: Vec<u8>,
    /// Bytes of the present line, without its end.
    length: usize,
}

impl Head {
    /// Takes the next bytes; the status, once the head of the final response is complete.
    fn feed(&mut self, bytes: &[u8]) -> Result<Option<u16>, Outcome> {
        for &byte in bytes {
            self.seen += 1;
            if self.seen > HEAD_LIMIT {
                return Err(Outcome::TooLong);
            }
            match byte {
                b'\n' => {
                    if let Some(status) = self.end_line()? {
                        return Ok(Some(status));
                    }
                }
                // A line ends with LF; a CR before it is not part of the line (RFC 9112, 2.2).
                b'\r' => {}
                _ => self.extend_line(byte)?,
            }
        }
        Ok(None)
    }

    fn extend_line(&mut self, byte: u8) -> Result<(), Outcome> {
        self.length += 1;
        if self.status.is_some() {
            return Ok(());
        }
        self.line.push(byte);
        if self.line.len() > STATUS_LINE_LIMIT || !may_be_http(&self.line) {
            return Err(Outcome::Malformed);
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<u16>, Outcome> {
        let length = std::mem::take(&mut self.length);
        match self.status {
            None => {
                self.status = Some(status_of(&self.line).ok_or(Outcome::Malformed)?);
                self.line.clear();
                Ok(None)
            }
            Some(status) if length > 0 || is_interim(status) => {
                if length == 0 {
                    self.status = None;
                }
                Ok(None)
            }
            Some(status) => Ok(Some(status)),
        }
    }
}

/// An answer that another one follows. 101 is not: a probe asks for no other protocol.
fn is_interim(status: u16) -> bool {
    (100..200).contains(&status) && status != 101
}

fn may_be_http(start: &[u8]) -> bool {
    let version = b"HTTP/1.";
    let common = start.len().min(version.len());
    start[..common] == version[..common]
}

/// The status of `HTTP/1.x SSS reason` (RFC 9112, 4).
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor, b' ', status @ ..] = rest else {
        return None;
    };
    let (digits, reason) = status.split_at_checked(3)?;
    let well_formed = minor.is_ascii_digit()
        && digits.iter().all(u8::is_ascii_digit)
        && matches!(reason.first(), None | Some(b' '));
    let status = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')));
    (well_formed && status >= 100).then_some(status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panic")]

    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    /// The answer and the reset are both there before the request is sent.
    #[tokio::test]
    async fn answer_counts_although_the_request_could_not_be_sent() {
        for (answer, expected) in [("HTTP/1.1 200 OK\r\n\r\n", Ok(200)), ("", Err(Outcome::Reset))] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(answer.as_bytes()).await.unwrap();
            server.set_zero_linger().unwrap();
            drop(server);
            stream.readable().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(exchange(&mut stream, "GET / HTTP/1.1\r\n\r\n").await, expected);
        }
    }

    /// S-PRB-10.
    #[test]
    fn request_names_member_agent_and_path() {
        let address = SocketAddr::from(([10, 0, 1, 11], 8080));
        assert_eq!(
            request(address, "/healthz"),
            "GET /healthz HTTP/1.1\r\nHost: 10.0.1.11:8080\r\nUser-Agent: Load Balancer Agent\r\n\
             Accept: */*\r\nConnection: close\r\n\r\n"
        );
        let default_port = SocketAddr::from(([10, 0, 1, 11], 80));
        assert!(request(default_port, "/").contains("\r\nHost: 10.0.1.11\r\n"));
    }

    /// A relative path is one from the root (S-PRB-17).
    #[test]
    fn path_cannot_add_a_header() {
        assert_eq!(request_target("healthz?a=b"), "/healthz?a=b");
        assert_eq!(request_target("/a b\r\nX: y"), "/a%20b%0D%0AX:%20y");
        assert_eq!(request_target("/ü"), "/%C3%BC");
    }

    type Fed = Result<Option<u16>, Outcome>;

    #[test]
    fn heads() {
        let endless_line = format!("HTTP/1.1 200 {}", "x".repeat(2_000));
        let endless_headers = format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(20_000));
        let rows: &[(&str, &str, Fed)] = &[
            ("the usual answer", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", Ok(Some(200))),
            ("HTTP/1.0, no reason, no headers", "HTTP/1.0 503\r\n\r\n", Ok(Some(503))),
            ("lines that end with LF only", "HTTP/1.1 404 Not Found\nA: b\n\n", Ok(Some(404))),
            (
                "interim answers are skipped",
                "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
                Ok(Some(200)),
            ),
            ("only an interim answer", "HTTP/1.1 100 Continue\r\n\r\n", Ok(None)),
            ("101 is an answer", "HTTP/1.1 101 Switching Protocols\r\n\r\n", Ok(Some(101))),
            ("half a status line", "HTTP/1.1 20", Ok(None)),
            ("a head without its end", "HTTP/1.1 200 OK\r\nA: b\r\n", Ok(None)),
            ("another protocol, before its line ends", "SSH-2.0", Err(Outcome::Malformed)),
            ("HTTP/2 without being asked", "HTTP/2 200\r\n\r\n", Err(Outcome::Malformed)),
            ("HTTP/0.9", "<html>", Err(Outcome::Malformed)),
            ("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", Err(Outcome::Malformed)),
            ("a status of letters", "HTTP/1.1 2xx OK\r\n\r\n", Err(Outcome::Malformed)),
            ("a status below 100", "HTTP/1.1 020 OK\r\n\r\n", Err(Outcome::Malformed)),
            ("no status", "HTTP/1.1\r\n\r\n", Err(Outcome::Malformed)),
            ("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", Err(Outcome::Malformed)),
            ("a status line without end", &endless_line, Err(Outcome::Malformed)),
            ("headers without end", &endless_headers, Err(Outcome::TooLong)),
        ];
        for (name, answer, expected) in rows {
            assert_eq!(Head::default().feed(answer.as_bytes()), *expected, "{name}");
            assert_eq!(feed_in_single_bytes(answer), *expected, "{name}, byte by byte");
        }
    }

    fn feed_in_single_bytes(answer: &str) -> Fed {
        let mut head = Head::default();
        for byte in answer.as_bytes() {
            if let Some(status) = head.feed(&[*byte])? {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }
}
