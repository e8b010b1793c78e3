//! Ranges of ports, and fragments, with real programs in both families.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::time::Duration;

use lb_tests::client::{talk::Talk, udp::Flow};
use lb_tests::counters::{checksum_errors, snmp};
use lb_tests::frames::{Flood, Pattern};
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{Backend, CLIENT, FRONTEND, Family, Lab, NetNs, Topology};
use lb_tests::server::{Server, UdpServer};

const PATIENCE: Duration = Duration::from_secs(10);
/// Answers that do not come.
const SILENCE: Duration = Duration::from_millis(300);
/// Ports of the frontend in the ranges, and where members listen; the servers of a range are few.
const GAMES: [(u16, u16); 3] = [(8000, 9000), (8050, 9050), (8100, 9100)];
const NAMES: [u16; 2] = [7000, 7009];
/// In the range, and a rule of its own.
const EXACT: (u16, u16) = (8042, 9442);
/// Six frames of an Ethernet link.
const LARGE: usize = 8 * 1024;

/// Three backends that serve lines and datagrams at some ports of ranges.
struct World {
    instance: Instance,
    _lines: Vec<Server>,
    _datagrams: Vec<UdpServer>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::dual_stack(name, Topology::default()).unwrap();
        let (mut lines, mut datagrams) = (Vec::new(), Vec::new());
        for backend in lab.backends() {
            let (netns, name) = (backend.netns(), backend.name());
            let listening = GAMES.into_iter().chain([EXACT]).map(|(_, port)| port);
            lines.extend(listening.map(|port| Server::echo(netns, name, port).unwrap()));
            datagrams.extend(NAMES.map(|port| UdpServer::new(netns, name, port).unwrap()));
        }
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        let world = Self { instance, _lines: lines, _datagrams: datagrams, lab };
        world.apply("8000-8100", "9000-9100");
        world
    }

    fn apply(&self, games: &str, at: &str) -> String {
        let (mut frontends, mut pools, mut rules) = (String::new(), String::new(), String::new());
        for family in Family::BOTH {
            let name = family.name();
            let _ = writeln!(frontends, "  - {{ name: {name}, address: \"{}\" }}", family.of(FRONTEND));
            let _ = writeln!(pools, "  - name: {name}\n    backends:");
            for backend in self.lab.backends() {
                let address = family.of(backend.address());
                let _ = writeln!(pools, "      - {{ name: {}, address: \"{address}\" }}", backend.name());
            }
            let everybody = family.everybody();
            let (exact, exact_at) = EXACT;
            for (kind, protocol, ports, at) in [
                ("games", "tcp", games, at),
                ("names", "udp", "7000-7009", "7000-7009"),
                ("exact", "tcp", &*exact.to_string(), &*exact_at.to_string()),
            ] {
                let _ = writeln!(
                    rules,
                    "  - {{ name: {kind}-{name}, frontend: {name}, protocol: {protocol}, port: {ports}, \
                     pool: {name}, backendPort: {at}, access: [{{ allow: \"{everybody}\" }}] }}"
                );
            }
        }
        let text = format!("version: 1\nfrontends:\n{frontends}pools:\n{pools}rules:\n{rules}");
        self.instance.apply(&text).unwrap()
    }

    fn open(&self, family: Family, port: u16) -> anyhow::Result<(Talk, String)> {
        let local = (family.of(CLIENT), 0);
        let mut talk = Talk::open(self.lab.client(), local, family.frontend(port), PATIENCE)?;
        let server = talk.ask("who", PATIENCE)?;
        Ok((talk, server))
    }

    fn flow(&self, family: Family, port: u16) -> Flow {
        Flow::new(self.lab.client(), (family.of(CLIENT), 0), family.frontend(port)).unwrap()
    }

    fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }

    /// Nobody has received anything with a wrong checksum.
    fn assert_sound(&self) {
        let members = self.lab.backends().iter().map(Backend::netns);
        for netns in members.chain([self.lab.client()]) {
            assert_eq!(checksum_errors(netns).unwrap(), 0);
        }
    }
}

/// S-RULE-11, done better: ranges there are.
#[test]
fn connections_to_a_range_are_shared_and_each_port_is_its_own() {
    let world = World::new("wide-range");
    for family in Family::BOTH {
        for (port, _) in GAMES {
            let talks: Vec<_> = (0..30).map(|_| world.open(family, port).unwrap()).collect();
            let servers: BTreeSet<_> = talks.iter().map(|(_, server)| server.as_str()).collect();
            assert_eq!(servers.len(), 3, "{family:?} {port}: {servers:?}");
        }
        for port in NAMES {
            let ask = |number: usize| world.flow(family, port).ask(&number.to_string(), PATIENCE).unwrap();
            let servers: BTreeSet<_> = (0..30).map(|number| ask(number).expect("an answer")).collect();
            assert_eq!(servers.len(), 3, "{family:?} {port}: {servers:?}");
        }
        // A port before the range has it: nobody listens where the range would lead.
        world.open(family, EXACT.0).unwrap();
        // In the range, and nobody listens: the member's refusal is seen as the frontend's.
        let refused = world.open(family, 8001).map(drop).unwrap_err();
        assert!(format!("{refused:#}").contains("refused"), "{refused:#}");
        // Beside the ranges there is silence.
        assert_eq!(world.flow(family, 7010).ask("anybody?", SILENCE).unwrap(), None);
    }
    assert!(world.count("NoRule") >= 2);
    world.assert_sound();
    let status = world.instance.status().unwrap();
    let rules = status["rules"].as_array().unwrap();
    let games = rules.iter().find(|rule| rule["name"] == "games-v4").unwrap();
    assert_eq!((&games["ports"], &games["backendPorts"]), (&"8000-8100".into(), &"9000-9100".into()));
    assert_eq!(games["opened"].as_u64().unwrap(), 91);
    world.lab.teardown().unwrap();
}

#[test]
fn connections_to_a_range_outlive_its_change() {
    let world = World::new("wide-moves");
    for family in Family::BOTH {
        let mut talks: Vec<_> = (0..30).map(|_| world.open(family, 8050).unwrap()).collect();
        // Members have the range elsewhere now: old connections stay where they are, new ones find nobody.
        let changes = world.apply("8000-8100", "19000-19100");
        assert!(changes.contains("a new view; open connections stay"), "{changes}");
        for (talk, server) in &mut talks {
            assert_eq!(talk.ask("still there?", PATIENCE).unwrap(), *server);
        }
        world.open(family, 8050).map(drop).unwrap_err();
        // Back, and wider: the first port names the rule.
        world.apply("8000-8200", "9000-9200");
        for (talk, server) in &mut talks {
            assert_eq!(talk.ask("and now?", PATIENCE).unwrap(), *server);
        }
        world.open(family, 8050).unwrap();
        world.apply("8000-8100", "9000-9100");
        for (talk, server) in &mut talks {
            assert_eq!(talk.ask("at last", PATIENCE).unwrap(), *server);
        }
    }
    world.assert_sound();
    world.lab.teardown().unwrap();
}

/// S-FRAG-1, done better: they arrive.
#[test]
fn datagrams_of_8_kib_go_both_ways_in_fragments() {
    let world = World::new("wide-large");
    let reassembled = |netns: &NetNs| snmp(netns).unwrap()["Ip.ReasmOKs"];
    let before = reassembled(world.lab.client());
    let mut servers = BTreeMap::new();
    for family in Family::BOTH {
        for number in 0..50_usize {
            let payload: String = ('a'..='w').cycle().take(LARGE - number).collect();
            // The server's answer has its name before the very same bytes.
            let server = world.flow(family, NAMES[number % 2]).ask(&payload, PATIENCE).unwrap();
            *servers.entry(server.expect("an answer")).or_insert(0) += 1;
        }
    }
    assert_eq!(servers.values().sum::<u32>(), 100);
    assert_eq!(servers.len(), 3, "{servers:?}");
    assert_eq!(reassembled(world.lab.client()) - before, 50, "answers in IPv4 came in fragments");
    assert_eq!(world.count("FragmentUnknown") + world.count("Fragment"), 0);
    // Six fragments each way and datagram.
    assert!(world.count("ToMember") >= 600 && world.count("ReplyToClient") >= 600);
    world.assert_sound();
    world.lab.teardown().unwrap();
}

/// Who sends fragments without end loses them, and takes nobody along that sends none.
#[test]
fn fragments_without_their_first_are_dropped() {
    let world = World::new("wide-orphans");
    for family in Family::BOTH {
        // No rule has this port: no first fragment is remembered, and no later one comes through.
        let payload = "x".repeat(LARGE);
        assert_eq!(world.flow(family, 7777).ask(&payload, SILENCE).unwrap(), None);
        assert!(world.flow(family, NAMES[0]).ask("small", PATIENCE).unwrap().is_some());
        assert!(world.flow(family, NAMES[0]).ask(&payload, PATIENCE).unwrap().is_some());
    }
    assert_eq!((world.count("NoRule"), world.count("FragmentUnknown")), (2, 10));
    world.assert_sound();
    world.lab.teardown().unwrap();
}

/// Many times more than are remembered: answers in fragments come through all the same.
#[test]
fn a_flood_of_first_fragments_tears_no_answer() {
    let world = World::new("wide-flood");
    let target = SocketAddrV4::new(FRONTEND, NAMES[0]);
    let flood = Flood { pattern: Pattern::FirstFragments, target, frames: 100_000, rate: 50_000, seed: 7 };
    let flooding = flood.start(&world.lab).unwrap();
    // Fits a frame; with the server's name before it, the answer does not.
    let payload = "x".repeat(1_472);
    let (mut asked, before) = (0, world.count("ReplyToClient"));
    while flooding.sent() < 90_000 {
        let answer = world.flow(Family::V4, NAMES[1]).ask(&payload, PATIENCE).unwrap();
        assert!(answer.is_some(), "no answer to question {asked}");
        asked += 1;
    }
    flooding.wait().unwrap();
    assert!(asked > 50, "{asked} questions in two seconds");
    assert!(world.count("ReplyToClient") - before >= 2 * asked, "answers came in fragments");
    assert!(world.count("ToMember") >= 100_000, "the flood was let in");
    world.lab.teardown().unwrap();
}
