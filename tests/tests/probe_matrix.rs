//! What health and admin states do to new and to established connections, and to UDP: section 8.4 of
//! the specification (S-PRB-28), a test for each row.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use lb_tests::client::{talk::Talk, udp::Flow};
use lb_tests::frames::Capture;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{CLIENT, FRONTEND, HOST_LINK, Lab, Topology};
use lb_tests::server::{Server, UdpServer};

const TCP: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const UDP: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 53);
const ANY: SocketAddrV4 = SocketAddrV4::new(CLIENT, 0);
const FLOWS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for a first answer on a busy machine, shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);

/// `HTTP /healthz` on a port of its own.
const HTTP: &str = "protocol: http, port: 9000, path: /healthz";

/// Three backends with a line server, a datagram server and a switch for their health.
struct World {
    instance: Instance,
    health: Vec<Server>,
    echo: Vec<Server>,
    _udp: Vec<UdpServer>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology::default()).unwrap();
        let backends = lab.backends();
        let echo = backends.iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap()).collect();
        let health = backends.iter().map(|b| Server::http(b.netns(), b.name(), 9000).unwrap()).collect();
        let udp = backends.iter().map(|b| UdpServer::new(b.netns(), b.name(), 5353).unwrap()).collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, health, echo, _udp: udp, lab }
    }

    /// One TCP and one UDP rule, the same probe for both (`None`: no probe); `states` are admin states.
    fn apply(&self, probe: Option<&str>, states: [&str; 3]) {
        let backends: Vec<_> = (self.lab.backends().iter().zip(states))
            .map(|(b, state)| {
                format!("{{ name: {}, address: {}, adminState: {state} }}", b.name(), b.address())
            })
            .collect();
        let backends = backends.join(", ");
        let probes = probe.map_or(String::new(), |probe| {
            format!("probes: [{{ name: p, {probe}, interval: 100ms, timeout: 100ms, threshold: 2 }}]\n")
        });
        let named = if probe.is_some() { "probe: p, " } else { "" };
        let rule = |name: &str, port: u16, to: u16| {
            format!(
                "  - {{ name: {name}, frontend: f, protocol: {name}, port: {port}, pool: p, backendPort: {to}, \
                 {named}access: [{{ allow: 0.0.0.0/0 }}] }}\n"
            )
        };
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, backends: [{backends}] }}]\n{probes}rules:\n{}{}",
            rule("tcp", 80, 8080),
            rule("udp", 53, 5353)
        );
        self.instance.apply(&text).unwrap();
    }

    /// Makes `/healthz` say so, and waits until the balancer knows.
    fn set_healthy(&self, healthy: [bool; 3]) {
        for (server, healthy) in self.health.iter().zip(healthy) {
            server.set_healthy(healthy);
        }
        let up: Vec<_> = ["b1", "b2", "b3"].into_iter().zip(healthy).filter(|(_, up)| *up).collect();
        self.instance.wait_for_members(&up.iter().map(|(name, _)| *name).collect::<Vec<_>>()).unwrap();
    }

    /// State and reason of a member, as `lbctl status` has them.
    fn member(&self, name: &str) -> (String, String) {
        let status = self.instance.status().unwrap();
        let member = status["members"].as_array().unwrap().iter().find(|member| member["name"] == name);
        let text = |key: &str| member.unwrap()[key].as_str().unwrap().to_owned();
        (text("state"), text("reason"))
    }

    fn wait_for_reason(&self, name: &str, reason: &str) {
        let there = |status: &serde_json::Value| {
            let members = status["members"].as_array().into_iter().flatten();
            members.into_iter().any(|member| member["name"] == name && member["reason"] == reason)
        };
        self.instance.wait_for(&format!("{name}: {reason}"), PATIENCE, there).unwrap();
    }

    fn open(&self, count: usize) -> Vec<Connection> {
        (0..count).map(|_| Connection::open(&self.lab)).collect()
    }

    fn flows(&self) -> Vec<Flow> {
        (0..FLOWS).map(|_| Flow::new(self.lab.client(), ANY, UDP).unwrap()).collect()
    }

    fn dropped(&self) -> u64 {
        self.instance.status().unwrap()["reasons"]["NoHealthyMember"]["packets"].as_u64().unwrap_or(0)
    }
}

/// An open connection that remembers who answered.
struct Connection {
    talk: Talk,
    server: String,
}

impl Connection {
    fn open(lab: &Lab) -> Self {
        let mut talk = Talk::open(lab.client(), ANY, TCP, PATIENCE).unwrap();
        let server = talk.ask("who", PATIENCE).unwrap();
        Self { talk, server }
    }

    fn goes_on(&mut self) {
        let now = self.talk.ask("still", PATIENCE).unwrap_or_else(|error| {
            panic!("a connection to {} broke: {error:#}", self.server);
        });
        assert_eq!(now, self.server, "a connection changed its member");
    }
}

fn servers(connections: &[Connection]) -> BTreeSet<&str> {
    connections.iter().map(|connection| connection.server.as_str()).collect()
}

fn ask(flows: &[Flow], patience: Duration) -> Vec<Option<String>> {
    flows.iter().map(|flow| flow.ask("who", patience).unwrap()).collect()
}

fn all_go_on(connections: &mut [Connection]) {
    connections.iter_mut().for_each(Connection::goes_on);
}

/// How a connection was not opened.
fn refusal(lab: &Lab, patience: Duration) -> io::ErrorKind {
    match Talk::open(lab.client(), ANY, TCP, patience) {
        Ok(_) => panic!("a connection was opened that nobody should have accepted"),
        Err(error) => error.downcast_ref::<io::Error>().unwrap_or_else(|| panic!("{error:#}")).kind(),
    }
}

const ALL: [&str; 3] = ["b1", "b2", "b3"];

/// S-PRB-28, first row of its table; S-PRB-3, S-DIST-12, S-DIST-15.
#[test]
fn one_of_several_down() {
    let world = World::new("prb-one");
    world.apply(Some(HTTP), ["none"; 3]);
    world.set_healthy([true; 3]);
    let mut before = world.open(FLOWS);
    assert_eq!(servers(&before), ALL.into());
    let flows = world.flows();
    let udp_before = ask(&flows, PATIENCE);
    assert_eq!(udp_before.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>(), ALL.into());

    world.set_healthy([true, false, true]);
    assert_eq!(world.member("b2"), ("down".to_owned(), "HTTP 503".to_owned()));
    assert_eq!(world.member("b1"), ("up".to_owned(), "HTTP 200".to_owned()));
    all_go_on(&mut before);
    let mut during = world.open(FLOWS);
    assert_eq!(servers(&during), ["b1", "b3"].into(), "new connections while b2 is down");
    for (before, now) in udp_before.iter().zip(ask(&flows, PATIENCE)) {
        match before.as_deref() {
            Some("b2") => {
                assert!(matches!(now.as_deref(), Some("b1" | "b3")), "a flow of b2 went to {now:?}");
            }
            _ => assert_eq!(now, *before, "a flow moved whose member is up"),
        }
    }

    world.set_healthy([true; 3]);
    assert_eq!(servers(&world.open(FLOWS)), ALL.into(), "new connections return to a member that is back");
    assert_eq!(ask(&flows, PATIENCE), udp_before, "UDP flows return to their member");
    all_go_on(&mut before);
    all_go_on(&mut during);
}

/// S-PRB-28, second row; nobody answers for a member (S-PRB-30, S-DIST-21).
#[test]
fn all_down_and_dropped() {
    let world = World::new("prb-none");
    world.apply(Some(HTTP), ["none"; 3]);
    world.set_healthy([true; 3]);
    let (mut before, flows) = (world.open(FLOWS), world.flows());
    assert!(ask(&flows, PATIENCE).iter().all(Option::is_some));

    world.set_healthy([false; 3]);
    all_go_on(&mut before);
    let dropped = world.dropped();
    let heard = Capture::start(world.lab.client(), HOST_LINK, |_| true).unwrap();
    for _ in 0..3 {
        assert_eq!(refusal(&world.lab, SILENCE), io::ErrorKind::TimedOut, "a SYN is not answered at all");
        assert_eq!(flows[0].ask("who", SILENCE).unwrap(), None, "UDP is not answered");
    }
    assert_eq!(heard.finish(0, Duration::ZERO).unwrap().len(), 0, "not even a RST or an ICMP message");
    assert_eq!(world.dropped() - dropped, 6, "each of them is counted");
    all_go_on(&mut before);

    world.set_healthy([true, true, false]);
    assert_eq!(servers(&world.open(FLOWS)), ["b1", "b2"].into());
    assert!(ask(&flows, PATIENCE).iter().all(Option::is_some));
    all_go_on(&mut before);
}

/// S-PRB-28, fourth row.
#[test]
fn all_down_and_sent_to_all() {
    let world = World::new("prb-all");
    world.apply(Some(&format!("{HTTP}, noHealthyBackends: all-up")), ["none"; 3]);
    // With this policy they are "up" before they have been probed.
    for name in ALL {
        world.wait_for_reason(name, "HTTP 200");
    }
    let (mut before, flows) = (world.open(FLOWS), world.flows());
    let udp_before = ask(&flows, PATIENCE);
    // Members stay "up" as far as new connections go; the reason tells.
    world.health.iter().for_each(|server| server.set_healthy(false));
    world.wait_for_reason("b3", "all are down, and the policy is to ask all");
    all_go_on(&mut before);
    let mut during = world.open(FLOWS);
    assert_eq!(servers(&during), ALL.into(), "new connections are spread over all");
    assert_eq!(ask(&flows, PATIENCE), udp_before, "and so are UDP flows");

    // As soon as one is well, only that one gets new connections.
    world.set_healthy([false, false, true]);
    assert_eq!(servers(&world.open(FLOWS)), ["b3"].into());
    all_go_on(&mut before);
    all_go_on(&mut during);
}

/// The answers to such a probe look like those to a balanced connection: same member, same port.
#[test]
fn a_probe_of_the_backend_port_itself() {
    let world = World::new("prb-port");
    world.apply(Some("protocol: tcp, port: 8080"), ["none"; 3]);
    world.instance.wait_for_members(&ALL).unwrap();
    let mut before = world.open(FLOWS);
    assert_eq!(world.member("b1"), ("up".to_owned(), "connected".to_owned()));
    world.echo[1].pause().unwrap();
    world.instance.wait_for_members(&["b1", "b3"]).unwrap();
    assert_eq!(world.member("b2"), ("down".to_owned(), "connection refused".to_owned()));
    all_go_on(&mut before);
    assert_eq!(servers(&world.open(FLOWS)), ["b1", "b3"].into());
    let World { mut echo, instance, lab, .. } = world;
    echo[1].start().unwrap();
    instance.wait_for_members(&ALL).unwrap();
    assert!((0..FLOWS).any(|_| Connection::open(&lab).server == "b2"));
    all_go_on(&mut before);
}

/// S-RULE-7; all members of the pool serve the rule (S-RULE-1).
#[test]
fn without_a_probe_all_count_as_up() {
    let mut world = World::new("prb-bare");
    world.apply(None, ["none"; 3]);
    assert_eq!(world.member("b2"), ("up".to_owned(), "no probe".to_owned()));
    assert_eq!(servers(&world.open(FLOWS)), ALL.into());
    // Nobody watches b2, so connections reach it, and what it answers reaches the client.
    world.echo[1].stop().unwrap();
    let refused = (0..FLOWS).filter(|_| match Talk::open(world.lab.client(), ANY, TCP, PATIENCE) {
        Ok(_) => false,
        Err(error) => {
            let kind = error.downcast_ref::<io::Error>().unwrap().kind();
            assert_eq!(kind, io::ErrorKind::ConnectionRefused, "{error:#}");
            true
        }
    });
    assert!((1..FLOWS).contains(&refused.count()));
}

/// S-ADM-1..3, S-ADM-7, S-POOL-8.
#[test]
fn an_admin_state_overrules_the_probe() {
    let world = World::new("prb-admin");
    world.apply(Some(HTTP), ["none"; 3]);
    world.set_healthy([true; 3]);
    let mut before = world.open(FLOWS);

    world.apply(Some(HTTP), ["none", "down", "none"]);
    assert_eq!(world.member("b2"), ("down".to_owned(), "admin state down".to_owned()));
    all_go_on(&mut before);
    let mut during = world.open(FLOWS);
    assert_eq!(servers(&during), ["b1", "b3"].into());

    // Up, whatever its probe says.
    world.health[1].set_healthy(false);
    world.apply(Some(HTTP), ["none", "up", "none"]);
    assert_eq!(world.member("b2"), ("up".to_owned(), "admin state up".to_owned()));
    assert_eq!(servers(&world.open(FLOWS)), ALL.into());
    world.apply(Some(HTTP), ["none"; 3]);
    world.instance.wait_for_members(&["b1", "b3"]).unwrap();
    assert_eq!(world.member("b2"), ("down".to_owned(), "HTTP 503".to_owned()));
    all_go_on(&mut before);
    all_go_on(&mut during);
}
