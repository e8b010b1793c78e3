//! 1,000 members, two probes of each, every second.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use lb_ctl::health::schedule::Schedule;
use lb_ctl::health::{Health, ProbeKey, ProbeTarget, Prober};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::servers::{self, Manner};
use crate::{http_key, tcp_key};

const MEMBERS: u16 = 1_000;
const RUN: Duration = Duration::from_secs(6);
/// Probes may start this much later than they are due, a quarter of a round.
const BEHIND: Duration = Duration::from_millis(250);

/// The prober has this thread for itself, so that its share of a processor can be told; the
/// servers have another one. Run with `--nocapture` to see the figures.
#[test]
fn a_thousand_members_with_two_probes_each_are_probed_in_time() {
    let port = start_servers();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(probe_all(port));
}

/// One listener is a member at each address of 127.0.0.0/8.
fn start_servers() -> u16 {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
            sender.send(servers::address_of(&listener).port()).unwrap();
            servers::serve(listener, Manner::Says("HTTP/1.1 200 OK\r\n\r\n")).await;
        });
    });
    receiver.recv().unwrap()
}

async fn probe_all(port: u16) {
    let (sender, mut events) = mpsc::channel(16);
    let prober = Prober::start(sender);
    let keys: Vec<ProbeKey> = (0..MEMBERS).flat_map(|number| probes_of(number, port)).collect();
    let cpu_before = cpu_time();
    let before = Instant::now();
    prober.set_targets(keys.iter().map(|key| ProbeTarget { key: key.clone(), initial: None }).collect());
    let after = Instant::now();
    tokio::time::sleep(RUN).await;
    let lag = prober.lag();
    let end = Instant::now();
    let cpu = cpu_time().saturating_sub(cpu_before);
    println!("{lag:?}\n{cpu:?} of processor time in {:?}", before.elapsed());

    let due = |start, end| keys.iter().map(|key| due_between(key, start, end)).sum::<u64>();
    let (least, most) = (due(after, end.checked_sub(BEHIND).unwrap()), due(before, end));
    let started = lag.started + lag.missed;
    assert!((least..=most).contains(&started), "{started} of {least} to {most} probes");
    assert!(lag.missed * 100 <= least, "{} probes of {least} were left out", lag.missed);
    for (key, report) in prober.snapshot() {
        assert_eq!(report.health, Health::Up, "{key:?} {report:?}");
    }
    while let Ok(event) = events.try_recv() {
        assert_eq!(event.health, Health::Up, "{event:?}");
    }
}

fn probes_of(number: u16, port: u16) -> [ProbeKey; 2] {
    let [high, low] = number.to_be_bytes();
    let address = SocketAddrV4::new(Ipv4Addr::new(127, 1, high, low), port);
    let every_second =
        |key| ProbeKey { interval: Duration::from_secs(1), timeout: Duration::from_secs(1), ..key };
    [every_second(tcp_key(address)), every_second(http_key(address))]
}

/// Probes of a target added at `start` that are due by `end`.
fn due_between(key: &ProbeKey, start: Instant, end: Instant) -> u64 {
    let mut schedule = Schedule::starting(key, start);
    let mut count = 0;
    while schedule.due() <= end {
        schedule.advance(schedule.due());
        count += 1;
    }
    count
}

fn cpu_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}
