//! Random configurations from a small world, so that they meet each other often.

use std::collections::BTreeSet;

use lb_ctl::config::{self, Config, Source};
use proptest::prelude::*;

#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(crate) struct Rule {
    /// Last byte of 203.0.113.N.
    pub(crate) frontend: u8,
    pub(crate) udp: bool,
    pub(crate) port: u16,
    pub(crate) pool: usize,
    pub(crate) backend_port: u16,
    /// Both of the ports, here and there.
    pub(crate) range: bool,
    pub(crate) probed: bool,
    pub(crate) all_up: bool,
    pub(crate) by_source: bool,
    /// None is closed; else one of [`ACCESS`].
    pub(crate) access: Option<usize>,
    pub(crate) new_flows: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Pool {
    /// Last byte of 10.0.1.N, weight, admin state.
    pub(crate) backends: Vec<(u8, u16, &'static str)>,
    pub(crate) max_members: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) frontends: Vec<u8>,
    pub(crate) pools: Vec<Pool>,
    pub(crate) rules: Vec<Rule>,
    /// Members whose probes fail.
    pub(crate) down: BTreeSet<u8>,
}

/// Everybody, one net or another, all but one net or another.
const ACCESS: [&str; 5] = [
    "{ allow: 0.0.0.0/0 }",
    "{ allow: 198.51.101.0/24 }",
    "{ allow: 198.51.102.0/24 }",
    "{ deny: 198.51.101.0/24 }, { allow: 198.51.0.0/16 }",
    "{ deny: 198.51.102.0/24 }, { allow: 0.0.0.0/0 }",
];

pub(crate) const MEMBERS: std::ops::Range<u8> = 1..6;
pub(crate) const FRONTENDS: std::ops::Range<u8> = 1..4;
pub(crate) const PORTS: [u16; 2] = [80, 81];
pub(crate) const BACKEND_PORTS: [u16; 2] = [8080, 8081];

pub(crate) fn file() -> impl Strategy<Value = File> {
    let pools = prop::collection::vec(pool(), 1..4);
    let frontends = prop::collection::btree_set(FRONTENDS, 1..3);
    let down = prop::collection::btree_set(MEMBERS, 0..4);
    (pools, frontends, down, prop::collection::vec(rule(), 0..5))
        .prop_map(|(pools, frontends, down, rules)| {
            let frontends: Vec<u8> = frontends.into_iter().collect();
            let rules = rules.into_iter().map(|rule| Rule {
                pool: rule.pool % pools.len(),
                frontend: frontends[usize::from(rule.frontend) % frontends.len()],
                ..rule
            });
            File { rules: rules.collect(), frontends, pools, down }.without_conflicts()
        })
        .prop_filter("valid", |file| file.load().is_some())
}

fn pool() -> impl Strategy<Value = Pool> {
    let admin = prop_oneof![6 => Just("none"), 1 => Just("up"), 1 => Just("down")];
    let backends =
        prop::collection::btree_map(MEMBERS, (prop_oneof![6 => 1..4u16, 1 => Just(0u16)], admin), 0..4);
    (backends, prop_oneof![Just(10u32), Just(60)]).prop_filter_map(
        "some weight",
        |(backends, max_members)| {
            let backends: Vec<_> =
                backends.into_iter().map(|(n, (weight, admin))| (n, weight, admin)).collect();
            let weighty = backends.is_empty() || backends.iter().any(|(_, weight, _)| *weight > 0);
            weighty.then_some(Pool { backends, max_members })
        },
    )
}

fn rule() -> impl Strategy<Value = Rule> {
    let access = prop_oneof![4 => Just(Some(0)), 1 => Just(None), 3 => (1..ACCESS.len()).prop_map(Some)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let ports = (0..PORTS.len(), 0..BACKEND_PORTS.len(), prop::bool::weighted(0.3));
    (any::<u8>(), ports, any::<usize>(), flags, access).prop_map(
        |(
            frontend,
            (port, backend_port, range),
            pool,
            (udp, probed, all_up, by_source, new_flows),
            access,
        )| Rule {
            frontend,
            udp: udp && probed,
            port: PORTS[port],
            pool,
            backend_port: BACKEND_PORTS[backend_port],
            range,
            probed,
            all_up,
            by_source,
            access,
            new_flows: new_flows && !(udp && probed),
        },
    )
}

impl File {
    /// Leaves out rules that the validation would refuse beside earlier ones.
    fn without_conflicts(mut self) -> Self {
        let mut kept = Vec::<Rule>::new();
        for rule in std::mem::take(&mut self.rules) {
            let shares = |one: usize, other: usize| {
                let members =
                    |pool: usize| self.pools[pool].backends.iter().map(|(n, ..)| *n).collect::<BTreeSet<_>>();
                one == other || !members(one).is_disjoint(&members(other))
            };
            let conflict = kept.iter().any(|other| {
                let one_kind = other.range == rule.range;
                let alike = (other.frontend, other.back()) == (rule.frontend, rule.back());
                let meet = |one: u16, another: u16| other.range || rule.range || one == another;
                other.udp == rule.udp
                    && (one_kind && other.frontend == rule.frontend && meet(other.port, rule.port)
                        || meet(other.backend_port, rule.backend_port)
                            && shares(other.pool, rule.pool)
                            && (one_kind || !alike))
            });
            if !conflict {
                kept.push(rule);
            }
        }
        self.rules = kept;
        self
    }

    /// The same in another order.
    pub(crate) fn reversed(&self) -> Self {
        let mut other = self.clone();
        let last = other.pools.len() - 1;
        other.frontends.reverse();
        other.pools.reverse();
        other.rules.reverse();
        other.pools.iter_mut().for_each(|pool| pool.backends.reverse());
        other.rules.iter_mut().for_each(|rule| rule.pool = last - rule.pool);
        other
    }

    pub(crate) fn load(&self) -> Option<Config> {
        config::load(&[Source { name: "lb.yaml".to_owned(), text: self.text() }]).ok()
    }

    fn text(&self) -> String {
        let frontend = |n: &u8| format!("  - {{ name: f{n}, address: 203.0.113.{n} }}\n");
        let frontends: String = self.frontends.iter().map(frontend).collect();
        let pools: String = self.pools.iter().enumerate().map(|(index, pool)| pool.text(index)).collect();
        let rules: String = self.rules.iter().enumerate().map(|(index, rule)| rule.text(index)).collect();
        let rules = if rules.is_empty() { " []\n".to_owned() } else { format!("\n{rules}") };
        format!(
            "version: 1
frontends:
{frontends}probes: [{{ name: probe, protocol: tcp, port: 8080, interval: 5s, timeout: 2s, threshold: 2 }}]
pools:
{pools}rules:{rules}"
        )
    }
}

impl Pool {
    fn text(&self, index: usize) -> String {
        let backend = |(n, weight, admin): &(u8, u16, &str)| {
            format!("{{ name: b{n}, address: 10.0.1.{n}, weight: {weight}, adminState: {admin} }}")
        };
        let backends: Vec<_> = self.backends.iter().map(backend).collect();
        let (max, backends) = (self.max_members, backends.join(", "));
        format!("  - {{ name: p{index}, maxMembers: {max}, backends: [{backends}] }}\n")
    }
}

impl Rule {
    /// From a port at the members to the frontend's.
    fn back(&self) -> u16 {
        if self.range { BACKEND_PORTS[0] - PORTS[0] } else { self.backend_port - self.port }
    }

    fn text(&self, index: usize) -> String {
        let protocol = if self.udp { "udp" } else { "tcp" };
        let probe = match (self.probed, self.all_up) {
            (true, true) => ", probe: probe, noHealthyBackends: all-up",
            (true, false) => ", probe: probe",
            (false, _) => "",
        };
        let mode = if self.by_source { ", distribution: source-ip" } else { "" };
        let access = match self.access {
            None => String::new(),
            Some(list) => format!(", access: [{}]", ACCESS[list]),
        };
        let applies = if self.new_flows { ", accessAppliesTo: new-flows" } else { "" };
        let Self { frontend, pool, .. } = self;
        let (port, backend_port) = if self.range {
            let [[first, last], [first_back, last_back]] = [PORTS, BACKEND_PORTS];
            (format!("{first}-{last}"), format!("{first_back}-{last_back}"))
        } else {
            (self.port.to_string(), self.backend_port.to_string())
        };
        format!(
            "  - {{ name: r{index}, frontend: f{frontend}, protocol: {protocol}, port: {port}, pool: p{pool}, backendPort: {backend_port}{probe}{mode}{access}{applies} }}\n"
        )
    }
}
