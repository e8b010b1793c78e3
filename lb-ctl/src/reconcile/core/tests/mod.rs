//! The core over the fake data plane. Time is a parameter: nothing here waits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says where it stopped")]

mod faults;
mod meaning;
mod nat;
mod random;
mod restart;
mod routes;
mod sweeping;
mod tracks;
mod transitions;
mod verdicts;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lb_common::abi::Announced;

use super::*;
use crate::config::{self, Source};
use crate::dataplane::fake::Fake;
use crate::dataplane::faulty::{Faults, Faulty};
use crate::state::AnnouncedKey;

/// A core, and what a test may do behind its back.
struct World {
    fake: Fake,
    faults: Faults,
    core: Core,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::over(Fake::default(), Instant::now())
    }

    fn over(fake: Fake, now: Instant) -> Self {
        let (faulty, faults) = Faulty::new(fake.clone());
        let mut core = Core::new(Box::new(faulty)).unwrap();
        // The frontend of most tests lies on a link.
        let link = AnnouncedKey { ifindex: 3, address: web().address };
        core.set_host(Host { free: [(link, Announced::at([2, 0, 0, 0, 3, 1]))].into(), ..Host::default() });
        Self { fake, faults, core, now }
    }

    /// With a configuration applied, and every member found healthy.
    fn with(text: &str) -> Self {
        let mut world = Self::new();
        world.apply(text).unwrap();
        world.all_up();
        world
    }

    /// Another daemon over the same maps.
    fn restart(&mut self) {
        *self = Self::over(self.fake.clone(), self.now);
    }

    fn apply(&mut self, text: &str) -> Result<(), ApplyError> {
        self.core.apply(load(text), self.now)
    }

    fn converge(&mut self) -> Result<(), ApplyError> {
        self.core.converge(&BTreeSet::new(), self.now)
    }

    fn all_up(&mut self) {
        let keys: Vec<ProbeKey> = self.core.healthy().keys().cloned().collect();
        for key in keys {
            self.core.judge(&key, true).unwrap();
        }
    }

    fn probe(&self, address: &str) -> ProbeKey {
        let address: std::net::IpAddr = address.parse().unwrap();
        self.core.healthy().keys().find(|key| key.address == address).unwrap().clone()
    }

    fn later(&mut self, by: Duration) {
        self.now += by;
        self.fake.advance(by);
    }

    fn maps(&self) -> MapState {
        self.fake.read().unwrap()
    }

    fn rule(&self, service: Service) -> Rule {
        in_force(&self.maps())[&service]
    }

    /// Whether a member of this address is in the maps.
    fn has_member(&self, address: &str) -> bool {
        let address: std::net::IpAddr = address.parse().unwrap();
        self.maps().members.values().any(|member| member.address == address)
    }
}

fn load(text: &str) -> Config {
    config::load(&[Source { name: "lb.yaml".to_owned(), text: text.to_owned() }]).unwrap()
}

/// `203.0.113.10:80` over TCP.
fn web() -> Service {
    Service {
        address: [203, 0, 113, 10].into(),
        port: lb_common::units::Port::new(80),
        protocol: lb_common::parse::TCP,
    }
}

const OPEN: &str = "access: [{ allow: 0.0.0.0/0 }]";

/// One rule, whose pool has these backends (`10.0.1.N`).
fn backends(numbers: &[u8]) -> String {
    let list: Vec<_> = numbers.iter().map(|n| format!("{{ name: b{n}, address: 10.0.1.{n} }}")).collect();
    format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
pools: [{{ name: web, transition: 1h, backends: [{}] }}]
probes: [{{ name: web, protocol: tcp, port: 8080, interval: 5s, timeout: 2s, threshold: 2 }}]
rules:
  - {{ name: http, frontend: web, protocol: tcp, port: 80, pool: web, backendPort: 8080, probe: web, {OPEN} }}
",
        list.join(", ")
    )
}
