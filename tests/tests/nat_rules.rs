//! NAT rules: a frontend port leads to one member, in both families, and goes on doing so while other
//! members come and go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use lb_tests::client::talk::Talk;
use lb_tests::client::udp;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{CLIENT, FRONTEND, Lab, Topology, twin};
use lb_tests::server::{Server, UdpServer};

const PATIENCE: Duration = Duration::from_secs(5);
/// Shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);
/// A connection that has ended is forgotten within seconds, and held ports are looked at after a
/// transition's time again.
const LONG_PATIENCE: Duration = Duration::from_secs(40);
const OPEN: &str = "access: [{ allow: 0.0.0.0/0 }, { allow: '::/0' }]";

struct World {
    instance: Instance,
    _servers: Vec<Server>,
    _datagrams: Vec<UdpServer>,
    lab: Lab,
}

/// Name of pool and frontend, the frontend's address, and the client's.
fn families() -> [(&'static str, IpAddr, IpAddr); 2] {
    [("v4", FRONTEND.into(), CLIENT.into()), ("v6", twin(FRONTEND).into(), twin(CLIENT).into())]
}

impl World {
    /// Four hosts, each with a server on port 3389 of both protocols.
    fn new(name: &str) -> Self {
        let lab = Lab::dual_stack(name, Topology { backends: 4, client_addresses: 1 }).unwrap();
        let servers = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 3389).unwrap());
        let servers = servers.collect();
        let datagrams = lab.backends().iter().map(|b| UdpServer::new(b.netns(), b.name(), 3389).unwrap());
        let datagrams = datagrams.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _servers: servers, _datagrams: datagrams, lab }
    }

    /// These members (from 1) with their further keys, and rules; `V` stands for the family.
    fn file(&self, members: &[(usize, &str)], rules: &str) -> String {
        let mut text = "version: 1\nfrontends:\n".to_owned();
        for (family, frontend, _) in families() {
            writeln!(text, "  - {{ name: {family}, address: '{frontend}' }}").unwrap();
        }
        text += "pools:\n";
        for (family, frontend, _) in families() {
            writeln!(text, "  - name: {family}\n    transition: 3s\n    backends:").unwrap();
            for (number, keys) in members {
                let backend = &self.lab.backends()[number - 1];
                let ipv4 = backend.address();
                let address = if frontend.is_ipv4() { IpAddr::V4(ipv4) } else { IpAddr::V6(twin(ipv4)) };
                writeln!(text, "      - {{ name: {}, address: '{address}'{keys} }}", backend.name()).unwrap();
            }
        }
        text += "probes: [{ name: nobody, protocol: tcp, port: 9, interval: 200ms, timeout: 200ms, threshold: 1 }]\n";
        for (kind, list) in [("rule: ", "rules"), ("nat: ", "natRules")] {
            let ours: Vec<&str> = rules.lines().filter_map(|line| line.strip_prefix(kind)).collect();
            let both = families().into_iter().flat_map(|(family, ..)| {
                ours.iter().map(move |line| format!("{{ {} }}", line.replace('V', family)))
            });
            writeln!(text, "{list}: [{}]", both.collect::<Vec<_>>().join(",\n  ")).unwrap();
        }
        text
    }

    fn range(&self, members: &[usize], ports: &str) -> String {
        let members: Vec<_> = members.iter().map(|&number| (number, "")).collect();
        self.file(
            &members,
            &format!(
                "nat: name: V, frontend: V, protocol: tcp, port: {ports}, pool: V, backendPort: 3389, {OPEN}"
            ),
        )
    }

    fn talk(&self, family: usize, port: u16) -> Result<Talk, io::ErrorKind> {
        let (_, frontend, client) = families()[family];
        Talk::open(self.lab.client(), SocketAddr::new(client, 0), SocketAddr::new(frontend, port), SILENCE)
            .map_err(|error| error.downcast_ref::<io::Error>().unwrap_or_else(|| panic!("{error:#}")).kind())
    }

    /// Who answers at a frontend port.
    fn ask(&self, family: usize, port: u16) -> Result<String, io::ErrorKind> {
        self.talk(family, port).map(|mut talk| talk.ask("who", PATIENCE).unwrap())
    }

    fn nat(&self, output: &str) -> String {
        let output = self.instance.client().args(["nat", "-o", output]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Ports of a family with their members, `None` for those that are held.
    fn mapping(&self, family: usize) -> BTreeMap<u64, Option<String>> {
        let nat: serde_json::Value = serde_json::from_str(&self.nat("json")).unwrap();
        let ours = nat["mappings"].as_array().unwrap().iter().filter(|it| it["rule"] == families()[family].0);
        ours.map(|it| {
            assert_eq!(it["state"], if it["member"].is_null() { "held" } else { "serving" });
            (it["frontendPort"].as_u64().unwrap(), it["member"].as_str().map(ToOwned::to_owned))
        })
        .collect()
    }

    /// What it prints when it is refused.
    fn refused(&self, text: &str) -> String {
        let error = self.instance.apply(text).expect_err("it is in force");
        format!("{error:#}")
    }
}

fn ports(all: &[(u64, Option<&str>)]) -> BTreeMap<u64, Option<String>> {
    all.iter().map(|(port, member)| (*port, member.map(ToOwned::to_owned))).collect()
}

/// S-NAT-1 as in S-NAT-11, with both protocols (S-NAT-9); and neither a failed probe nor an admin state keeps anybody out
/// (S-NAT-8, S-PRB-8, S-ADM-5).
#[test]
fn a_port_to_one_member_whatever_its_health_s_nat_1_8_9_11() {
    let world = World::new("nat-one");
    let rules = format!(
        "rule: name: web-V, frontend: V, protocol: tcp, port: 80, pool: V, backendPort: 3390, probe: nobody, {OPEN}\n\
         nat: name: one-V, frontend: V, protocol: tcp, port: 50001, backend: V/b1, backendPort: 3389, {OPEN}\n\
         nat: name: two-V, frontend: V, protocol: all, port: 50002, backend: V/b2, backendPort: 3389, {OPEN}\n\
         nat: name: shut-V, frontend: V, protocol: tcp, port: 50003, backend: V/b3, backendPort: 3391"
    );
    let members = [(1, ", adminState: down"), (2, ""), (3, "")];
    let text = world.file(&members, &rules);
    world.instance.apply(&text).unwrap();
    world
        .instance
        .wait_for("all members down", PATIENCE, |status| {
            status["members"].as_array().unwrap().iter().all(|member| member["state"] == "down")
        })
        .unwrap();
    for (family, (name, frontend, client)) in families().into_iter().enumerate() {
        assert_eq!(world.ask(family, 50001), Ok("b1".to_owned()), "{name}");
        assert_eq!(world.ask(family, 50002), Ok("b2".to_owned()), "{name}");
        let datagrams =
            udp::Flow::new(world.lab.client(), SocketAddr::new(client, 0), SocketAddr::new(frontend, 50002));
        let answer = datagrams.unwrap().ask("who", PATIENCE).unwrap();
        assert_eq!(answer.as_deref(), Some("b2"), "{name}");
        for port in [50000, 50003, 80] {
            assert_eq!(world.ask(family, port), Err(io::ErrorKind::TimedOut), "{name} {port}");
        }
    }
    // Another member: open connections stay.
    let mut talks = [0, 1].map(|family| world.talk(family, 50001).unwrap());
    for talk in &mut talks {
        talk.ask("one", PATIENCE).unwrap();
    }
    let changes = world.instance.apply(&text.replace("/b1", "/b3")).unwrap();
    assert!(changes.contains("NAT rule one-v4: 50001 goes to b3"), "{changes}");
    for (family, talk) in talks.iter_mut().enumerate() {
        assert_eq!(talk.ask("two", PATIENCE).unwrap(), "b1");
        assert_eq!(world.ask(family, 50001), Ok("b3".to_owned()));
    }
    let status = world.instance.status().unwrap();
    assert_eq!(status["natRules"][0]["name"], "one-v4");
    assert_eq!(status["natRules"][0]["opened"], 3, "{status:#}");
}

/// S-NAT-2, S-NAT-3, S-NAT-4, S-NAT-5, S-NAT-6.
#[test]
fn members_keep_their_ports_while_others_come_and_go_s_nat_2_3_4_5_6() {
    let world = World::new("nat-range");
    world.instance.apply(&world.range(&[1, 2, 3], "50100-50102")).unwrap();
    let at_first = ports(&[(50100, Some("b1")), (50101, Some("b2")), (50102, Some("b3"))]);
    let mut talks = Vec::new();
    for family in [0, 1] {
        assert_eq!(world.mapping(family), at_first);
        for (port, name) in [(50100, "b1"), (50101, "b2"), (50102, "b3")] {
            assert_eq!(world.ask(family, port), Ok(name.to_owned()));
        }
        talks.push(world.talk(family, 50100).unwrap());
    }
    // The first leaves: its connections go on, nobody gets in, and nobody gets its port.
    let changes = world.instance.apply(&world.range(&[2, 3], "50100-50102")).unwrap();
    assert!(changes.contains("NAT rule v4: 50100 is held for open connections of 10.0.1.11"), "{changes}");
    let held = ports(&[(50100, None), (50101, Some("b2")), (50102, Some("b3"))]);
    let refusal = world.refused(&world.range(&[2, 3, 4], "50100-50102"));
    assert!(
        refusal.contains("NAT rule v4: 50100-50102 is full: of its 3 ports 1 is held for connections of members that have left, and 3 members need one each"),
        "{refusal}"
    );
    world.instance.kill().unwrap();
    world.instance.restart(&world.lab).unwrap();
    for (family, talk) in talks.iter_mut().enumerate() {
        assert_eq!(world.mapping(family), held);
        assert_eq!(talk.ask("still there", PATIENCE).unwrap(), "b1");
        assert_eq!(world.ask(family, 50100), Err(io::ErrorKind::TimedOut));
        assert_eq!(world.ask(family, 50101), Ok("b2".to_owned()));
    }
    assert!(world.nat("table").contains("has left"), "{}", world.nat("table"));
    // A longer range: the new one gets the port at its end.
    world.instance.apply(&world.range(&[4, 2, 3], "50100-50103")).unwrap();
    // The transition is over, but its connections are not.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) {
        for talk in &mut talks {
            assert_eq!(talk.ask("and still", PATIENCE).unwrap(), "b1");
        }
        thread::sleep(Duration::from_millis(300));
    }
    let grown = ports(&[(50100, None), (50101, Some("b2")), (50102, Some("b3")), (50103, Some("b4"))]);
    for family in [0, 1] {
        assert_eq!(world.mapping(family), grown);
        assert_eq!(world.ask(family, 50103), Ok("b4".to_owned()));
    }
    // Then they are.
    drop(talks);
    let deadline = Instant::now() + LONG_PATIENCE;
    while [0, 1].iter().any(|&family| world.mapping(family).contains_key(&50100)) {
        assert!(Instant::now() < deadline, "still held: {}", world.nat("table"));
        thread::sleep(Duration::from_millis(200));
    }
    world.instance.apply(&world.range(&[1, 4, 2, 3], "50100-50103")).unwrap();
    for family in [0, 1] {
        assert_eq!(world.mapping(family)[&50103].as_deref(), Some("b4"), "it came earlier");
        assert_eq!(world.ask(family, 50100), Ok("b1".to_owned()));
    }
}
