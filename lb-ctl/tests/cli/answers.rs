//! What good commands print.

use std::fs;
use std::path::Path;

use lb_ctl::api::types::{Applied, Apply, Source, Status};
use lb_ctl::cli::{View, render};

use crate::golden::busy;
use crate::support::{Daemon, GOOD, Scratch, Script, done, err, lbctl, out, run};

#[tokio::test(flavor = "multi_thread")]
async fn status_in_three_forms() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    for format in ["table", "json", "yaml"] {
        let mut command = lbctl(["status", "-o", format]);
        let output = run({
            command.env("LBCTL_SOCKET", scratch.socket());
            command
        })
        .await;
        assert_eq!((output.status.code(), err(&output)), (Some(0), String::new()), "{format}");
        let text = out(&output);
        match format {
            "table" => assert_eq!(text, render(&busy(), View { colours: false, width: None })),
            "json" => assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), busy()),
            _ => assert_eq!(serde_yaml::from_str::<Status>(&text).unwrap(), busy()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_sends_every_source_and_says_what_changed() {
    let scratch = Scratch::new();
    let (one, two) = GOOD.split_once("rules:").unwrap();
    let first = scratch.file("a.yaml", one);
    let second = scratch.file("b.yaml", format!("rules:{two}"));
    let source =
        |path: &Path| Source { name: path.display().to_string(), text: fs::read_to_string(path).unwrap() };
    let expected = [source(&first), source(&second)];
    let script = Script {
        apply: Box::new(move |Apply { sources }| {
            assert_eq!(sources, expected);
            let warnings = vec!["rule dns: closed".to_owned()];
            Box::pin(async { Ok(Applied { warnings, ..done() }) })
        }),
        ..Script::applying(Ok(done()))
    };
    let _daemon = Daemon::start(&scratch, script);
    let mut command = lbctl(["apply", "-f"]);
    command.arg(&first).arg("-f").arg(&second).arg("--socket").arg(scratch.socket());
    let output = run(command).await;
    assert_eq!((output.status.code(), err(&output)), (Some(0), "warning: rule dns: closed\n".to_owned()));
    assert_eq!(out(&output), "in force as generation 1 after 1.5 ms\n  rule http: added\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_in_a_form_for_programs() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    let mut command = lbctl(["apply", "-o", "json", "-f"]);
    command.arg(scratch.file("lb.yaml", GOOD)).arg("--socket").arg(scratch.socket());
    let output = run(command).await;
    assert_eq!(serde_json::from_str::<Applied>(&out(&output)).unwrap(), done());
}

#[tokio::test(flavor = "multi_thread")]
async fn version_of_both_and_that_they_differ() {
    let scratch = Scratch::new();
    let _daemon = Daemon::start(&scratch, Script::applying(Ok(done())));
    let mut command = lbctl(["version"]);
    command.arg("--socket").arg(scratch.socket());
    let output = run(command).await;
    let abi = lb_common::abi::ABI_VERSION;
    let expected = format!(
        "client  {} (maps: ABI {abi})\n\
         daemon  0.0.9 (maps: ABI 7), instance default, process 4711\n\
         they differ: stop the daemon and start lbctl serve of this version; traffic goes on meanwhile\n",
        env!("CARGO_PKG_VERSION"),
    );
    assert_eq!((output.status.code(), out(&output)), (Some(0), expected));
}

#[tokio::test]
async fn validate_needs_no_daemon_reads_standard_input_and_warns() {
    let scratch = Scratch::new();
    let file = scratch.file("lb.yaml", GOOD.replace(", access: [{ allow: 0.0.0.0/0 }]", ""));
    let mut command = lbctl(["validate", "-f", "-"]);
    command.stdin(std::fs::File::open(file).unwrap());
    let output = run(command).await;
    let warning = "warning: rule http: closed, because it has no access list; nobody can use it\n".to_owned();
    assert_eq!((output.status.code(), err(&output)), (Some(0), warning));
    assert_eq!(out(&output), "-: valid: 1 rule, 1 frontend, 1 pool, 2 backends, 0 probes\n");
}

#[tokio::test]
async fn validate_writes_the_configuration_with_its_defaults_and_that_is_valid_too() {
    let scratch = Scratch::new();
    let mut command = lbctl(["validate", "-o", "yaml", "-f"]);
    command.arg(scratch.file("lb.yaml", GOOD));
    let full = out(&run(command).await);
    assert!(full.contains("transition: 2h15m"), "{full}");
    let mut command = lbctl(["validate", "-o", "yaml", "-f"]);
    command.arg(scratch.file("full.yaml", &full));
    assert_eq!(out(&run(command).await), full);
}
