//! Daemons that do not start: why, and what to do. None of these touches the kernel.

use std::fs;

use nix::fcntl::{Flock, FlockArg};

use crate::support::{GOOD, Scratch, err, lbctl, out, run};

const RIGHTS: &str = "may not work on XDP programs here: missing CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON\n  \
    run it as root, or give it CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW, CAP_PERFMON (systemd: AmbientCapabilities=)\n";

/// `serve` with everything below the folder; as somebody without rights it never comes further
/// than saying so, which is right as well.
async fn refusal(scratch: &Scratch, more: &[&str]) -> (i32, String) {
    let mut command = lbctl(["serve", "--socket"]);
    command.arg(scratch.socket()).arg("--state-dir").arg(scratch.path().join("state"));
    command.arg("--pin-dir").arg(scratch.path().join("pins")).args(more);
    let output = run(command).await;
    assert_eq!(out(&output), "");
    (output.status.code().unwrap(), err(&output))
}

fn expected(as_root: String) -> (i32, String) {
    if nix::unistd::geteuid().is_root() { (2, as_root) } else { (2, format!("error: lbctl serve {RIGHTS}")) }
}

#[tokio::test]
async fn a_second_daemon_learns_who_the_first_is() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("lock"), "4711").unwrap();
    let file = fs::File::open(state.join("lock")).unwrap();
    let _held = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let message = format!(
        "error: instance default has a daemon already (process 4711, which holds {})\n  \
         stop that one first, or start this one as another instance: --instance NAME\n",
        state.display()
    );
    assert_eq!(refusal(&scratch, &[]).await, expected(message));
}

#[tokio::test]
async fn a_bad_configuration_is_reported_and_nothing_is_made() {
    let scratch = Scratch::new();
    let bad = scratch.file("lb.yaml", GOOD.replace("pool: web", "pool: wbe")).display().to_string();
    let message = format!(
        "{bad}:10:65: rules[0].pool: unknown pool \"wbe\" (did you mean \"web\"?)\n1 mistake; nothing was applied\n"
    );
    assert_eq!(refusal(&scratch, &["--config", &bad]).await, expected(message));
    assert!(!scratch.socket().exists() && !scratch.path().join("pins").exists());
}

#[tokio::test]
async fn a_place_that_cannot_be_used_is_named() {
    let scratch = Scratch::new();
    scratch.file("state", "a file where a folder should be");
    let message = format!(
        "error: cannot use {} as state directory: File exists (os error 17)\n  \
         make it writable, or name another with --state-dir\n",
        scratch.path().join("state").display()
    );
    assert_eq!(refusal(&scratch, &[]).await, expected(message));
    let scratch = Scratch::new();
    scratch.file("s", "precious");
    let message = format!(
        "error: cannot listen at {}: there is a file that is no socket, which stays untouched\n  \
         make its folder writable, or name another with --socket\n",
        scratch.socket().display()
    );
    assert_eq!(refusal(&scratch, &[]).await, expected(message));
    assert_eq!(fs::read_to_string(scratch.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn the_socket_of_another_daemon_is_not_taken() {
    let scratch = Scratch::new();
    let _other = std::os::unix::net::UnixListener::bind(scratch.socket()).unwrap();
    let message = format!(
        "error: another daemon answers at {}\n  stop that one first, or name another socket with --socket\n",
        scratch.socket().display()
    );
    assert_eq!(refusal(&scratch, &[]).await, expected(message));
    assert!(scratch.socket().exists());
}
