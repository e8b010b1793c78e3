//! What passes through the balancer arrives as it was sent: real protocols, long transfers, full-size
//! frames, headers as a router leaves them, and traffic of the same hosts that is not balanced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::client::consistency::Load;
use lb_tests::client::{dns, http, talk::Talk, udp};
use lb_tests::counters;
use lb_tests::frames::{ACK, Capture, Captured, Link, PSH, Packet, Payload, SYN, Sender, datagram};
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{Backend, CLIENT, FRONTEND, HOST_LINK, Lab, NetNs, Topology};
use lb_tests::server::{Server, UdpServer};

const PATIENCE: Duration = Duration::from_secs(5);
const ANY: SocketAddrV4 = SocketAddrV4::new(CLIENT, 0);
const LINE: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 81);
const DATAGRAMS: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 82);
const DNS: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 53);
const TRANSFER: u64 = 200_000_000;
/// Of a frame: Ethernet header, and an IP packet of the usual MTU.
const FULL_FRAME: usize = 14 + 1500;

/// Three backends and a daemon; each test adds the servers that it needs.
struct World {
    instance: Instance,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        let world = Self { instance, lab };
        world.apply(["none"; 3]);
        world
    }

    /// Rules without probes; `states` are the admin states of the members.
    fn apply(&self, states: [&str; 3]) {
        let backends = (self.lab.backends().iter().zip(states)).map(|(b, state)| {
            format!("{{ name: {}, address: {}, adminState: {state} }}, ", b.name(), b.address())
        });
        let rules =
            [("tcp", 80, 8080), ("tcp", 81, 8081), ("udp", 82, 8082), ("udp", 53, 5353), ("tcp", 53, 5353)];
        let rules = rules.map(|(protocol, port, to)| {
            format!(
                "  - {{ name: {protocol}-{port}, frontend: f, protocol: {protocol}, port: {port}, pool: p, \
                 backendPort: {to}, access: [{{ allow: 0.0.0.0/0 }}] }}\n"
            )
        });
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, backends: [{}] }}]\nrules:\n{}",
            backends.collect::<String>(),
            rules.concat()
        );
        self.instance.apply(&text).unwrap();
    }

    fn each<T>(&self, server: impl Fn(&NetNs, &str) -> anyhow::Result<T>) -> Vec<T> {
        self.lab.backends().iter().map(|b| server(b.netns(), b.name()).unwrap()).collect()
    }

    fn assert_no_checksum_errors(&self) {
        let hosts = [self.lab.client(), self.lab.balancer()].into_iter();
        for host in hosts.chain(self.lab.backends().iter().map(Backend::netns)) {
            assert_eq!(counters::checksum_errors(host).unwrap(), 0, "{}: a wrong checksum", host.name());
        }
    }

    /// Captures what all backends receive for this port.
    fn listen(&self, port: u16) -> Vec<Capture> {
        self.each(|netns, _| Capture::start(netns, HOST_LINK, move |frame| to_port(frame, port)))
    }

    /// Captures what the client receives from this port.
    fn listen_at_client(&self, port: u16) -> Capture {
        Capture::start(self.lab.client(), HOST_LINK, move |frame| {
            frame.get(34..36) == Some(&port.to_be_bytes()[..])
        })
        .unwrap()
    }
}

/// The destination port lies there, as no frame of this lab has IPv4 options.
fn to_port(frame: &[u8], port: u16) -> bool {
    frame.get(36..38) == Some(&port.to_be_bytes()[..])
}

/// The one frame that one of the backends got, and which backend that was.
fn the_one(captures: Vec<Capture>) -> (usize, Captured) {
    let deadline = Instant::now() + PATIENCE;
    while captures.iter().all(Capture::is_empty) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    let frames = captures.into_iter().map(|capture| capture.finish(0, Duration::ZERO).unwrap());
    let mut found: Vec<_> =
        frames.enumerate().flat_map(|(n, frames)| frames.into_iter().map(move |f| (n, f))).collect();
    assert_eq!(found.len(), 1, "frames at the backends: {found:?}");
    found.remove(0)
}

/// One port of a frontend for both protocols (S-FE-7).
#[test]
fn dns_over_udp_and_tcp() {
    let world = World::new("tr-dns");
    let _servers: Vec<_> =
        world.lab.backends().iter().map(|backend| dns::serve(&world.lab, backend, 5353).unwrap()).collect();
    for tcp in [false, true] {
        let mut answers = BTreeMap::new();
        for _ in 0..30 {
            *answers.entry(dns::query(world.lab.client(), DNS, tcp).unwrap()).or_insert(0) += 1;
        }
        let names: Vec<_> = answers.keys().map(String::as_str).collect();
        assert_eq!(names, ["b1", "b2", "b3"], "tcp: {tcp}, {answers:?}");
    }
    world.assert_no_checksum_errors();
}

#[test]
fn two_hundred_megabytes_each_way() {
    let world = World::new("tr-bulk");
    let _servers = world.each(|netns, name| Server::http(netns, name, 8081));
    let started = Instant::now();
    http::Download::start(world.lab.client(), WEB, TRANSFER, None).unwrap().finish().unwrap();
    eprintln!("200 MB down in {:.1?}", started.elapsed());
    let started = Instant::now();
    http::upload(world.lab.client(), WEB, TRANSFER).unwrap();
    eprintln!("200 MB up in {:.1?}", started.elapsed());
    world.assert_no_checksum_errors();
}

/// S-DIST-19.
#[test]
fn backends_see_the_clients_own_address_and_port() {
    let world = World::new("tr-source");
    let _servers = world.each(|netns, name| Server::echo(netns, name, 8080));
    let (at_backends, at_client) = (world.listen(8080), world.listen_at_client(80));
    let mut expected = BTreeSet::new();
    for from in world.lab.client_addresses().take(2) {
        for number in 0..20 {
            let local = SocketAddrV4::new(from, 0);
            let mut talk = Talk::open(world.lab.client(), local, LINE, PATIENCE).unwrap();
            talk.ask(&number.to_string(), PATIENCE).unwrap();
            expected.insert(talk.local().unwrap());
        }
    }
    let mut opened = BTreeSet::new();
    for (capture, backend) in at_backends.into_iter().zip(world.lab.backends()) {
        for captured in capture.finish(1, PATIENCE).unwrap() {
            let packet = captured.packet().unwrap();
            assert_eq!(packet.destination, backend.socket(8080));
            assert_eq!(packet.ttl, 63, "the client's 64, less one: {packet:?}");
            if matches!(packet.payload, Payload::Tcp { flags: SYN, .. }) {
                opened.insert(packet.source);
            }
        }
    }
    assert_eq!(opened, expected);
    for captured in at_client.finish(120, PATIENCE).unwrap() {
        let packet = captured.packet().unwrap();
        assert_eq!((packet.source, packet.ttl), (LINE, 63), "{packet:?}");
        assert!(expected.contains(&packet.destination), "{packet:?}");
    }
}

#[test]
fn full_size_frames_both_ways() {
    let world = World::new("tr-mtu");
    let client = SocketAddrV4::new(CLIENT, 40_000);
    let sender = Sender::from_client(&world.lab).unwrap();
    let noise = |len| std::iter::repeat_with(|| fastrand::u8(..)).take(len).collect::<Vec<_>>();
    let (tcp, udp) = (noise(1460), noise(1472));
    // To the member: nobody listens there, what arrives is all that counts.
    let cases = [
        (8080, LINE, Payload::Tcp { flags: ACK | PSH, seq: 1, ack: 2, data: tcp }),
        (8082, DATAGRAMS, Payload::Udp { data: udp }),
    ];
    for (port, frontend, payload) in cases {
        let captures = world.listen(port);
        let sent = Packet { source: client, destination: frontend, ttl: 64, payload: payload.clone() };
        sender.send(&sent).unwrap();
        let (member, captured) = the_one(captures);
        let backend = &world.lab.backends()[member];
        assert_eq!(captured.frame.len(), FULL_FRAME);
        let expected = Packet { destination: backend.socket(port), ttl: 63, ..sent };
        assert_eq!(captured.packet().unwrap(), expected, "what the member got");

        let at_client = world.listen_at_client(frontend.port());
        let reply = Packet { source: backend.socket(port), destination: client, ttl: 64, payload };
        from_backend(backend).send(&reply).unwrap();
        let captured = at_client.finish(1, PATIENCE).unwrap();
        let full: Vec<_> = captured.iter().filter(|captured| captured.frame.len() == FULL_FRAME).collect();
        assert_eq!(full.len(), 1, "{captured:?}");
        let expected = Packet { source: frontend, ttl: 63, ..reply };
        assert_eq!(full[0].packet().unwrap(), expected, "what the client got");
    }
}

/// RFC 768: zero says that there is none, and there is still none behind us.
#[test]
fn udp_without_checksum_stays_without() {
    let world = World::new("tr-nosum");
    let client = SocketAddrV4::new(CLIENT, 40_000);
    let captures = world.listen(8082);
    let sent = datagram(client, DATAGRAMS, b"no checksum");
    let link = Link { from: world.lab.client_mac(), to: world.lab.gateway_mac() };
    Sender::from_client(&world.lab).unwrap().send_raw(&without_checksum(&sent, link)).unwrap();
    let (member, captured) = the_one(captures);
    let backend = &world.lab.backends()[member];
    assert_eq!(captured.frame[40..42], [0, 0]);
    let expected = Packet { destination: backend.socket(8082), ttl: 63, ..sent };
    assert_eq!(captured.packet().unwrap(), expected);

    let at_client = world.listen_at_client(82);
    let reply = datagram(backend.socket(8082), client, b"none here");
    let link = Link { from: backend.mac(), to: backend.gateway_mac() };
    from_backend(backend).send_raw(&without_checksum(&reply, link)).unwrap();
    let captured = at_client.finish(1, PATIENCE).unwrap();
    assert_eq!(captured.len(), 1, "{captured:?}");
    assert_eq!(captured[0].frame[40..42], [0, 0]);
    assert_eq!(captured[0].packet().unwrap(), Packet { source: DATAGRAMS, ttl: 63, ..reply });
}

fn from_backend(backend: &Backend) -> Sender {
    let link = Link { from: backend.mac(), to: backend.gateway_mac() };
    Sender::new(backend.netns(), HOST_LINK, link).unwrap()
}

fn without_checksum(packet: &Packet, link: Link) -> Vec<u8> {
    let mut frame = packet.to_frame(link);
    frame[40..42].fill(0);
    frame
}

/// After an orderly close and after a reset, also where the first connection of the port has an exception.
/// The admin states count without a probe (S-ADM-5).
#[test]
fn a_port_is_used_again_at_once() {
    let world = World::new("tr-reuse");
    let _servers = world.each(|netns, name| Server::echo(netns, name, 8080));
    let load = Load { same_port: 60, interval: Duration::from_millis(50), ..Load::new(LINE, 0) };
    let running = load.start(world.lab.client());
    running.wait_until_open(PATIENCE).unwrap();
    for states in [["none", "down", "none"], ["none"; 3], ["down", "none", "down"], ["none"; 3]] {
        thread::sleep(Duration::from_secs(1));
        world.apply(states);
    }
    thread::sleep(Duration::from_secs(1));
    let log = running.finish().unwrap();
    assert!(log.breaks.is_empty(), "{} breaks, first {:?}", log.breaks.len(), log.breaks[0]);
    let ports: BTreeSet<_> = log.opened.iter().map(|opened| opened.local).collect();
    eprintln!("{} connections from {} ports", log.opened.len(), ports.len());
    assert!(log.opened.len() >= 5 * ports.len(), "ports were not used again");
    assert!(world.instance.event("Confirmed").unwrap() > 0, "no exception was made: nothing was shown");
}

/// Connections that members open from their service port, and connections of clients to a member
/// itself, with the balancer as a mere router, beside balanced ones.
#[test]
fn what_is_not_balanced_goes_on_beside() {
    let world = World::new("tr-beside");
    let client = world.lab.client();
    let _at_client = Server::echo(client, "client", 7000).unwrap();
    let patient = |local, server, netns: &NetNs| Talk::open(netns, local, server, PATIENCE).unwrap();
    // Linux lets a socket bind a port that another listens on only in this order.
    let mut own: Vec<_> = (world.lab.backends().iter())
        .map(|b| patient(b.socket(8080), SocketAddrV4::new(CLIENT, 7000), b.netns()))
        .collect();
    let _echo = world.each(|netns, name| Server::echo(netns, name, 8080));
    let _udp = world.each(|netns, name| UdpServer::new(netns, name, 8082));
    let direct = world.lab.backends().iter().map(|b| (patient(ANY, b.socket(8080), client), b.name()));
    let mut direct: Vec<_> = direct.collect();
    let mut balanced: Vec<_> = (0..30).map(|_| (patient(ANY, LINE, client), String::new())).collect();
    let direct_udp: Vec<_> = (world.lab.backends().iter())
        .map(|b| (udp::Flow::new(client, ANY, b.socket(8082)).unwrap(), b.name()))
        .collect();
    let balanced_udp: Vec<_> = (0..10).map(|_| udp::Flow::new(client, ANY, DATAGRAMS).unwrap()).collect();
    for round in 0..20 {
        let text = round.to_string();
        for talk in &mut own {
            assert_eq!(talk.ask(&text, PATIENCE).unwrap(), "client");
        }
        for (talk, name) in &mut direct {
            assert_eq!(talk.ask(&text, PATIENCE).unwrap(), *name);
        }
        for (talk, name) in &mut balanced {
            let now = talk.ask(&text, PATIENCE).unwrap();
            assert!(name.is_empty() || *name == now, "{name}, now {now}");
            *name = now;
        }
        for (flow, name) in &direct_udp {
            assert_eq!(flow.ask(&text, PATIENCE).unwrap().as_deref(), Some(*name));
        }
        assert!(balanced_udp.iter().all(|flow| flow.ask(&text, PATIENCE).unwrap().is_some()));
    }
    assert_eq!(balanced.iter().map(|(_, name)| name).collect::<BTreeSet<_>>().len(), 3);
    let reasons = world.instance.status().unwrap()["reasons"].clone();
    for reason in ["Direct", "OwnConnection", "ToMember", "ReplyToClient"] {
        assert!(reasons[reason]["packets"].as_u64() > Some(0), "no packet was {reason}: {reasons:#}");
    }
    world.assert_no_checksum_errors();
}
