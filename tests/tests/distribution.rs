//! What of a client's packets chooses its member, by real clients; and a change of that under them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lb_tests::client::talk::Talk;
use lb_tests::client::udp;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{FRONTEND, Lab, Topology};
use lb_tests::server::{Server, UdpServer};

const PATIENCE: Duration = Duration::from_secs(5);
const CLIENTS: u8 = 16;
/// Flows of one client to one port: that 5-tuples leave out one of three members is one chance in a million.
const FLOWS: usize = 36;

/// TCP ports 80 and 81 and UDP port 80 of one frontend, all to one pool of three.
struct World {
    instance: Instance,
    _tcp: Vec<Server>,
    _udp: Vec<UdpServer>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology { backends: 3, client_addresses: CLIENTS }).unwrap();
        let ports = [8080, 8081];
        let tcp = lab
            .backends()
            .iter()
            .flat_map(|b| ports.map(|port| Server::echo(b.netns(), b.name(), port).unwrap()))
            .collect();
        let udp = lab.backends().iter().map(|b| UdpServer::new(b.netns(), b.name(), 8080).unwrap()).collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _tcp: tcp, _udp: udp, lab }
    }

    fn apply(&self, mode: &str) {
        let backends = self.lab.backends().iter();
        let backends = backends.map(|b| format!("{{ name: {}, address: {} }}, ", b.name(), b.address()));
        let rules = [("tcp", 80, 8080), ("tcp", 81, 8081), ("udp", 80, 8080)].map(|(protocol, port, to)| {
            format!(
                "  - {{ name: {protocol}-{port}, frontend: f, protocol: {protocol}, port: {port}, pool: p, \
                 backendPort: {to}, distribution: {mode}, access: [{{ allow: 0.0.0.0/0 }}] }}\n"
            )
        });
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, transition: 4s, backends: [{}] }}]\nrules:\n{}",
            backends.collect::<String>(),
            rules.concat()
        );
        self.instance.apply(&text).unwrap();
        let status = self.instance.status().unwrap();
        assert_eq!(status["rules"][0]["distribution"], mode);
    }

    fn talk(&self, from: Ipv4Addr, port: u16) -> Talk {
        let (local, server) = (SocketAddrV4::new(from, 0), SocketAddrV4::new(FRONTEND, port));
        Talk::open(self.lab.client(), local, server, PATIENCE).unwrap()
    }

    /// The members of new connections from this client.
    fn over_tcp(&self, from: Ipv4Addr, port: u16) -> BTreeSet<String> {
        (0..FLOWS).map(|_| self.talk(from, port).ask("who", PATIENCE).unwrap()).collect()
    }

    /// The members of new UDP flows from this client.
    fn over_udp(&self, from: Ipv4Addr) -> BTreeSet<String> {
        let server = SocketAddrV4::new(FRONTEND, 80);
        let answers = udp::ask_many(self.lab.client(), from, server, FLOWS, PATIENCE).unwrap();
        answers.into_iter().map(|name| name.expect("an answer")).collect()
    }
}

/// S-DIST-1, S-DIST-6.
#[test]
fn by_5_tuple_every_flow_chooses_for_itself_s_dist_1_6() {
    let world = World::new("dist-five");
    world.apply("5-tuple");
    for from in world.lab.client_addresses().take(2) {
        for members in [world.over_tcp(from, 80), world.over_tcp(from, 81), world.over_udp(from)] {
            assert_eq!(members.len(), 3, "{from}: {members:?}");
        }
    }
}

/// S-DIST-2, S-DIST-5: TCP to two ports and UDP.
#[test]
fn by_source_ip_all_flows_of_a_client_meet_s_dist_2_5() {
    let world = World::new("dist-source");
    world.apply("source-ip");
    let mut used = BTreeSet::new();
    for from in world.lab.client_addresses() {
        let mut members = world.over_tcp(from, 80);
        members.extend(world.over_tcp(from, 81));
        members.extend(world.over_udp(from));
        assert_eq!(members.len(), 1, "{from}: {members:?}");
        used.extend(members);
    }
    assert_eq!(used.len(), 3, "clients are spread: {used:?}");
    assert_eq!(world.instance.status().unwrap()["warnings"].as_array().map(Vec::len), Some(0));
}

/// S-DIST-3, S-DIST-5.
#[test]
fn by_source_ip_protocol_tcp_and_udp_may_part_and_that_is_told_s_dist_3_5() {
    let world = World::new("dist-protocol");
    world.apply("source-ip-protocol");
    let mut parted = 0;
    for from in world.lab.client_addresses() {
        let mut tcp = world.over_tcp(from, 80);
        tcp.extend(world.over_tcp(from, 81));
        let udp = world.over_udp(from);
        assert_eq!((tcp.len(), udp.len()), (1, 1), "{from}: {tcp:?} {udp:?}");
        parted += usize::from(tcp != udp);
    }
    assert!(parted > 0, "{CLIENTS} clients and none has two members");
    let warnings = world.instance.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("rules tcp-80 and udp-80: source-ip-protocol may send"), "{warnings}");
}

/// S-RULE-10: neither the change nor the end of its transition; new flows follow the new mode at once.
#[test]
fn a_change_of_mode_moves_no_open_connection_s_rule_10() {
    let world = World::new("dist-change");
    let clients: Vec<_> = world.lab.client_addresses().take(4).collect();
    world.apply("5-tuple");
    let mut open = Vec::<(Talk, String)>::new();
    for mode in ["source-ip", "source-ip-protocol", "5-tuple", "source-ip"] {
        for from in &clients {
            open.extend((0..10).map(|_| {
                let mut talk = world.talk(*from, 80);
                let member = talk.ask("who", PATIENCE).unwrap();
                (talk, member)
            }));
        }
        world.apply(mode);
        assert_unmoved(&mut open, mode);
        for from in &clients {
            let (tcp, udp) = (world.over_tcp(*from, 80), world.over_udp(*from));
            let expected = if mode == "5-tuple" { 3 } else { 1 };
            assert_eq!((tcp.len(), udp.len()), (expected, expected), "{mode}, {from}: {tcp:?} {udp:?}");
        }
        assert_unmoved(&mut open, mode);
    }
    world
        .instance
        .wait_for("settled", Duration::from_secs(20), |status| {
            let rules = status["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
            rules.iter().all(|rule| rule["transition"].is_null())
        })
        .unwrap();
    assert_unmoved(&mut open, "settled");
}

fn assert_unmoved(open: &mut [(Talk, String)], when: &str) {
    for (number, (talk, member)) in open.iter_mut().enumerate() {
        assert_eq!(talk.ask("still", PATIENCE).unwrap(), *member, "{when}: connection {number}");
    }
}
