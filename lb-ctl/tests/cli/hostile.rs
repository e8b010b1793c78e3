//! Clients that send nonsense, too much, too slowly or nothing at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lb_ctl::api::client::{Client, Error};
use lb_ctl::api::server::Limits;
use lb_ctl::api::types::{Apply, Failure, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::golden::busy;
use crate::support::{Daemon, Scratch, Script, done};

/// Patient enough for a busy machine, short enough for a test.
const PATIENCE: Duration = Duration::from_secs(30);

fn limits() -> Limits {
    Limits { request_time: Duration::from_millis(500), body_bytes: 1 << 20, ..Limits::default() }
}

/// Sends it, and reads until the daemon closes.
async fn say(scratch: &Scratch, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(scratch.socket()).await.unwrap();
    // The daemon may hang up before all is sent.
    let _ = stream.write_all(request).await;
    hear(&mut stream).await
}

async fn hear(stream: &mut UnixStream) -> String {
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the daemon never closes");
    assert!(read.is_ok() || !answer.is_empty(), "no answer: {read:?}");
    String::from_utf8(answer).unwrap()
}

fn failure(answer: &str) -> (u16, Failure) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer:?}")))
}

fn post(body: &str) -> String {
    format!("POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn nonsense_gets_an_answer_that_says_what_would_be_right() {
    let scratch = Scratch::new();
    let _daemon = Daemon::with_limits(&scratch, Script::applying(Ok(done())), limits());
    let there_are = "there are GET /v1/status, GET /v1/nat, GET /v1/version and POST /v1/apply";
    let malformed = |cause: &str| {
        format!(
            "the request is not the JSON that /v1/apply takes: {cause}; \
             send {{\"sources\": [{{\"name\": \"lb.yaml\", \"text\": \"...\"}}]}}"
        )
    };
    let rows = [
        (post("{"), 400, malformed("EOF while parsing an object at line 1 column 1")),
        (post(""), 400, malformed("EOF while parsing a value at line 1 column 0")),
        (
            post("{\"sources\":[{\"name\":1}]}"),
            400,
            malformed("invalid type: integer `1`, expected a string at line 1 column 21"),
        ),
        (
            post(&"[".repeat(100_000)),
            400,
            malformed("invalid type: sequence, expected a string at line 1 column 3"),
        ),
        ("GET /nope HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 404, format!("there is no /nope; {there_are}")),
        (
            "GET /v1/apply HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
            405,
            format!("/v1/apply does not take GET; {there_are}"),
        ),
    ];
    for (request, status, message) in rows {
        let (found, failure) = failure(&say(&scratch, request.as_bytes()).await);
        assert_eq!((found, failure.kind.as_str(), failure.message), (status, "request", message));
    }
    let no_http = say(&scratch, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await;
    assert!(no_http.starts_with("HTTP/1.1 400 "), "{no_http}");
    let long_header =
        say(&scratch, format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).as_bytes()).await;
    assert!(long_header.starts_with("HTTP/1.1 431 "), "{long_header}");
}

#[tokio::test]
async fn too_much_is_413_whether_it_is_announced_or_not() {
    let scratch = Scratch::new();
    let _daemon = Daemon::with_limits(&scratch, Script::applying(Ok(done())), limits());
    let announced = post(&" ".repeat((1 << 20) + 1));
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    let unannounced = format!(
        "POST /v1/apply HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{}",
        chunk.repeat(17)
    );
    let as_get = announced.replacen("POST /v1/apply", "GET /v1/status", 1);
    for request in [announced, unannounced, as_get] {
        let (status, failure) = failure(&say(&scratch, request.as_bytes()).await);
        assert_eq!((status, failure.kind.as_str()), (413, "request"));
        assert!(failure.message.starts_with("the request has more than 1 MiB"), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_client_passes_on_that_it_is_too_much() {
    let scratch = Scratch::new();
    let _daemon = Daemon::with_limits(&scratch, Script::applying(Ok(done())), limits());
    let source = Source { name: "lb.yaml".to_owned(), text: "#".repeat(16 << 20) };
    match Client::new(&scratch.socket()).apply(&Apply { sources: vec![source] }).await {
        Err(Error::Refused(failure)) => assert_eq!(failure.kind, "request"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn slow_clients_are_told_and_left() {
    let scratch = Scratch::new();
    let _daemon = Daemon::with_limits(&scratch, Script::applying(Ok(done())), limits());
    let openings = ["", "GET /v1/sta", "POST /v1/apply HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"];
    for opening in openings {
        let (status, failure) = failure(&say(&scratch, opening.as_bytes()).await);
        assert_eq!((status, failure.kind.as_str()), (408, "request"), "{opening:?}");
        assert_eq!(failure.message, "the request did not arrive within 0.5 s; send it without a pause");
    }
    // A byte now and then does not buy time.
    let mut stream = UnixStream::connect(scratch.socket()).await.unwrap();
    let drip = async {
        while stream.write_all(b"G").await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, drip).await.expect("a dripping client is never left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_silent_clients_do_not_keep_others_waiting() {
    let scratch = Scratch::new();
    let slow = Limits { request_time: Duration::from_hours(1), ..limits() };
    let _daemon = Daemon::with_limits(&scratch, Script::applying(Ok(done())), slow);
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(UnixStream::connect(scratch.socket()).await.unwrap());
    }
    let client = Client::new(&scratch.socket());
    for _ in 0..10 {
        assert_eq!(timeout(PATIENCE, client.status()).await.unwrap().unwrap(), busy());
    }
    // The oldest gave way, the youngest are still there.
    assert_eq!(timeout(PATIENCE, silent[0].read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert!(timeout(Duration::from_millis(100), silent[999].read(&mut [0; 1])).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_answered_does_not_give_way() {
    let scratch = Scratch::new();
    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, wait) = (Arc::clone(&arrived), Arc::clone(&go_on));
    let apply = move |_| -> futures_util::future::BoxFuture<'static, _> {
        let (there, wait) = (Arc::clone(&begun), Arc::clone(&wait));
        Box::pin(async move {
            there.notify_one();
            wait.notified().await;
            Ok(done())
        })
    };
    let script = Script { apply: Box::new(apply), ..Script::applying(Ok(done())) };
    let few = Limits { connections: 4, ..limits() };
    let mut daemon = Daemon::with_limits(&scratch, script, few);
    let client = Client::new(&scratch.socket());
    let applying = tokio::spawn(async move { client.apply(&Apply { sources: vec![] }).await });
    timeout(PATIENCE, arrived.notified()).await.unwrap();
    let mut crowd = Vec::new();
    for _ in 0..20 {
        crowd.push(UnixStream::connect(scratch.socket()).await.unwrap());
    }
    let client = Client::new(&scratch.socket());
    assert_eq!(timeout(PATIENCE, client.status()).await.unwrap().unwrap(), busy());
    // Nor does the end of the daemon cut it off.
    daemon.stop();
    sleep(Duration::from_millis(50)).await;
    go_on.notify_one();
    assert_eq!(timeout(PATIENCE, applying).await.unwrap().unwrap().unwrap(), done());
    timeout(PATIENCE, daemon.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_apply_goes_on_when_its_client_hangs_up() {
    let scratch = Scratch::new();
    let finished = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&finished);
    let apply = move |_| -> futures_util::future::BoxFuture<'static, _> {
        let flag = Arc::clone(&flag);
        Box::pin(async move {
            sleep(Duration::from_millis(300)).await;
            flag.store(true, Ordering::Relaxed);
            Ok(done())
        })
    };
    let script = Script { apply: Box::new(apply), ..Script::applying(Ok(done())) };
    let _daemon = Daemon::with_limits(&scratch, script, limits());
    let mut stream = UnixStream::connect(scratch.socket()).await.unwrap();
    stream.write_all(post("{\"sources\":[]}").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    let ends = async {
        while !finished.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ends).await.expect("the apply was cut off");
}

#[tokio::test]
async fn a_mistake_of_the_daemon_is_an_answer_and_not_its_end() {
    let scratch = Scratch::new();
    let script = Script { apply: Box::new(|_| panic!("on purpose")), ..Script::applying(Ok(done())) };
    let _daemon = Daemon::with_limits(&scratch, script, limits());
    let client = Client::new(&scratch.socket());
    match client.apply(&Apply { sources: vec![] }).await {
        Err(Error::Refused(failure)) => assert_eq!(failure.kind, "failed"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.status().await.unwrap(), busy());
}
