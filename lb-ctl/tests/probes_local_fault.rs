//! A prober that has run out of files. A test of its own process, whose limit it changes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

use std::time::Duration;

use lb_ctl::config::model::Check;
use lb_ctl::health::{Health, Outcome, ProbeKey, ProbeTarget, Prober, Report};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test]
async fn member_stays_up_while_this_host_cannot_probe() {
    // Nobody accepts: the kernel answers, and the server side needs no file.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = ProbeKey {
        address: [127, 0, 0, 1].into(),
        check: Check::Tcp,
        port: listener.local_addr().unwrap().port(),
        interval: INTERVAL,
        timeout: INTERVAL,
        threshold: 1,
    };
    let (sender, mut events) = mpsc::channel(1);
    let prober = Prober::start(sender);
    prober.set_targets(vec![ProbeTarget { key, initial: None }]);
    assert_eq!(events.recv().await.unwrap().health, Health::Up);

    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 1, hard).unwrap();
    let starved = wait_for(&prober, |report| report.local_failures >= 5).await;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();

    assert_eq!((starved.health, starved.failures), (Health::Up, 0), "{starved:?}");
    let (outcome, _) = starved.last.unwrap();
    assert_eq!(outcome.to_string(), "this host could not probe: Too many open files");
    wait_for(&prober, |report| report.last.unwrap().0 == Outcome::Connected).await;
    assert!(events.try_recv().is_err(), "no change was told");
}

async fn wait_for(prober: &Prober, condition: impl Fn(&Report) -> bool) -> Report {
    for _ in 0..400 {
        let (_, report) = prober.snapshot().pop().unwrap();
        if condition(&report) {
            return report;
        }
        tokio::time::sleep(INTERVAL).await;
    }
    panic!("waited in vain: {:?}", prober.snapshot());
}
