//! Who may get through, and to whom: access lists, closed rules, and a frontend that is the host itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use lb_tests::client::talk::Talk;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{BALANCER, CLIENT, FRONTEND, Lab, Topology};
use lb_tests::server::Server;

const PATIENCE: Duration = Duration::from_secs(5);
/// Shorter than a SYN's first repetition.
const SILENCE: Duration = Duration::from_millis(700);

struct World {
    instance: Instance,
    _servers: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology { backends: 2, client_addresses: 4 }).unwrap();
        let ports = [1080, 1081, 1082];
        let servers = lab
            .backends()
            .iter()
            .flat_map(|b| ports.map(|port| Server::echo(b.netns(), b.name(), port).unwrap()));
        let servers = servers.collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        Self { instance, _servers: servers, lab }
    }

    /// Rules by port, each with its `access`.
    fn apply(&self, frontend: Ipv4Addr, rules: &[(u16, &str)]) {
        let rules = rules.iter().map(|(port, access)| {
            format!(
                "  - {{ name: r{port}, frontend: f, protocol: tcp, port: {port}, pool: p, backendPort: {}{access} }}\n",
                port + 1000
            )
        });
        let backends = self
            .lab
            .backends()
            .iter()
            .map(|b| format!("{{ name: {}, address: {} }}, ", b.name(), b.address()));
        let text = format!(
            "version: 1\nfrontends: [{{ name: f, address: {frontend} }}]\n\
             pools: [{{ name: p, backends: [{}] }}]\nrules:\n{}",
            backends.collect::<String>(),
            rules.collect::<String>()
        );
        self.instance.apply(&text).unwrap();
    }

    fn talk(&self, from: Ipv4Addr, server: SocketAddrV4) -> anyhow::Result<Talk> {
        Talk::open(self.lab.client(), SocketAddrV4::new(from, 0), server, SILENCE)
    }

    /// Who answers `from` at `server`, or how it is refused.
    fn ask(&self, from: Ipv4Addr, server: SocketAddrV4) -> Result<String, io::ErrorKind> {
        match self.talk(from, server) {
            Ok(mut talk) => Ok(talk.ask("who", PATIENCE).unwrap()),
            Err(error) => {
                Err(error.downcast_ref::<io::Error>().unwrap_or_else(|| panic!("{error:#}")).kind())
            }
        }
    }

    fn count(&self, reason: &str) -> u64 {
        self.instance.status().unwrap()["reasons"][reason]["packets"].as_u64().unwrap_or(0)
    }
}

/// S-SEC-1, S-SEC-6, S-SEC-8; one client address alone, as in S-SEC-11.
#[test]
fn only_who_is_allowed_gets_through() {
    let world = World::new("access");
    let four = ", access: [{ allow: 198.51.100.4 }]";
    // .2 and .3; .4; nobody.
    world.apply(FRONTEND, &[(80, ", access: [{ allow: 198.51.100.2/31 }]"), (81, four), (82, "")]);
    let status = world.instance.status().unwrap();
    assert_eq!(status["rules"][2]["access"], "closed");
    assert!(status["warnings"].to_string().contains("r82"), "{:#}", status["warnings"]);
    let addresses: Vec<_> = world.lab.client_addresses().collect();
    let may = [(80, [true, true, false, false]), (81, [false, false, true, false]), (82, [false; 4])];
    for (port, may) in may {
        for (from, may) in addresses.iter().zip(may) {
            let before = world.count("AccessDenied");
            match world.ask(*from, SocketAddrV4::new(FRONTEND, port)) {
                Ok(_) => assert!(may, "{from} got through to port {port}"),
                Err(kind) => {
                    assert!(!may, "{from} did not get through to port {port}: {kind}");
                    assert_eq!(kind, io::ErrorKind::TimedOut, "who is not allowed hears nothing");
                    assert_eq!(world.count("AccessDenied"), before + 1);
                }
            }
        }
    }
    // It is judged packet by packet: what is taken away is cut at once, the rest goes on.
    let server = SocketAddrV4::new(FRONTEND, 80);
    let mut talks = [addresses[0], addresses[1]].map(|from| world.talk(from, server).unwrap());
    world.apply(FRONTEND, &[(80, ", access: [{ allow: 198.51.100.2 }]"), (81, four), (82, "")]);
    talks[0].ask("still", PATIENCE).unwrap();
    assert!(talks[1].ask("still", SILENCE).is_err(), "a connection goes on that is not allowed any more");
}

/// Nobody is locked out of a host whose own address is a frontend.
#[test]
fn a_frontend_that_is_the_hosts_own_address() {
    let world = World::new("own-address");
    world.apply(BALANCER, &[(80, ", access: [{ allow: 0.0.0.0/0 }]")]);
    let _ssh = Server::echo(world.lab.balancer(), "host", 22).unwrap();
    let at = |port| SocketAddrV4::new(BALANCER, port);
    for _ in 0..20 {
        let balanced = world.ask(CLIENT, at(80)).unwrap();
        assert!(["b1", "b2"].contains(&balanced.as_str()), "{balanced}");
        assert_eq!(world.ask(CLIENT, at(22)), Ok("host".to_owned()));
    }
    assert_eq!(world.ask(CLIENT, at(23)), Err(io::ErrorKind::ConnectionRefused), "the host's own RST");
    assert!(world.count("OwnFrontend") > 20);
}
