//! What goes wrong at the client, word for word, and the exit code that says whose fault it is.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::thread;

use lb_ctl::api::server::Refusal;

use crate::support::{Daemon, GOOD, Scratch, Script, done, err, lbctl, out, run};

#[tokio::test]
async fn bad_input_is_2_and_names_its_cure() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.path().join(name).display().to_string();
    scratch.file("bad.yaml", "version: 1\nrulez: []\n");
    scratch.file("latin.yaml", b"ab\xe9");
    fs::create_dir(scratch.path().join("empty")).unwrap();
    let report = format!(
        "{}:2:1: rulez: unknown key \"rulez\" (did you mean \"rules\"?)\n1 mistake; nothing was applied\n",
        at("bad.yaml")
    );
    let unreadable = format!("error: cannot read {}: No such file or directory (os error 2)\n", at("none"));
    let rows = [
        (vec!["validate", "-f", "bad.yaml"], report.clone()),
        // Said before a daemon is looked for.
        (vec!["apply", "-f", "bad.yaml"], report),
        (vec!["apply", "-f", "none"], unreadable.clone()),
        (vec!["validate", "-f", "none"], unreadable),
        (
            vec!["apply", "-f", "latin.yaml"],
            format!("error: {} is not UTF-8 text (byte 3); save it as UTF-8\n", at("latin.yaml")),
        ),
        (
            vec!["apply", "-f", "empty"],
            format!(
                "error: {} has no file that ends in .yaml, .yml or .json; name a file or another folder\n",
                at("empty")
            ),
        ),
    ];
    for (arguments, expected) in rows {
        let arguments = arguments.into_iter().map(|word| match word {
            "apply" | "validate" | "-f" => word.to_owned(),
            file => at(file),
        });
        let output = run(lbctl(arguments)).await;
        assert_eq!((output.status.code(), out(&output), err(&output)), (Some(2), String::new(), expected));
    }
}

#[tokio::test]
async fn a_wrong_command_line_is_2_and_shows_how_it_goes() {
    let rows: [(&[&str], &str); 9] = [
        (&[], "Usage: lbctl [OPTIONS] <COMMAND>"),
        (&["stauts"], "a similar subcommand exists: 'status'"),
        (&["apply"], "--file <FILE>"),
        (&["status", "-o", "xml"], "[possible values: table, json, yaml]"),
        (&["status", "--watch", "0"], "0.1 to 3600 seconds"),
        (&["status", "--watch", "NaN"], "0.1 to 3600 seconds"),
        (&["--instance", "../x", "status"], "a name has 1 to 64 letters, digits, - and _"),
        (&["serve", "--rules", "0"], "0 is not in 1..=1048576"),
        (&["serve", "--log-level", "lots=of=it"], "error: --log-level \"lots=of=it\" is no filter"),
    ];
    for (arguments, expected) in rows {
        let output = run(lbctl(arguments)).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
    }
}

#[tokio::test]
async fn without_a_daemon_it_is_3() {
    let scratch = Scratch::new();
    let socket = scratch.socket();
    let good = scratch.file("lb.yaml", GOOD).display().to_string();
    let expected = |cause: &str| {
        format!(
            "error: no daemon answers at {}: {cause}\n  \
             is `lbctl serve` running? start it, or name another one with --instance or --socket\n",
            socket.display()
        )
    };
    let missing = expected("No such file or directory (os error 2)");
    for arguments in [vec!["status"], vec!["status", "--watch"], vec!["apply", "-f", &good]] {
        let mut command = lbctl(arguments);
        command.env("LBCTL_SOCKET", &socket);
        let output = run(command).await;
        assert_eq!((output.status.code(), err(&output)), (Some(3), missing.clone()));
    }
    // What a killed daemon leaves behind.
    drop(UnixListener::bind(&socket).unwrap());
    let mut command = lbctl(["status"]);
    command.env("LBCTL_SOCKET", &socket);
    let output = run(command).await;
    let refused = expected("Connection refused (os error 111)");
    assert_eq!((output.status.code(), err(&output)), (Some(3), refused));
}

#[tokio::test]
async fn a_socket_of_root_is_3_and_says_sudo() {
    let scratch = Scratch::new();
    let _listener = UnixListener::bind(scratch.socket()).unwrap();
    fs::set_permissions(scratch.socket(), Permissions::from_mode(0o000)).unwrap();
    let mut command = lbctl(["status", "--socket"]);
    command.arg(scratch.socket());
    if nix::unistd::geteuid().is_root() {
        // Another user may not be able to reach the build's folder.
        let copy = scratch.path().join("lbctl");
        // By another process: one that this process forks meanwhile would hold a copy of ours open for
        // writing, and a file that is written to cannot be run (ETXTBSY).
        let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_lbctl")).arg(&copy).status();
        assert!(copied.unwrap().success());
        command = std::process::Command::new(copy);
        command
            .args(["status", "--socket"])
            .arg(scratch.socket())
            .env("NO_COLOR", "1")
            .uid(65_534)
            .gid(65_534);
    }
    let output = run(command).await;
    let expected = format!(
        "error: {} belongs to root: Permission denied (os error 13)\n  run this as root, for example with sudo\n",
        scratch.socket().display()
    );
    assert_eq!((output.status.code(), err(&output)), (Some(3), expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_refuses_is_passed_on_in_its_words() {
    let rows = [
        (Refusal::invalid("there is no interface \"c9\""), 2, "error: there is no interface \"c9\"\n"),
        (Refusal::failed("map lb_rules: full"), 1, "error: map lb_rules: full\n"),
    ];
    for (refusal, code, expected) in rows {
        let scratch = Scratch::new();
        let _daemon = Daemon::start(&scratch, Script::applying(Err(refusal)));
        let mut command = lbctl(["apply", "-f"]);
        command.arg(scratch.file("lb.yaml", GOOD)).arg("--socket").arg(scratch.socket());
        let output = run(command).await;
        assert_eq!((output.status.code(), err(&output)), (Some(code), expected.to_owned()));
    }
}

#[tokio::test]
async fn an_answer_that_is_none_is_1() {
    let html = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 4\r\n\r\noops";
    let other = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    let rows = [
        ("", "connection closed before message completed"),
        ("HELLO\r\n\r\n", "invalid HTTP version parsed"),
        (html, "HTTP 502 Bad Gateway"),
        (other, "missing field `instance` at line 1 column 2"),
    ];
    for (answer, cause) in rows {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.socket()).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(std::io::Read::read(&mut stream, &mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut command = lbctl(["status", "--socket"]);
        command.arg(scratch.socket());
        let output = run(command).await;
        server.join().unwrap();
        let expected = format!(
            "error: the answer from {} is not understood: {cause}\n  \
             is it the socket of an lbctl of this version? `lbctl version` compares\n",
            scratch.socket().display()
        );
        assert_eq!((output.status.code(), err(&output)), (Some(1), expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reading_is_no_panic() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    for arguments in [vec!["status"], vec!["version"], vec!["--help"], vec!["status", "--watch", "0.1"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lbctl(&arguments);
        command.env("LBCTL_SOCKET", scratch.socket()).stdout(Stdio::from(writer)).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        drop(command);
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{arguments:?}");
    }
    let mut command = lbctl(["status"]);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    command.env("LBCTL_SOCKET", scratch.socket()).stdout(full).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    let expected = "error: cannot write to standard output: No space left on device (os error 28)\n";
    assert_eq!((output.status.code(), err(&output)), (Some(1), expected.to_owned()));
}
