//! What the maps hold after each kind of change, as text to be read in a review.
//!
//! Each story is a file of its own beside this one: for each step its title, the writes in their
//! order, and the maps after them. `UPDATE_GOLDEN=1` writes the files anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says where it stopped")]

mod dump;
mod nat;
mod ranges;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use lb_common::abi::{Announced, Root};
use lb_common::units::{MemberId, Port, Target};
use lb_ctl::compile::{Hop, Host, Input, Refusal, Service, compile};
use lb_ctl::config::{self, Config, Source};
use lb_ctl::dataplane::Limits;
use lb_ctl::health::ProbeKey;
use lb_ctl::plan::{self, plan};
use lb_ctl::state::{AnnouncedKey, MapState};

const BASE: &str = include_str!("base.yaml");
const WEB: &str = "203.0.113.10:80";

/// A world in which configurations follow one another.
struct Story {
    name: &'static str,
    text: String,
    maps: MapState,
    config: Config,
    down: BTreeSet<IpAddr>,
    host: Host,
    carried: BTreeSet<(Service, Target)>,
    settled: BTreeSet<Service>,
    limits: Limits,
}

impl Story {
    fn new(name: &'static str) -> Self {
        let root = Root { hash_key: [1, 2], abi_version: 1, tick_shift: 8, ..Root::default() };
        let host = Host { own: [[10, 0, 1, 1].into()].into(), ..Host::default() };
        Self {
            name,
            text: String::new(),
            maps: MapState { root, ..MapState::default() },
            config: load(BASE),
            down: BTreeSet::new(),
            host,
            carried: BTreeSet::new(),
            settled: BTreeSet::new(),
            limits: Limits::default(),
        }
    }

    /// A story that begins where the base configuration has been applied.
    fn from_base(name: &'static str) -> Self {
        let mut story = Self::new(name);
        story.settle_down();
        story
    }

    /// The base configuration with replacements.
    fn config(&mut self, replacements: &[(&str, &str)]) -> &mut Self {
        let mut text = BASE.to_owned();
        for (from, to) in replacements {
            assert!(text.contains(from), "{from} is not in the base configuration");
            text = text.replace(from, to);
        }
        self.config = load(&text);
        self
    }

    fn compiled(&self) -> Result<MapState, Refusal> {
        let healthy: HashMap<ProbeKey, bool> = probes(&self.config)
            .map(|key| {
                let up = !self.down.contains(&key.address);
                (key, up)
            })
            .collect();
        compile(&Input {
            config: &self.config,
            healthy: &healthy,
            host: &self.host,
            observed: &self.maps,
            carried: &self.carried,
            settled: &self.settled,
            hz: 1000,
            limits: self.limits,
        })
    }

    /// Applies what is configured now, and writes down how.
    fn then(&mut self, title: &str) -> &mut Self {
        let wanted = self.compiled().unwrap();
        let steps = plan(&self.maps, &wanted);
        writeln!(self.text, "## {title}\n").unwrap();
        for (heading, changes) in [("until effective", &steps.until_effective), ("then", &steps.tidy)] {
            let mut names = Vec::<(String, usize)>::new();
            for change in changes {
                plan::apply(&mut self.maps, change);
                let text = change.to_string();
                let what = text.split(|c: char| !c.is_alphabetic()).next().unwrap().to_owned();
                match names.last_mut() {
                    Some((name, count)) if *name == what => *count += 1,
                    _ => names.push((what, 1)),
                }
            }
            let names: Vec<_> = names
                .iter()
                .map(|(name, count)| if *count == 1 { name.clone() } else { format!("{name} x {count}") })
                .collect();
            let names = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
            writeln!(self.text, "{heading}: {names}").unwrap();
        }
        self.forget_free_space(&wanted);
        assert_eq!(self.maps, wanted, "{title}: the steps lead to what was compiled");
        writeln!(self.text, "\n{}", dump::dump(&self.maps)).unwrap();
        self.settled.clear();
        self
    }

    /// Applies without writing down.
    fn settle_down(&mut self) -> &mut Self {
        let text = std::mem::take(&mut self.text);
        self.then("");
        self.text = text;
        self
    }

    fn forget_free_space(&mut self, wanted: &MapState) {
        self.maps.rings.retain(|base, _| wanted.rings.contains_key(base));
        self.maps.health.retain(|index, _| wanted.health.contains_key(index));
    }

    fn refused(&mut self, title: &str) -> &mut Self {
        let Err(refusal) = self.compiled() else { panic!("{title}: not refused") };
        writeln!(self.text, "## {title}\n\n{refusal}\n").unwrap();
        self
    }

    /// Compares with the file.
    fn end(&mut self) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden_compile/{}.txt", self.name));
        let text = self.text.trim_end().to_owned() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
            return;
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        for (number, (is, was)) in text.lines().zip(golden.lines()).enumerate() {
            assert_eq!(is, was, "{} line {}; UPDATE_GOLDEN=1 accepts", self.name, number + 1);
        }
        assert_eq!(text, golden, "{}; UPDATE_GOLDEN=1 accepts", self.name);
    }
}

fn load(text: &str) -> Config {
    config::load(&[Source { name: "lb.yaml".to_owned(), text: text.to_owned() }]).unwrap()
}

fn probes(config: &Config) -> impl Iterator<Item = ProbeKey> + '_ {
    config.rules().iter().flat_map(|rule| {
        let backends = &config.pool_of(rule).backends;
        let probe = config.probe_of(rule);
        backends.iter().filter_map(move |backend| Some(ProbeKey::new(backend.address, probe?)))
    })
}

fn tcp(socket: &str) -> Service {
    let socket: SocketAddr = socket.parse().unwrap();
    Service { address: socket.ip(), port: Port::new(socket.port()), protocol: 6 }
}

fn target(member: u16, port: u16) -> Target {
    Target { member: MemberId(member), port: Port::new(port) }
}

const THIRD: (&str, &str) = (
    "      - { name: web-2, address: 10.0.1.12 }\n",
    "      - { name: web-2, address: 10.0.1.12 }\n      - { name: web-3, address: 10.0.1.13 }\n",
);
const WITHOUT_SECOND: (&str, &str) = ("      - { name: web-2, address: 10.0.1.12 }\n", "");

#[test]
fn first_apply() {
    Story::new("first_apply").then("the base configuration").then("again: nothing to do").end();
}

#[test]
fn frontends_on_their_own_link() {
    let address: IpAddr = "203.0.113.10".parse().unwrap();
    let free = |hardware| {
        let (near, far) = (AnnouncedKey { ifindex: 3, address }, AnnouncedKey { ifindex: 7, address });
        BTreeMap::from([(near, Announced::at(hardware)), (far, Announced::at([2, 0, 0, 0, 7, 1]))])
    };
    let quiet = ("address: 203.0.113.10 }", "address: 203.0.113.10, announce: none }");
    let mut story = Story::new("announced");
    story.host.free = free([2, 0, 0, 0, 3, 1]);
    story.then("who asks on one of two links is answered as soon as there are rules");
    story.host.free = free([2, 0, 0, 0, 3, 9]);
    story.then("another card");
    story.config(&[quiet]).then("routed from now on");
    story.config(&[]).then("and found again");
    story.host.free.remove(&AnnouncedKey { ifindex: 7, address });
    story.then("somebody else has it on one link");
    story.host.own.insert(address);
    story.then("it is the host's own: the kernel answers");
    story.host.own.remove(&address);
    story.then("not its own any more");
    story.config = load(&format!("{}rules: []\n", BASE.split_once("rules:").unwrap().0));
    story.then("its last rule goes: first nobody is answered any more").end();
}

#[test]
fn members_come_and_go() {
    let mut story = Story::from_base("members_come_and_go");
    story.config(&[THIRD]).then("a third member: old connections keep the old view");
    story.config(&[THIRD, WITHOUT_SECOND]).then("the second goes meanwhile: the old view stays the old one");
    story.config(&[]).then("as it was at first: no old view");
    story.config(&[WITHOUT_SECOND]).then("the second goes");
    story.settled = [tcp(WEB)].into();
    story.carried = [(tcp(WEB), target(2, 8080))].into();
    story.then("settled, but a connection is carried");
    story.then("still carried: the member and its way back stay");
    story.carried.clear();
    story.then("the connection has ended: the member goes");
    story.then("nothing is left to do").end();
}

#[test]
fn without_carried_connections_a_member_goes_after_settling() {
    let mut story = Story::from_base("member_removed");
    story.config(&[WITHOUT_SECOND]).then("the second goes");
    story.settled = [tcp(WEB)].into();
    story.then("settled: packets may still be reading the old ring");
    story.then("nobody names it any more").end();
}

#[test]
fn each_key_of_a_view_makes_a_transition() {
    for (name, change) in [
        ("weight", ("address: 10.0.1.12 }", "address: 10.0.1.12, weight: 3 }")),
        ("backend_port", ("backendPort: 8080", "backendPort: 9090")),
        ("pool", ("pool: web", "pool: spare")),
        ("mode", ("distribution: 5-tuple", "distribution: source-ip")),
        ("mode_with_protocol", ("distribution: 5-tuple", "distribution: source-ip-protocol")),
        ("ring_size", ("maxMembers: 10", "maxMembers: 60")),
    ] {
        let mut story = Story::from_base(name);
        story.config(&[change]).then("the change");
        story.settled = [tcp(WEB)].into();
        story.then("settled").then("tidied").end();
    }
}

#[test]
fn two_rules_on_one_pool_share_ring_and_group() {
    let second = "rules:\n  - { name: tls, frontend: web, protocol: tcp, port: 443, pool: web, backendPort: 8443, probe: web, access: [{ allow: 0.0.0.0/0 }] }";
    let mut story = Story::from_base("two_rules");
    story.config(&[("rules:", second)]).then("a second rule");
    story
        .config(&[("rules:", second), ("port: 80\n", "port: 81\n")])
        .then("the first moves to port 81")
        .end();
}

#[test]
fn a_rule_keeps_its_numbers_by_its_frontend_port() {
    let mut story = Story::from_base("rule_renamed_and_removed");
    story.config(&[("name: http", "name: front-door")]).then("another name: nothing to do");
    let (before, rules) = BASE.split_once("rules:").unwrap();
    story.config = load(&format!("{before}rules: []\n"));
    assert!(rules.contains("http"));
    story.then("no rule any more: one switch takes them away").then("tidied").end();
}

#[test]
fn probes_and_admin_states() {
    let mut story = Story::from_base("health");
    story.config(&[("interval: 5s", "interval: 9s")]).then("another probe, same health: nothing to do");
    story.config(&[("address: 10.0.1.12 }", "address: 10.0.1.12, adminState: down }")]);
    story.then("the second is down by its admin state");
    story.down = ["10.0.1.11".parse().unwrap(), "10.0.1.12".parse().unwrap()].into();
    story.config(&[]).then("both probes fail: nobody accepts");
    story.config(&[("threshold: 2", "threshold: 2, noHealthyBackends: all-up")]);
    story.then("both probes fail, and the policy is to ask all").end();
}

#[test]
fn access_lists() {
    let mut story = Story::from_base("access");
    let open = "- { allow: 0.0.0.0/0 }";
    story
        .config(&[(open, "- { allow: 198.51.100.0/24 }\n      - { allow: 192.0.2.1/32 }")])
        .then("two prefixes");
    story.config(&[(open, "- { allow: 198.51.100.0/24 }")]).then("one of them: another list");
    let (closed, _) = BASE.split_once("    access:").unwrap();
    story.config = load(closed);
    story.then("none: closed");
    let vector = "- { allow: 175.0.0.0/8, priority: 200 }\n      - { deny: 175.1.0.0/24, priority: 100 }";
    story.config(&[(open, vector)]).then("a deny inside an allow, S-SEC-10");
    let same = "- { deny: 175.1.0.0/24 }\n      - { deny: 175.1.0.7 }\n      - { allow: 175.0.0.0/8 }\n      - { allow: 175.9.0.0/16 }";
    story.config(&[(open, same)]).then("the same in other words: nothing to do");
    let second = "rules:\n  - { name: other, frontend: web, protocol: tcp, port: 81, pool: web, backendPort: 9090, probe: web, accessAppliesTo: new-flows, access: [{ deny: 175.1.0.0/24 }, { allow: 175.0.0.0/8 }] }";
    story.config(&[(open, vector), ("rules:", second)]).then("a rule for new flows that shares the list");
    let hidden = "- { deny: 10.1.0.0/16, priority: 3 }\n      - { allow: 0.0.0.0/0, priority: 2 }";
    story.config(&[(open, hidden)]).then("a deny behind everybody: open");
    let nobody = "- { deny: 0.0.0.0/0 }\n      - { allow: 10.1.0.0/16 }\n    accessAppliesTo: new-flows";
    story.config(&[(open, nobody)]).then("an allow behind nobody: closed, and open connections stay").end();
}

#[test]
fn access_lists_that_do_not_fit_are_refused() {
    let mut story = Story::from_base("access");
    let open = "- { allow: 0.0.0.0/0 }";
    let list = |from: u8| (from..from + 3).map(|n| format!("- {{ allow: 10.{n}.0.0/16 }}\n      "));
    story.limits.access = 4;
    story.config(&[(open, &list(0).collect::<String>())]).settle_down();
    story.config(&[(open, &list(1).collect::<String>())]);
    let refusal = story.compiled().unwrap_err().to_string();
    assert_eq!(
        refusal,
        "prefixes of access lists, old and new ones beside each other, do not fit: 6 are needed, 4 fit\n  \
         start lbctl serve with a larger --access"
    );
    // The list that is there counts once.
    story.config(&[(open, &list(0).collect::<String>()), ("port: 80\n", "port: 81\n")]);
    story.compiled().unwrap();
}

#[test]
fn own_frontend_and_next_hops() {
    let mut story = Story::from_base("own_frontend");
    story.host.own.insert([203, 0, 113, 10].into());
    story.then("the frontend becomes an address of the host");
    let hop = Hop { ifindex: 7, destination: [2, 0, 0, 0, 0, 7], mtu: 1500, ..Hop::default() };
    story.host.next_hops = BTreeMap::from([([10, 0, 1, 11].into(), hop)]);
    story.then("a next hop is found");
    story
        .config(&[("address: 203.0.113.10", "address: 203.0.113.99")])
        .then("another frontend address")
        .end();
}

#[test]
fn a_port_that_still_answers_for_another_rule_is_refused() {
    let mut story = Story::from_base("still_carried");
    let second = "rules:\n  - { name: other, frontend: web, protocol: tcp, port: 81, pool: web, backendPort: 8080, probe: web, access: [{ allow: 0.0.0.0/0 }] }";
    story.config(&[("backendPort: 8080", "backendPort: 9090")]).then("the rule leaves port 8080");
    story.config(&[("backendPort: 8080", "backendPort: 9090"), ("rules:", second)]);
    story.refused("another rule wants it while the old view is there");
    story.config(&[("backendPort: 8080", "backendPort: 9090")]);
    story.settled = [tcp(WEB)].into();
    story.carried = [(tcp(WEB), target(1, 8080))].into();
    story.settle_down();
    story.config(&[("backendPort: 8080", "backendPort: 9090"), ("rules:", second)]);
    story.refused("and while a connection is carried");
    story.carried.clear();
    story.then("after that it can have it, in a group of its own").end();
}

#[test]
fn a_member_that_changes_services_changes_its_group_in_one_write() {
    let mut story = Story::new("group_changes");
    let rules = |first: &str, second: &str| {
        load(&format!(
            "version: 1\nfrontends:\n  - {{ name: a, address: 203.0.113.1 }}\n  - {{ name: b, address: 203.0.113.2 }}\npools:\n  - {{ name: one, backends: [{{ name: m1, address: 10.0.1.11 }}] }}\n  - {{ name: two, backends: [{second}] }}\nrules:\n{first}  - {{ name: two, frontend: b, protocol: tcp, port: 80, pool: two, backendPort: 8080, access: [{{ allow: 0.0.0.0/0 }}] }}\n"
        ))
    };
    let one = "  - { name: one, frontend: a, protocol: tcp, port: 80, pool: one, backendPort: 8080, access: [{ allow: 0.0.0.0/0 }] }\n";
    story.config = rules(one, "{ name: m2, address: 10.0.1.12 }");
    story.then("two services");
    story.config = rules("", "{ name: m1, address: 10.0.1.11 }, { name: m2, address: 10.0.1.12 }");
    story.then("the first goes, and its member serves the second: it joins the second's group").end();
}
