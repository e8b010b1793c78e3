//! The lab without a load balancer: what the other tests stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddrV4,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    client::{Fault, burst::Burst, consistency::Load, dns, http, udp},
    counters,
    frames::{self, ACK, Capture, Flood, Packet, Passing, Pattern, Payload, SYN, Sender},
    lab::{self, Backend, CLIENT, CLIENT_LINK, HOST_LINK, Lab, SPOOFED, Topology},
    server::{Args, Kind, Server, UdpServer},
};

const PORT: u16 = 8080;
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn the_kernel_forwards_with_full_checksums() {
    let started = Instant::now();
    let lab = Lab::new("self-forward", Topology::default()).unwrap();
    println!("built in {:?}", started.elapsed());
    let mut servers: Vec<_> =
        lab.backends().iter().map(|b| Server::http(b.netns(), b.name(), PORT).unwrap()).collect();
    for backend in lab.backends() {
        let started = Instant::now();
        assert_eq!(http::get(lab.client(), backend.socket(PORT), "/").unwrap().text(), backend.name());
        assert!(
            started.elapsed() < Duration::from_millis(900),
            "a first frame was lost: {:?}",
            started.elapsed()
        );
    }
    let backend = &lab.backends()[0];
    servers[0].set_healthy(false);
    assert_eq!(http::get(lab.client(), backend.socket(PORT), "/healthz").unwrap().status, 503);
    let started = Instant::now();
    http::Download::start(lab.client(), backend.socket(PORT), 200_000_000, None).unwrap().finish().unwrap();
    println!("200 MB down in {:?}", started.elapsed());
    http::upload(lab.client(), backend.socket(PORT), 20_000_000).unwrap();

    let open =
        http::Download::start(lab.client(), backend.socket(PORT), 200_000_000, Some(1_000_000)).unwrap();
    servers[0].pause().unwrap();
    assert!(http::get(lab.client(), backend.socket(PORT), "/").is_err(), "a paused server still listens");
    let before = open.received();
    thread::sleep(Duration::from_millis(300));
    assert!(open.is_running() && open.received() > before, "a pause ended an open download");
    servers[0].stop().unwrap();
    let end = format!("{:#}", open.finish().unwrap_err());
    assert!(end.contains("reset"), "the connection of a stopped server was not reset: {end}");
    servers[0].start().unwrap();
    assert_eq!(http::get(lab.client(), backend.socket(PORT), "/").unwrap().text(), "b1");
    assert_no_checksum_errors(&lab);
}

#[test]
fn short_connections_and_datagrams_are_counted_by_server() {
    let lab = Lab::new("self-burst", Topology::default()).unwrap();
    let backend = &lab.backends()[1];
    let mut echo = Server::echo(backend.netns(), backend.name(), PORT).unwrap();
    let started = Instant::now();
    let report = Burst::new(backend.socket(PORT), 10_000).run(lab.client()).unwrap();
    println!("10,000 connections in {:?}", started.elapsed());
    assert_eq!(report.succeeded_within(PATIENCE), 10_000, "{:?}", report.failures().next());
    assert_eq!(report.by_server().into_iter().collect::<Vec<_>>(), [("b2", 10_000)]);
    echo.stop().unwrap();
    let report = Burst::new(backend.socket(PORT), 10).run(lab.client()).unwrap();
    assert_eq!(report.failures().count(), 10);

    let mut server = UdpServer::new(backend.netns(), backend.name(), PORT).unwrap();
    let answers = udp::ask_many(lab.client(), CLIENT, backend.socket(PORT), 100, PATIENCE).unwrap();
    assert_eq!(answers, vec![Some("b2".to_owned()); 100]);
    let flow = udp::Flow::new(lab.client(), SocketAddrV4::new(CLIENT, 0), backend.socket(PORT)).unwrap();
    server.stop().unwrap();
    assert_eq!(flow.ask("x", PATIENCE).unwrap(), None);
    assert_no_checksum_errors(&lab);
}

#[test]
fn connections_that_keep_their_server_do_not_break_and_others_do() {
    let lab = Lab::new("self-consist", Topology::default()).unwrap();
    let backend = &lab.backends()[0];
    let mut server = Server::echo(backend.netns(), backend.name(), PORT).unwrap();
    let load = Load {
        pausing: 20,
        half_closed: 20,
        same_port: 60,
        interval: Duration::from_millis(100),
        pause: Duration::from_secs(1),
        ..Load::new(backend.socket(PORT), 400)
    };
    let running = load.clone().start(lab.client());
    running.wait_until_open(PATIENCE).unwrap();
    thread::sleep(Duration::from_secs(5));
    let log = running.log();
    assert!(log.breaks.is_empty(), "{} breaks, first {:?}", log.breaks.len(), log.breaks[0]);
    assert!(log.exchanges > 400 * 25, "only {} exchanges", log.exchanges);
    assert_same_ports_are_used_again(&log, &load);

    server.stop().unwrap();
    thread::sleep(Duration::from_millis(500));
    server.start().unwrap();
    running.wait_until_open(PATIENCE).unwrap();
    let log = running.finish().unwrap();
    let broken: BTreeSet<usize> =
        log.breaks.iter().filter(|broken| broken.server.is_some()).map(|broken| broken.connection).collect();
    assert!(broken.len() > 450, "a stopped server broke only {} connections", broken.len());
    assert!(
        log.breaks
            .iter()
            .all(|broken| matches!(broken.fault, Fault::Broken(_) | Fault::NotOpened(_) | Fault::Ended)),
        "{:?}",
        log.breaks
    );
}

/// The server behind an address changes its name: the client must notice.
#[test]
fn another_name_on_a_connection_is_a_break() {
    let lab = Lab::new("self-name", Topology { backends: 1, ..Topology::default() }).unwrap();
    let backend = &lab.backends()[0];
    // A server that lies: it answers what it is asked, under a name that changes.
    let listener = backend.netns().run(|| Ok(std::net::TcpListener::bind(("0.0.0.0", PORT))?)).unwrap();
    let liar = thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        let (stream, _) = listener.accept().unwrap();
        for (name, line) in ["b1", "b1", "b2"].into_iter().zip(std::io::BufReader::new(&stream).lines()) {
            writeln!(&stream, "{name} {}", line.unwrap()).unwrap();
        }
    });
    let running = Load { interval: Duration::from_millis(20), ..Load::new(backend.socket(PORT), 1) }
        .start(lab.client());
    liar.join().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while running.log().breaks.is_empty() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let log = running.finish().unwrap();
    assert_eq!(log.breaks[0].fault, Fault::OtherServer { before: "b1".into(), now: "b2".into() });
}

#[test]
fn a_real_name_server_answers_a_real_client() {
    let lab = Lab::new("self-dns", Topology::default()).unwrap();
    let backend = &lab.backends()[2];
    let _server = dns::serve(&lab, backend, 5353).unwrap();
    assert_eq!(dns::query(lab.client(), backend.socket(5353), false).unwrap(), "b3");
    assert_eq!(dns::query(lab.client(), backend.socket(5353), true).unwrap(), "b3");
    assert_no_checksum_errors(&lab);
}

#[test]
fn frames_arrive_as_sent_and_invented_sources_are_not_answered() {
    let lab = Lab::new("self-frames", Topology::default()).unwrap();
    let backend = &lab.backends()[0];
    let _server = Server::echo(backend.netns(), backend.name(), PORT).unwrap();
    let from_backend = Capture::start(lab.client(), HOST_LINK, |_| true).unwrap();
    let at_backend = Capture::start(backend.netns(), HOST_LINK, |_| true).unwrap();
    let syn = frames::segment(SocketAddrV4::new(SPOOFED.0, 4000), backend.socket(PORT), SYN, 1000, 0);
    Sender::from_client(&lab).unwrap().send(&syn).unwrap();

    let answers = from_backend.finish(1, PATIENCE).unwrap();
    let answer = answers[0].packet().unwrap();
    assert_eq!((answer.source, answer.destination), (syn.destination, syn.source));
    assert!(
        matches!(answer.payload, Payload::Tcp { flags, ack: 1001, .. } if flags == SYN | ACK),
        "{answer:?}"
    );
    let arrived = at_backend.finish(2, Duration::from_millis(500)).unwrap();
    // The SYN, one hop later, and no reset of anybody.
    assert_eq!(
        arrived.iter().map(|frame| frame.packet().unwrap()).collect::<Vec<_>>(),
        [Packet { ttl: 63, ..syn }]
    );
}

#[test]
fn floods_keep_their_rate_and_their_checksums() {
    const FRAMES: u64 = 100_000;
    const RATE: u32 = 50_000;
    let lab = Lab::new("self-flood", Topology::default()).unwrap();
    let backend = &lab.backends()[0];
    let _server = Server::echo(backend.netns(), backend.name(), PORT).unwrap();
    let passing = Passing::attach(lab.balancer(), CLIENT_LINK).unwrap();
    let sources = vec![SocketAddrV4::new(CLIENT, 20_000), SocketAddrV4::new(CLIENT, 20_001)];
    for pattern in [
        Pattern::Syns,
        Pattern::DoubledSyns,
        Pattern::SynAckPairs,
        Pattern::DoubledAcks,
        Pattern::SynsFrom(sources),
        Pattern::Udp,
    ] {
        let before = received(backend);
        let flood = Flood {
            pattern: pattern.clone(),
            target: backend.socket(PORT),
            frames: FRAMES,
            rate: RATE,
            seed: 1,
        };
        let sent = flood.start(&lab).unwrap().wait().unwrap();
        let wanted = Duration::from_secs(FRAMES / u64::from(RATE));
        println!("{pattern:.20?}: {} frames in {:?}", sent.frames, sent.took);
        assert_eq!(sent.frames, FRAMES);
        assert!(sent.took > wanted.mul_f64(0.95) && sent.took < wanted.mul_f64(3.0), "{sent:?}");
        let arrived = received(backend) - before;
        assert!(arrived >= FRAMES * 99 / 100, "{pattern:?}: {arrived} of {FRAMES} arrived");
        assert_no_checksum_errors(&lab);
    }
    let report = Burst::new(backend.socket(PORT), 100).run(lab.client()).unwrap();
    assert_eq!(report.succeeded_within(PATIENCE), 100);
    assert!(lab::statistics(lab.balancer(), CLIENT_LINK).unwrap().contains_key("rx_queue_0_xdp_tx_errors"));

    drop(passing);
    let flood =
        Flood { pattern: Pattern::Syns, target: backend.socket(PORT), frames: 100, rate: RATE, seed: 1 };
    let error = flood.start(&lab).unwrap().wait().unwrap_err().to_string();
    assert!(error.contains("takes no frames"), "{error}");
}

/// The lab counts wrong checksums, and its hosts make right ones themselves: both have to be so,
/// else "no checksum errors" would say nothing about a load balancer.
#[test]
fn checksums_are_made_by_hosts_and_verified_by_hosts() {
    let lab = Lab::new("self-checksum", Topology::default()).unwrap();
    let backend = &lab.backends()[0];
    let _server = Server::echo(backend.netns(), backend.name(), PORT).unwrap();
    let at_backend = Capture::start(backend.netns(), HOST_LINK, |_| true).unwrap();
    let at_client = Capture::start(lab.client(), HOST_LINK, |_| true).unwrap();
    assert_eq!(Burst::new(backend.socket(PORT), 1).run(lab.client()).unwrap().succeeded_within(PATIENCE), 1);
    // SYN, ACK and request one way, SYN-ACK and answer the other.
    for frames in [at_backend.finish(3, PATIENCE).unwrap(), at_client.finish(2, PATIENCE).unwrap()] {
        assert!(frames.len() >= 2);
        assert!(frames.iter().all(|frame| !frame.made_by_kernel && frame.packet().is_ok()), "{frames:?}");
    }

    let sender = Sender::from_client(&lab).unwrap();
    let link = frames::Link { from: lab.client_mac(), to: lab.gateway_mac() };
    let mut frame =
        frames::segment(SocketAddrV4::new(CLIENT, 4000), backend.socket(PORT), SYN, 1, 0).to_frame(link);
    *frame.last_mut().unwrap() ^= 1;
    sender.send_raw(&frame).unwrap();
    wait_for(|| (counters::checksum_errors(backend.netns()).unwrap() == 1).then_some(()));
}

fn received(backend: &Backend) -> u64 {
    counters::snmp(backend.netns()).unwrap()["Ip.InReceives"]
}

#[test]
fn servers_run_as_processes_too() {
    let lab = Lab::new("self-process", Topology { backends: 1, ..Topology::default() }).unwrap();
    let backend = &lab.backends()[0];
    let start = |kind, port| {
        let args = Args { kind, name: backend.name().into(), listen: backend.socket(port) };
        let mut command = backend.netns().command(env!("CARGO_BIN_EXE_lab-server"));
        command.args(args.to_args());
        lab.spawn(&format!("server-{kind:?}"), command).unwrap()
    };
    let http_server = start(Kind::Http, 8080);
    let _others = [start(Kind::Echo, 8081), start(Kind::Udp, 8082)];
    wait_for(|| http::get(lab.client(), backend.socket(8080), "/").ok());
    let answers = http::distribution(lab.client(), backend.socket(8080), 100).unwrap();
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [("b1".to_owned(), 100)]);
    wait_for(|| {
        Burst::new(backend.socket(8081), 1).run(lab.client()).unwrap().by_server().get("b1").copied()
    });
    let ask = || udp::ask_many(lab.client(), CLIENT, backend.socket(8082), 1, Duration::from_millis(100));
    wait_for(|| ask().unwrap().remove(0).filter(|name| name == "b1"));
    http_server.stop(PATIENCE).unwrap();
    assert!(http::get(lab.client(), backend.socket(8080), "/").is_err());
}

#[test]
fn teardown_leaves_nothing() {
    let lab = Lab::new("self-teardown", Topology::default()).unwrap();
    let mut sleep = lab.client().command("sleep");
    sleep.arg("1000");
    let process = lab.spawn("sleep", sleep).unwrap();
    let id = process.id();
    assert_eq!(namespaces_of("self-teardown").len(), 5);
    fs::create_dir_all(lab.pin_dir()).unwrap();
    let (dir, pins) = (lab.dir().to_owned(), lab.pin_dir());
    lab.teardown().unwrap();
    assert!(namespaces_of("self-teardown").is_empty() && !dir.exists() && !pins.exists());
    assert!(!Path::new("/proc").join(id.to_string()).exists(), "a process of the lab lives");
    assert!(!process.exit_status().unwrap().unwrap().success());
}

#[test]
fn a_name_is_given_once_and_free_after_a_panic() {
    let lab = Lab::new("self-once", Topology::default()).unwrap();
    let error = Lab::new("self-once", Topology::default()).err().unwrap().to_string();
    assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
    let panicked = thread::spawn(move || {
        let _lab = lab;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    Lab::new("self-once", Topology::default()).unwrap();
    assert!(Lab::new("Not/a name", Topology::default()).is_err());
}

const KILLED: &str = "self-killed";

#[test]
#[ignore = "the other process of a_killed_run_is_cleaned, which starts it"]
fn holds_a_lab_until_killed() {
    let lab = Lab::new(KILLED, Topology::default()).unwrap();
    let mut sleep = lab.client().command("sleep");
    sleep.arg("1000");
    let process = lab.spawn("sleep", sleep).unwrap();
    fs::create_dir_all(lab.pin_dir()).unwrap();
    fs::write(lab.dir().join("ready"), process.id().to_string()).unwrap();
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn a_killed_run_is_cleaned() {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_a_lab_until_killed"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ready = Path::new("/run/lb-lab").join(KILLED).join("ready");
    let child = wait_for(|| fs::read_to_string(&ready).ok().filter(|id| !id.is_empty()));
    assert!(!lab::clean_leftovers().unwrap().contains(&KILLED.to_owned()), "a lab in use was cleaned");
    holder.kill().unwrap();
    holder.wait().unwrap();
    wait_for(|| (!Path::new("/proc").join(&child).exists()).then_some(()));
    assert_eq!(namespaces_of(KILLED).len(), 5);
    // Another test may have cleaned in between; what counts is that it is gone.
    lab::clean_leftovers().unwrap();
    assert!(namespaces_of(KILLED).is_empty());
    assert!(!Path::new("/run/lb-lab").join(KILLED).exists());
    assert!(!Path::new("/sys/fs/bpf/lb-lab-self-killed").exists());
}

fn wait_for<T>(what: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

fn namespaces_of(lab: &str) -> Vec<String> {
    let names =
        fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(&format!("lb-{lab}-"))).collect()
}

fn assert_no_checksum_errors(lab: &Lab) {
    for netns in lab.backends().iter().map(Backend::netns).chain([lab.client(), lab.balancer()]) {
        assert_eq!(counters::checksum_errors(netns).unwrap(), 0, "{}", netns.name());
    }
}

fn assert_same_ports_are_used_again(log: &lb_tests::client::consistency::Log, load: &Load) {
    let first = load.connections() - load.same_port;
    let lives: Vec<_> = log.opened.iter().filter(|opened| opened.connection >= first).collect();
    let ports: BTreeSet<_> = lives.iter().map(|opened| opened.local).collect();
    assert_eq!(ports.len(), load.same_port, "every one keeps its port");
    assert!(lives.len() > load.same_port * 2, "only {} lives of {} connections", lives.len(), load.same_port);
}
