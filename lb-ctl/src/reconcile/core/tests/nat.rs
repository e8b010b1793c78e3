//! Ports of NAT rules over time.

use lb_common::abi::FlowWord;
use lb_common::units::{Port, Target, Tick};

use super::*;
use crate::compile::nat_mapping;
use crate::dataplane::FlowTable;
use crate::state::FlowKey;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// A range of two ports over these members (`10.0.1.N`).
fn range(members: &[u8]) -> String {
    let members: Vec<_> = members.iter().map(|n| format!("{{ name: b{n}, address: 10.0.1.{n} }}")).collect();
    format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, transition: 1h, backends: [{}] }}]
natRules: [{{ name: ssh, frontend: web, protocol: tcp, port: 50100-50101, pool: web, backendPort: 22, {OPEN} }}]
",
        members.join(", ")
    )
}

fn first() -> Service {
    Service { port: Port::new(50_100), ..web() }
}

impl World {
    /// The last byte of each port's member, and whether the port is held.
    fn ports(&self) -> Vec<(u16, u8, bool)> {
        let mapping = nat_mapping(self.core.config().unwrap(), self.core.observed());
        let last = |address| match address {
            std::net::IpAddr::V4(address) => address.octets()[3],
            std::net::IpAddr::V6(_) => panic!("members here are IPv4"),
        };
        mapping.iter().map(|it| (it.service.port.get(), last(it.member), it.held)).collect()
    }

    fn settle(&mut self) {
        self.core.settle(self.now).unwrap();
    }
}

#[test]
fn a_port_is_held_for_the_time_of_the_transition_and_then_free() {
    let mut world = World::with(&range(&[1, 2]));
    world.apply(&range(&[2])).unwrap();
    assert_eq!(world.ports(), [(50_100, 1, true), (50_101, 2, false)]);
    world.later(59 * MINUTE);
    world.settle();
    let refusal = world.apply(&range(&[2, 3])).unwrap_err().to_string();
    assert!(refusal.starts_with("NAT rule ssh: 50100-50101 is full: of its 2 ports 1 is held"), "{refusal}");
    assert_eq!(world.ports(), [(50_100, 1, true), (50_101, 2, false)]);
    world.later(MINUTE);
    world.settle();
    assert_eq!(world.ports(), [(50_101, 2, false)]);
    assert_eq!(world.core.transition(first()), None);
    world.apply(&range(&[2, 3])).unwrap();
    assert_eq!(world.ports(), [(50_100, 3, false), (50_101, 2, false)]);
}

#[test]
fn after_a_restart_ports_are_whose_they_were_and_held_ones_begin_their_time_anew() {
    let mut world = World::with(&range(&[1, 2]));
    world.apply(&range(&[2])).unwrap();
    world.later(59 * MINUTE);
    world.restart();
    world.apply(&range(&[2])).unwrap();
    assert_eq!(world.ports(), [(50_100, 1, true), (50_101, 2, false)]);
    assert_eq!(world.core.transition(first()).unwrap().until, world.now + HOUR);
}

#[test]
fn a_port_that_connections_still_use_is_held_and_looked_at_each_minute() {
    let mut world = World::with(&range(&[1, 2]));
    let label = *world.maps().members.iter().find(|(_, m)| m.address.to_string() == "10.0.1.1").unwrap().0;
    world.apply(&range(&[2])).unwrap();
    let connection = FlowKey {
        peer: [198, 51, 100, 1].into(),
        local: web().address,
        peer_port: Port::new(40_000),
        local_port: first().port,
        protocol: first().protocol,
        reserved: [0; 3],
    };
    world.later(HOUR);
    let (jiffies, _) = world.fake.clock().unwrap();
    let tick = Tick::new(u32::try_from(jiffies >> world.maps().root.tick_shift).unwrap());
    let word = FlowWord::new(Target { member: label, port: Port::new(22) }, tick, FlowWord::USABLE);
    world.fake.insert_flow(FlowTable::Confirmed, connection, word);
    for looked in 1..=3 {
        world.settle();
        assert_eq!(world.ports(), [(50_100, 1, true), (50_101, 2, false)]);
        let transition = *world.core.transition(first()).unwrap();
        assert_eq!((transition.until, transition.prolonged), (world.now + MINUTE, looked));
        world.settle();
        assert_eq!(world.core.transition(first()), Some(&transition), "not before that minute is over");
        world.later(MINUTE);
    }
    // It has been silent for longer than exceptions live.
    world.later(HOUR);
    world.settle();
    assert_eq!(world.ports(), [(50_101, 2, false)]);
}
