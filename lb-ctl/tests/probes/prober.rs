//! The prober as the daemon uses it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lb_ctl::health::{Event, Health, Outcome, ProbeKey, ProbeTarget, Prober, Report};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::servers::{self, Manner};
use crate::{http_key, tcp_key};

const PATIENCE: Duration = Duration::from_secs(20);

fn often(key: ProbeKey) -> ProbeKey {
    let interval = Duration::from_millis(100);
    ProbeKey { interval, timeout: interval, ..key }
}

fn new(key: &ProbeKey) -> ProbeTarget {
    ProbeTarget { key: key.clone(), initial: None }
}

fn start() -> (Prober, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(16);
    (Prober::start(sender), receiver)
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    timeout(PATIENCE, events.recv()).await.unwrap().unwrap()
}

fn report(prober: &Prober, key: &ProbeKey) -> Report {
    prober.snapshot().into_iter().find(|(probed, _)| probed == key).unwrap().1
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let polled = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, polled).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn member_comes_up_goes_down_and_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = servers::address_of(&listener);
    let server = tokio::spawn(servers::serve(listener, Manner::ClosesAtOnce));
    let key = often(tcp_key(address));
    let (prober, mut events) = start();
    prober.set_targets(vec![new(&key)]);

    let up = next(&mut events).await;
    assert_eq!((&up.key, up.health, up.outcome, up.first), (&key, Health::Up, Outcome::Connected, true));

    server.abort();
    let down = next(&mut events).await;
    assert_eq!((down.health, down.first), (Health::Down, false));
    assert!(down.at >= up.at);
    let known = report(&prober, &key);
    assert_eq!((known.health, known.since), (Health::Down, down.at));
    assert!(known.failures >= 2, "{known:?}");

    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(servers::serve(listener, Manner::ClosesAtOnce));
    assert_eq!(next(&mut events).await.health, Health::Up);
    prober.stop().await;
    assert_eq!(events.recv().await, None, "nothing is left that could send");
}

#[tokio::test]
async fn targets_that_stay_keep_their_state() {
    let stays = often(http_key(servers::start(Manner::Says("HTTP/1.1 200 OK\r\n\r\n")).await));
    let goes = often(tcp_key(servers::closed_port().await));
    let comes = often(http_key(servers::start(Manner::Says("HTTP/1.1 503 No\r\n\r\n")).await));
    let (prober, mut events) = start();
    prober.set_targets(vec![new(&stays), new(&goes), new(&stays)]);
    for _ in 0..2 {
        assert!(next(&mut events).await.first);
    }
    let before = report(&prober, &stays);

    prober.set_targets(vec![new(&comes), new(&stays)]);
    let event = next(&mut events).await;
    assert_eq!((&event.key, event.outcome), (&comes, Outcome::Answered(503)));
    wait_until("probes go on", || report(&prober, &stays).probes > before.probes + 2).await;
    let after = report(&prober, &stays);
    assert_eq!((after.health, after.since), (Health::Up, before.since));
    assert_eq!(prober.snapshot().len(), 2, "what is gone is gone");
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn member_taken_over_as_up_is_up_until_the_threshold() {
    let key = ProbeKey { threshold: 3, ..often(tcp_key(servers::closed_port().await)) };
    let (prober, mut events) = start();
    prober.set_targets(vec![ProbeTarget { key: key.clone(), initial: Some(Health::Up) }]);
    assert_eq!(report(&prober, &key).health, Health::Up);
    wait_until("a first failure", || report(&prober, &key).probes > 0).await;
    let event = next(&mut events).await;
    assert_eq!((event.health, event.outcome, event.first), (Health::Down, Outcome::Refused, false));
    assert!(report(&prober, &key).failures >= 3);
}

/// S-RULE-8.
#[tokio::test]
async fn two_probes_of_one_port_live_beside_each_other() {
    let address = servers::start(Manner::Says("HTTP/1.1 404 Not Found\r\n\r\n")).await;
    let (tcp, http) = (often(tcp_key(address)), often(http_key(address)));
    let (prober, mut events) = start();
    prober.set_targets(vec![new(&tcp), new(&http)]);
    for _ in 0..2 {
        let event = next(&mut events).await;
        let expected = if event.key == tcp { Health::Up } else { Health::Down };
        assert_eq!(event.health, expected, "{:?}", event.key);
    }
}

/// The receiver sleeps while each of 100 members changes; when it wakes, it learns of every one.
#[tokio::test]
async fn slow_receiver_loses_no_state() {
    let port = servers::closed_port().await.port();
    let member = |number: u8| SocketAddrV4::new(Ipv4Addr::new(127, 0, 2, number), port);
    let keys: Vec<ProbeKey> = (1..=100).map(|number| often(tcp_key(member(number)))).collect();
    let (sender, mut events) = mpsc::channel(1);
    let prober = Prober::start(sender);
    prober.set_targets(keys.iter().map(new).collect());
    let all_are = |health| prober.snapshot().iter().all(|(_, report)| report.health == health);
    wait_until("all down", || all_are(Health::Down)).await;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.unwrap();
    tokio::spawn(servers::serve(listener, Manner::ClosesAtOnce));
    wait_until("all up", || all_are(Health::Up)).await;

    let mut told = std::collections::HashMap::new();
    while told.len() < keys.len() || told.values().any(|health| *health != Health::Up) {
        let event = next(&mut events).await;
        told.insert(event.key, event.health);
    }
}

#[tokio::test]
async fn removed_target_is_probed_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = often(tcp_key(servers::address_of(&listener)));
    let accepted = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (prober, mut events) = start();
    prober.set_targets(vec![new(&key)]);
    assert_eq!(next(&mut events).await.health, Health::Up);
    prober.set_targets(Vec::new());
    assert!(prober.snapshot().is_empty());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = accepted.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(accepted.load(Ordering::Relaxed), before);
}
