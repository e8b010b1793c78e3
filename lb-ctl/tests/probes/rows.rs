//! One probe of each kind of server, and what it comes to.

use std::time::Duration;

use lb_ctl::health::outcome::LocalFailure;
use lb_ctl::health::{Outcome, ProbeKey, probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::servers::{self, Manner};
use crate::{http_key, tcp_key};

const TIMED_OUT: Outcome = Outcome::TimedOut(Duration::from_secs(1));
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const MOVED: &str = "HTTP/1.1 301 Moved Permanently\r\nLocation: /healthy\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";

/// On a machine so busy that the probe is held up, it says nothing about the server: once more.
async fn outcome_of(key: &ProbeKey) -> Outcome {
    for _ in 0..10 {
        let probed = probe::run(key).await;
        if let Some(closing) = probed.closing {
            closing.finish().await;
        }
        if !matches!(probed.outcome, Outcome::LocalFailure(LocalFailure::HeldUp(_))) {
            return probed.outcome;
        }
    }
    panic!("the machine is too busy to probe");
}

/// S-PRB-15.
#[tokio::test]
async fn http() {
    let rows = [
        ("200", Manner::Says(OK), Outcome::Answered(200)),
        ("200 from a server that does not close", Manner::SaysAndStays(OK), Outcome::Answered(200)),
        ("200 without waiting for the request", Manner::SaysFirst(OK), Outcome::Answered(200)),
        ("200 after a while", Manner::SaysLate(OK), Outcome::Answered(200)),
        ("200 after an interim answer", Manner::Says(HINTS), Outcome::Answered(200)),
        ("200, then a reset", Manner::SaysAndResets(OK), Outcome::Answered(200)),
        ("a redirect is not followed", Manner::Says(MOVED), Outcome::Answered(301)),
        ("401", Manner::Says("HTTP/1.1 401 Unauthorized\r\n\r\n"), Outcome::Answered(401)),
        ("403", Manner::Says("HTTP/1.1 403 Forbidden\r\n\r\n"), Outcome::Answered(403)),
        ("404", Manner::Says("HTTP/1.1 404 Not Found\r\n\r\n"), Outcome::Answered(404)),
        ("500", Manner::Says("HTTP/1.0 500 Oh\r\n\r\n"), Outcome::Answered(500)),
        ("never an answer", Manner::Silent, TIMED_OUT),
        ("half a status line, then silence", Manner::SaysAndStays("HTTP/1.1 20"), TIMED_OUT),
        ("half a status line, then the end", Manner::Says("HTTP/1.1 20"), Outcome::Closed),
        ("half a head, then the end", Manner::Says("HTTP/1.1 200 OK\r\nA: b"), Outcome::Closed),
        ("one byte at a time, too slowly", Manner::SaysSlowly(MOVED), TIMED_OUT),
        ("headers without end", Manner::Repeats("HTTP/1.1 200 OK\r\n"), Outcome::TooLong),
        ("garbage without end", Manner::Repeats("\0\u{1}\u{2}"), Outcome::Malformed),
        ("another protocol", Manner::SaysAndStays("SSH-2.0-OpenSSH"), Outcome::Malformed),
        ("resets", Manner::Resets, Outcome::Reset),
        ("resets without an answer", Manner::ResetsLate, Outcome::Reset),
    ];
    for (name, manner, expected) in rows {
        let key = http_key(servers::start(manner).await);
        assert_eq!(outcome_of(&key).await, expected, "{name}");
    }
}

/// The end of the stream and the reset that answers our request may come in either order.
#[tokio::test]
async fn http_server_that_closes_at_once_gives_no_answer() {
    let key = http_key(servers::start(Manner::ClosesAtOnce).await);
    for _ in 0..50 {
        let outcome = outcome_of(&key).await;
        assert!(matches!(outcome, Outcome::Closed | Outcome::Reset), "{outcome:?}");
    }
}

/// S-PRB-16.
#[tokio::test]
async fn tcp() {
    let rows = [
        ("closes when we do", Manner::Says(""), Outcome::Connected),
        ("never closes", Manner::Silent, Outcome::Connected),
        ("closes first", Manner::ClosesAtOnce, Outcome::Connected),
        ("greets first", Manner::SaysFirst("220 mail.example ready\r\n"), Outcome::Connected),
        ("talks without end", Manner::Repeats("more "), Outcome::Connected),
        ("resets", Manner::Resets, Outcome::Reset),
        ("resets when we have said FIN", Manner::ResetsLate, Outcome::Reset),
    ];
    for (name, manner, expected) in rows {
        let key = tcp_key(servers::start(manner).await);
        assert_eq!(outcome_of(&key).await, expected, "{name}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let address = servers::closed_port().await;
    assert_eq!(outcome_of(&tcp_key(address)).await, Outcome::Refused);
    assert_eq!(outcome_of(&http_key(address)).await, Outcome::Refused);
}

/// As behind a firewall (S-PRB-31); a TCP probe has a timeout too (S-PRB-19).
#[tokio::test]
async fn syn_is_not_answered() {
    let (address, _listener, _connections) = servers::deaf().await;
    assert_eq!(outcome_of(&tcp_key(address)).await, TIMED_OUT);
    assert_eq!(outcome_of(&http_key(address)).await, TIMED_OUT);
}

/// S-PRB-12 does not befall us: each probe is a connection of its own.
#[tokio::test]
async fn server_that_closes_only_its_listener_fails_the_next_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = http_key(servers::address_of(&listener));
    let (outcome, accepted) = tokio::join!(outcome_of(&key), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        servers::read_request(&mut stream).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        drop(listener);
        stream
    });
    assert_eq!(outcome, Outcome::Answered(200));
    assert_eq!(outcome_of(&key).await, Outcome::Refused, "while the old connection is still open");
    drop(accepted);
}

/// S-PRB-10.
#[tokio::test]
async fn http_request_is_what_the_specification_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = servers::address_of(&listener);
    let key = http_key(address);
    let (_, request) = tokio::join!(outcome_of(&key), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        servers::read_request(&mut stream).await.unwrap()
    });
    let expected = format!(
        "GET /healthz HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Load Balancer Agent\r\n\
         Accept: */*\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(request, expected);
}

/// S-PRB-9: the server reads the end of the stream, never a reset.
#[tokio::test]
async fn tcp_probe_ends_with_fin_whatever_the_server_said() {
    for greeting in ["", "220 mail.example ready\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = tcp_key(servers::address_of(&listener));
        let (outcome, ()) = tokio::join!(outcome_of(&key), async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
            // The probe is still there for our FIN: no reset after it either.
            stream.shutdown().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(stream.take_error().unwrap().is_none());
        });
        assert_eq!(outcome, Outcome::Connected);
    }
}

#[tokio::test]
async fn http_probe_lets_the_server_finish_and_close_first() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = http_key(servers::address_of(&listener));
    let (outcome, ()) = tokio::join!(outcome_of(&key), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        servers::read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let early = timeout(Duration::from_millis(50), stream.read(&mut [0; 16])).await;
        assert!(early.is_err(), "the probe closed first");
        stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
    });
    assert_eq!(outcome, Outcome::Answered(200));
}

/// S-PRB-20.
#[tokio::test]
async fn interval_shorter_than_the_timeout_limits_a_probe() {
    let address = servers::start(Manner::Silent).await;
    let interval = Duration::from_millis(100);
    let key = ProbeKey { interval, ..http_key(address) };
    assert_eq!(outcome_of(&key).await, Outcome::TimedOut(interval));
}

/// The handshake is the answer; waiting for the member's close never makes it late.
#[tokio::test]
async fn tcp_member_that_never_closes_is_healthy_within_a_short_timeout() {
    let address = servers::start(Manner::Silent).await;
    let timeout = Duration::from_millis(300);
    assert_eq!(outcome_of(&ProbeKey { timeout, ..tcp_key(address) }).await, Outcome::Connected);
}
