//! `lbctl status --watch` when nobody looks at a screen.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use lb_ctl::api::types::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::golden::busy;
use crate::support::{Daemon, Scratch, Script, done, lbctl};

#[tokio::test(flavor = "multi_thread")]
async fn it_writes_a_record_after_the_other_until_interrupted() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    let mut command = lbctl(["status", "-o", "json", "--watch", "0.1", "--socket"]);
    let mut child = command.arg(scratch.socket()).stdout(Stdio::piped()).spawn().unwrap();
    let watched = tokio::task::spawn_blocking(move || {
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.take(3) {
            assert_eq!(serde_json::from_str::<Status>(&line.unwrap()).unwrap(), busy());
        }
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
        child.wait().unwrap()
    });
    assert_eq!(watched.await.unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_when_its_reader_does() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    let mut command = lbctl(["status", "--watch", "0.1", "--socket"]);
    let mut child =
        command.arg(scratch.socket()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let watched = tokio::task::spawn_blocking(move || {
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "default: lbctl 0.1.0, up 3d4h, generation 3\n");
        child.wait_with_output().unwrap()
    });
    let output = watched.await.unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), vec![]));
}
