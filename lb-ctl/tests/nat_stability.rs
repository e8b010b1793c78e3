//! Random histories of a pool below a range of ports: nobody's port ever changes, and none has two
//! members before the transition of the first is over.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lb_common::abi::Root;
use lb_common::units::{Port, Target};
use lb_ctl::compile::{Host, Input, Refusal, Service, compile, nat_mapping};
use lb_ctl::config::{self, Config, Source};
use lb_ctl::dataplane::Limits;
use lb_ctl::plan::{self, plan};
use lb_ctl::state::MapState;
use proptest::prelude::*;

const FIRST: u16 = 50_100;
/// Members that may be in the pool.
const CANDIDATES: u8 = 9;

#[derive(Debug, Clone)]
enum Event {
    /// The pool has these, in this order.
    Members(Vec<u8>),
    /// The time of these held ports is over, by their place; some are in use still.
    Settle(Vec<(bool, bool)>),
    /// The range is longer by so many.
    Raise(u16),
}

fn event() -> impl Strategy<Value = Event> {
    let some = prop::sample::subsequence((1..=CANDIDATES).collect::<Vec<_>>(), 0..=usize::from(CANDIDATES));
    prop_oneof![
        4 => some.prop_shuffle().prop_map(Event::Members),
        2 => prop::collection::vec(any::<(bool, bool)>(), usize::from(CANDIDATES)).prop_map(Event::Settle),
        1 => (1..3u16).prop_map(Event::Raise),
    ]
}

/// What should be: whose each port is, and whether its member has left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    ports: BTreeMap<u16, (u8, bool)>,
    last: u16,
}

impl Model {
    /// The members of now, or `None` if they do not fit.
    fn with(&self, members: &[u8]) -> Option<Self> {
        let mut next = self.clone();
        for (member, held) in next.ports.values_mut() {
            *held = !members.contains(member);
        }
        let known: BTreeSet<u8> = next.ports.values().map(|(member, _)| *member).collect();
        let mut free = (FIRST..=self.last).filter(|port| !self.ports.contains_key(port));
        for &member in members.iter().filter(|member| !known.contains(member)) {
            next.ports.insert(free.next()?, (member, false));
        }
        Some(next)
    }
}

struct World {
    maps: MapState,
    config: Config,
    model: Model,
    members: Vec<u8>,
    protocol: &'static str,
}

impl World {
    fn new(protocol: &'static str) -> Self {
        let root = Root { hash_key: [1, 2], abi_version: 1, tick_shift: 8, ..Root::default() };
        let model = Model { last: FIRST + 4, ..Model::default() };
        let config = file(&[], model.last, protocol);
        Self { maps: MapState { root, ..MapState::default() }, config, model, members: Vec::new(), protocol }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Members(members) => self.set_members(members),
            Event::Raise(by) => {
                self.model.last += by;
                self.config = file(&self.members, self.model.last, self.protocol);
                self.put(&BTreeSet::new(), &BTreeSet::new()).unwrap();
            }
            Event::Settle(which) => self.settle(which),
        }
        self.check();
    }

    fn set_members(&mut self, members: &[u8]) {
        let before = std::mem::replace(&mut self.config, file(members, self.model.last, self.protocol));
        match (self.model.with(members), self.put(&BTreeSet::new(), &BTreeSet::new())) {
            (Some(model), Ok(())) => {
                self.model = model;
                self.members = members.to_vec();
            }
            (None, Err(Refusal::RangeFull { .. })) => self.config = before,
            (expected, found) => panic!("{members:?}: expected {expected:?}, found {found:?}"),
        }
    }

    fn settle(&mut self, which: &[(bool, bool)]) {
        let (mut settled, mut carried) = (BTreeSet::new(), BTreeSet::new());
        let label = |maps: &MapState, member: u8| {
            *maps.members.iter().find(|(_, m)| m.address == address(member)).unwrap().0
        };
        let held: Vec<_> = self
            .model
            .ports
            .iter()
            .filter(|(_, (_, held))| *held)
            .map(|(port, (m, _))| (*port, *m))
            .collect();
        for ((port, member), &(is_over, in_use)) in held.into_iter().zip(which) {
            let services = self.services(port);
            if in_use {
                let target = Target { member: label(&self.maps, member), port: Port::new(22) };
                carried.extend(services.iter().map(|service| (*service, target)));
            }
            if is_over {
                settled.extend(services);
            }
            if is_over && !in_use {
                self.model.ports.remove(&port);
            }
        }
        self.put(&settled, &carried).unwrap();
    }

    fn services(&self, port: u16) -> Vec<Service> {
        let protocols: &[u8] = if self.protocol == "all" { &[6, 17] } else { &[6] };
        let address = [203, 0, 113, 10].into();
        protocols.iter().map(|&protocol| Service { address, port: Port::new(port), protocol }).collect()
    }

    fn put(
        &mut self,
        settled: &BTreeSet<Service>,
        carried: &BTreeSet<(Service, Target)>,
    ) -> Result<(), Refusal> {
        let compiled = |maps: &MapState, settled| {
            compile(&Input {
                config: &self.config,
                healthy: &HashMap::new(),
                host: &Host::default(),
                observed: maps,
                carried,
                settled,
                hz: 1000,
                limits: Limits::default(),
            })
        };
        let wanted = compiled(&self.maps, settled)?;
        let steps = plan(&self.maps, &wanted);
        let mut maps = self.maps.clone();
        for change in steps.until_effective.iter().chain(&steps.tidy) {
            plan::apply(&mut maps, change);
        }
        maps.rings.retain(|base, _| wanted.rings.contains_key(base));
        maps.health.retain(|index, _| wanted.health.contains_key(index));
        assert_eq!(maps, wanted);
        // Labels and regions of what has gone may be given up in a second step, but no rule changes.
        assert_eq!(compiled(&maps, &BTreeSet::new())?.rules, maps.rules, "another daemon changes nothing");
        self.maps = maps;
        Ok(())
    }

    fn check(&self) {
        let mut found = BTreeMap::<u16, BTreeSet<(IpAddr, bool)>>::new();
        for mapping in nat_mapping(&self.config, &self.maps) {
            found.entry(mapping.service.port.get()).or_default().insert((mapping.member, mapping.held));
            // Replies of the member come from this port and no other.
            let owner = self.maps.owners[&mapping.member];
            let answers = self.maps.reverse.iter().filter(|(key, _)| {
                (key.group, key.port.get(), key.protocol) == (owner.group, 22, mapping.service.protocol)
            });
            let ports: Vec<_> = answers.map(|(_, reverse)| reverse.port.get()).collect();
            assert_eq!(ports, [mapping.service.port.get()]);
        }
        let expected = self
            .model
            .ports
            .iter()
            .map(|(port, (member, held))| (*port, BTreeSet::from([(address(*member), *held)])));
        assert_eq!(found, expected.collect(), "{:?}", self.model);
    }
}

fn address(member: u8) -> IpAddr {
    [10, 0, 1, member].into()
}

fn file(members: &[u8], last: u16, protocol: &str) -> Config {
    let members: Vec<_> = members.iter().map(|n| format!("{{ name: m{n}, address: 10.0.1.{n} }}")).collect();
    // The range may be too short on purpose: then it is the ports that are held that count.
    let text = format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, transition: 1h, backends: [{}] }}]
natRules: [{{ name: ssh, frontend: web, protocol: {protocol}, port: {FIRST}-{last}, pool: web, backendPort: 22 }}]
",
        members.join(", ")
    );
    config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap()
}

fn fits(event: &Event, last: u16) -> bool {
    !matches!(event, Event::Members(members) if members.len() > usize::from(last - FIRST) + 1)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobodys_port_changes_and_none_has_two_members_s_nat_3_4(
        events in prop::collection::vec(event(), 1..40),
        all in any::<bool>(),
    ) {
        let mut world = World::new(if all { "all" } else { "tcp" });
        for event in &events {
            // More members than ports is a mistake of the file, which has a row in config_errors.txt.
            if fits(event, world.model.last) {
                world.happen(event);
            }
        }
    }
}
