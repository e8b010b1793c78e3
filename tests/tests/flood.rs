//! A SYN flood finds no table to fill, and takes nothing from anybody.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use lb_tests::client::burst::Burst;
use lb_tests::client::consistency::{Load, Running};
use lb_tests::config::LabConfig;
use lb_tests::frames::{Flood, Pattern};
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{FRONTEND, Lab, SPOOFED, Topology};
use lb_tests::server::Server;

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const RATE: u32 = 50_000;

struct World {
    instance: Instance,
    config: LabConfig,
    health: Vec<Server>,
    _echo: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name, Topology { backends: 4, client_addresses: 4 }).unwrap();
        let echo = lab.backends().iter().map(|b| Server::echo(b.netns(), b.name(), 8080).unwrap()).collect();
        let health =
            lab.backends().iter().map(|b| Server::http(b.netns(), b.name(), 9000).unwrap()).collect();
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        let config = LabConfig { transition: "10m", idle_timeout: "4m", ..LabConfig::new(&lab) };
        instance.apply(&config.yaml()).unwrap();
        instance.wait_for_members(&["b1", "b2", "b3", "b4"]).unwrap();
        Self { instance, config, health, _echo: echo, lab }
    }

    fn connect(&self, connections: usize) -> Running {
        let load = Load { from: self.lab.client_addresses().nth(1).unwrap(), ..Load::new(WEB, connections) };
        let running = load.start(self.lab.client());
        running.wait_until_open(Duration::from_secs(20)).unwrap();
        running
    }

    /// Floods, and opens 10,000 connections meanwhile: at least 99.9 % succeed within three seconds.
    fn flood(&self, pattern: Pattern, frames: u64, seed: u64) {
        eprintln!("{frames} frames of {}", name(&pattern));
        let flooding = Flood { pattern, target: WEB, frames, rate: RATE, seed }.start(&self.lab).unwrap();
        let rate = u32::try_from(10_000 * u64::from(RATE) / frames).unwrap();
        let burst = Burst { rate: Some(rate), at_once: 256, ..Burst::new(WEB, 10_000) };
        let report = burst.run(self.lab.client()).unwrap();
        let sent = flooding.wait().unwrap();
        assert_eq!(sent.frames, frames);
        let succeeded = report.succeeded_within(Duration::from_secs(3));
        eprintln!("  sent in {:.1?}; {succeeded} of 10,000 new connections within 3 s", sent.took);
        let failure = report.failures().next();
        assert!(
            succeeded >= 9_990,
            "{succeeded} of 10,000 new connections succeeded; first failure: {failure:?}"
        );
    }

    /// Sources in `confirmed`.
    fn confirmed(&self) -> Vec<Ipv4Addr> {
        let path = self.instance.pin_dir().join("maps/lb_confirmed");
        let map = Map::HashMap(MapData::from_pin(path).unwrap());
        let map: HashMap<_, [u8; 16], [u8; 16]> = HashMap::try_from(map).unwrap();
        map.keys().map(|key| key.unwrap()).map(|key| Ipv4Addr::new(key[0], key[1], key[2], key[3])).collect()
    }

    fn assert_only_real_connections_are_confirmed(&self) {
        let confirmed = self.confirmed();
        let (prefix, length) = SPOOFED;
        let invented =
            |address: &Ipv4Addr| (address.to_bits() ^ prefix.to_bits()).leading_zeros() >= u32::from(length);
        let spoofed = confirmed.iter().filter(|address| invented(address)).count();
        assert_eq!(spoofed, 0, "of {} confirmed exceptions, these have invented sources", confirmed.len());
    }
}

fn name(pattern: &Pattern) -> &'static str {
    match pattern {
        Pattern::Syns => "SYNs",
        Pattern::DoubledSyns => "every SYN twice",
        Pattern::SynAckPairs => "SYN and ACK pairs",
        Pattern::DoubledAcks => "bare ACKs twice",
        Pattern::SynsFrom(_) => "SYNs with the sources of established connections",
        Pattern::Udp => "datagrams",
        Pattern::FirstFragments => "first fragments",
    }
}

/// S-DIST-17.
#[test]
fn a_million_syns_beside_real_clients() {
    let world = World::new("flood");
    let established = world.connect(500);
    world.flood(Pattern::Syns, 1_000_000, 1);
    assert!(world.confirmed().is_empty(), "{} exceptions without any change", world.confirmed().len());
    let log = established.finish().unwrap();
    assert!(log.breaks.is_empty(), "{} broke, first {:?}", log.breaks.len(), log.breaks.first());
}

#[test]
fn floods_in_the_middle_of_a_transition_with_a_member_down() {
    let mut world = World::new("flood2");
    let established = world.connect(500);
    world.health[1].set_healthy(false);
    world.instance.wait_for_members(&["b1", "b3", "b4"]).unwrap();
    world.config.members[3].listed = false;
    world.instance.apply(&world.config.yaml()).unwrap();
    let during = world.connect_from_another_address(100);
    for (seed, pattern) in [Pattern::Syns, Pattern::DoubledSyns, Pattern::SynAckPairs, Pattern::DoubledAcks]
        .into_iter()
        .enumerate()
    {
        world.flood(pattern, 1_000_000, seed as u64);
        world.assert_only_real_connections_are_confirmed();
    }
    let sources: Vec<_> = established.log().sources().into_iter().chain(during.log().sources()).collect();
    assert_eq!(sources.len(), 600);
    world.flood(Pattern::SynsFrom(sources), 1_000_000, 9);
    world.assert_only_real_connections_are_confirmed();
    for load in [established, during] {
        let log = load.finish().unwrap();
        assert!(log.breaks.is_empty(), "{} broke, first {:?}", log.breaks.len(), log.breaks.first());
    }
    assert_eq!(world.instance.event("ConfirmRefused").unwrap(), 0);
}

impl World {
    fn connect_from_another_address(&self, connections: usize) -> Running {
        let load = Load {
            from: self.lab.client_addresses().nth(2).unwrap(),
            seed: 2,
            ..Load::new(WEB, connections)
        };
        let running = load.start(self.lab.client());
        running.wait_until_open(Duration::from_secs(20)).unwrap();
        running
    }
}
