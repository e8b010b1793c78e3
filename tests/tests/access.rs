//! Who may get through, and to whom: access lists, closed rules, and a frontend that is the host itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

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

    /// What it prints, with the warnings.
    fn apply_json(&self, text: &str) -> serde_json::Value {
        let file = self.lab.dir().join("apply-json.yaml");
        std::fs::write(&file, text).unwrap();
        let output = self.instance.client().args(["apply", "-o", "json", "-f"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
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

/// S-SEC-3, and the example of S-SEC-10 with clients: a deny inside an allow, everybody else kept out.
#[test]
fn a_deny_inside_an_allow_s_sec_3_10() {
    let world = World::new("access-deny");
    let [two, three, four, five] = world.lab.client_addresses().collect::<Vec<_>>()[..] else { panic!() };
    // In force whatever the order in the file is, by their priority; .4 and .5 are in no prefix.
    let list = ", access: [{ allow: 198.51.100.2/31, priority: 200 }, { deny: 198.51.100.3, priority: 100 }]";
    world.apply(FRONTEND, &[(80, list)]);
    let server = SocketAddrV4::new(FRONTEND, 80);
    world.ask(two, server).unwrap();
    for from in [three, four, five] {
        assert_eq!(world.ask(from, server), Err(io::ErrorKind::TimedOut), "{from}");
    }
    // The other way round the first match is the allow, and that is told.
    let list = ", access: [{ allow: 198.51.100.2/31 }, { deny: 198.51.100.3 }]";
    world.apply(FRONTEND, &[(80, list)]);
    world.ask(three, server).unwrap();
    let warnings = world.instance.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("deny 198.51.100.3/32 never counts"), "{warnings}");
}

/// S-SEC-6 is a choice of the rule: who loses access is cut off, or keeps what is open.
#[test]
fn who_loses_access_is_cut_off_or_keeps_what_is_open_s_sec_6() {
    let world = World::new("access-new");
    let addresses: Vec<_> = world.lab.client_addresses().take(2).collect();
    let rules = |access: &'static str| {
        [(80, access.to_owned()), (81, format!("{access}, accessAppliesTo: new-flows"))]
    };
    let apply = |access| {
        let rules = rules(access);
        world.apply(FRONTEND, &rules.each_ref().map(|(port, access)| (*port, access.as_str())));
    };
    let at = |port| SocketAddrV4::new(FRONTEND, port);
    apply(", access: [{ allow: 0.0.0.0/0 }]");
    let open = |port| [addresses[0], addresses[1]].map(|from| world.talk(from, at(port)).unwrap());
    let ([mut cut, mut stays], [mut kept, mut other]) = (open(80), open(81));
    let members =
        [&mut cut, &mut stays, &mut kept, &mut other].map(|talk| talk.ask("one", PATIENCE).unwrap());
    apply(", access: [{ deny: 198.51.100.2 }, { allow: 0.0.0.0/0 }]");
    for port in [80, 81] {
        assert_eq!(world.ask(addresses[0], at(port)), Err(io::ErrorKind::TimedOut), "{port}");
        world.ask(addresses[1], at(port)).unwrap();
    }
    assert_eq!(stays.ask("two", PATIENCE).unwrap(), members[1]);
    assert_eq!(kept.ask("two", PATIENCE).unwrap(), members[2]);
    assert_eq!(other.ask("two", PATIENCE).unwrap(), members[3]);
    assert!(cut.ask("two", SILENCE).is_err(), "a connection goes on that is not allowed any more");
    // Nothing at all is allowed, and what is open for new flows alone is open.
    apply("");
    assert_eq!(kept.ask("three", PATIENCE).unwrap(), members[2]);
    assert!(stays.ask("three", SILENCE).is_err());
}

/// 10,000 prefixes over 100 rules, by the whole command; 20,000 are in the maps while all change.
#[test]
fn ten_thousand_prefixes_are_in_force_within_a_second() {
    let world = World::new("access-many");
    let file = |verdict: &str, length: u8| {
        let rules = (0..100).map(|rule| {
            let prefixes = (0..99).map(|n| format!("{{ {verdict}: 10.{rule}.{n}.0/{length} }}"));
            let list = prefixes.chain(["{ allow: 198.51.100.0/24 }".to_owned()]).collect::<Vec<_>>().join(", ");
            let (port, to) = (80 + rule, 1080 + rule);
            format!("  - {{ name: r{rule}, frontend: f, protocol: tcp, port: {port}, pool: p, backendPort: {to}, access: [{list}] }}\n")
        });
        format!(
            "version: 1\nfrontends: [{{ name: f, address: {FRONTEND} }}]\n\
             pools: [{{ name: p, backends: [{{ name: b1, address: 10.0.1.11 }}] }}]\nrules:\n{}",
            rules.collect::<String>()
        )
    };
    // A deny of what nobody allows says nothing: the last lists are one, of one prefix.
    for (step, verdict, length) in
        [("all are new", "allow", 24), ("all change", "allow", 25), ("all go", "deny", 25)]
    {
        let begun = Instant::now();
        let applied = world.apply_json(&file(verdict, length));
        let (took, daemon) = (begun.elapsed(), applied["microseconds"].as_u64().unwrap());
        eprintln!("{step}: {took:.0?}, of it in the daemon {} ms", daemon / 1000);
        assert!(took < Duration::from_secs(1), "{step}: {took:?}");
        world.ask(CLIENT, SocketAddrV4::new(FRONTEND, 80)).unwrap();
    }
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
