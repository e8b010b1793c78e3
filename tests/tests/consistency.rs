//! No connection breaks or changes its backend, whatever is done to the configuration, the
//! members' health and the daemon meanwhile; and new connections only reach members that accept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lb_tests::client::consistency::{Load, Log};
use lb_tests::config::LabConfig;
use lb_tests::counters;
use lb_tests::instance::{Instance, lbctl_under_test};
use lb_tests::lab::{Backend, FRONTEND, Lab, Topology};
use lb_tests::server::Server;
use std::net::SocketAddrV4;

const WEB: SocketAddrV4 = SocketAddrV4::new(FRONTEND, 80);
const EVENTS: usize = 60;
/// Longer than the transition, so that what is changing settles.
const SETTLE: Duration = Duration::from_secs(8);

/// A lab whose backends answer on two ports, each with a switch for its health.
struct World {
    instance: Instance,
    config: LabConfig,
    health: Vec<Server>,
    healthy: Vec<bool>,
    /// Since when a member has not taken new connections, and when that ended.
    refusing: Vec<Vec<(Instant, Option<Instant>)>>,
    _echo: Vec<Server>,
    lab: Lab,
}

impl World {
    fn new(name: &str, backends: u8) -> Self {
        let lab = Lab::new(name, Topology { backends, client_addresses: 4 }).unwrap();
        let (mut echo, mut health) = (Vec::new(), Vec::new());
        for backend in lab.backends() {
            for port in [8080, 8081] {
                echo.push(Server::echo(backend.netns(), backend.name(), port).unwrap());
            }
            health.push(Server::http(backend.netns(), backend.name(), 9000).unwrap());
        }
        let instance = Instance::start(&lab, &lbctl_under_test().unwrap(), None).unwrap();
        let config = LabConfig::new(&lab);
        instance.apply(&config.yaml()).unwrap();
        let count = usize::from(backends);
        let world = Self {
            instance,
            config,
            health,
            healthy: vec![true; count],
            refusing: vec![Vec::new(); count],
            _echo: echo,
            lab,
        };
        world.wait_for_health();
        world
    }

    fn accepts(&self, member: usize) -> bool {
        self.config.serves(member) && self.healthy[member] && self.config.members[member].weight > 0
    }

    fn wait_for_health(&self) {
        let up: Vec<_> = (0..self.config.members.len())
            .filter(|&member| self.accepts(member))
            .map(|member| self.config.members[member].name.as_str())
            .collect();
        self.instance.wait_for_members(&up).unwrap();
    }

    /// Does something to the world and notes who refuses new connections from then on.
    fn change(&mut self, event: impl FnOnce(&mut Self)) {
        let before: Vec<bool> = (0..self.healthy.len()).map(|member| self.accepts(member)).collect();
        let begun = Instant::now();
        event(self);
        self.wait_for_health();
        for (member, accepted) in before.into_iter().enumerate() {
            match (accepted, self.accepts(member)) {
                (true, false) => self.refusing[member].push((Instant::now(), None)),
                (false, true) => {
                    if let Some((_, end @ None)) = self.refusing[member].last_mut() {
                        *end = Some(begun);
                    }
                }
                _ => {}
            }
        }
    }

    fn apply(&mut self, change: impl FnOnce(&mut LabConfig)) {
        change(&mut self.config);
        self.instance.apply(&self.config.yaml()).unwrap();
    }

    /// One random event; at least two members go on accepting, so that there is always a choice.
    fn disturb(&mut self, rng: &mut Rng) -> String {
        let member = rng.usize(1..self.healthy.len());
        let others = (0..self.healthy.len()).filter(|&other| other != member && self.accepts(other)).count();
        let name = self.config.members[member].name.clone();
        match rng.u8(0..9) {
            0 | 1 if self.healthy[member] && others >= 2 => {
                self.change(|world| {
                    world.health[member].set_healthy(false);
                    world.healthy[member] = false;
                });
                format!("{name} down")
            }
            0..=2 if !self.healthy[member] => {
                self.change(|world| {
                    world.health[member].set_healthy(true);
                    world.healthy[member] = true;
                });
                format!("{name} up")
            }
            3 if self.config.members[member].listed && others >= 2 => {
                self.change(|world| world.apply(|config| config.members[member].listed = false));
                format!("{name} removed")
            }
            3 | 4 if !self.config.members[member].listed => {
                self.change(|world| world.apply(|config| config.members[member].listed = true));
                format!("{name} added")
            }
            4 => {
                let weight = rng.u16(1..5);
                self.change(|world| world.apply(|config| config.members[member].weight = weight));
                format!("{name} weight {weight}")
            }
            5 => {
                self.instance.kill().unwrap();
                std::thread::sleep(Duration::from_millis(rng.u64(0..1_000)));
                self.instance.restart(&self.lab).unwrap();
                self.wait_for_health();
                "daemon killed and restarted".to_owned()
            }
            6 => {
                let pool = if self.config.pool == 'a' { 'b' } else { 'a' };
                self.change(|world| world.apply(|config| config.pool = pool));
                format!("pool {pool}")
            }
            7 => {
                let port = if self.config.backend_port == 8080 { 8081 } else { 8080 };
                self.change(|world| world.apply(|config| config.backend_port = port));
                format!("backendPort {port}")
            }
            _ => {
                let size = if self.config.max_members == 40 { 80 } else { 40 };
                self.change(|world| world.apply(|config| config.max_members = size));
                format!("maxMembers {size}")
            }
        }
    }

    fn check(&self, log: &Log, events: &[(Instant, String)]) {
        let since =
            |at: Instant| events.iter().rev().find(|(when, _)| *when <= at).map_or("start", |(_, what)| what);
        for broken in log.breaks.iter().take(10) {
            eprintln!("broken after \"{}\": {broken:?}", since(broken.at));
        }
        assert!(log.breaks.is_empty(), "{} connections broke, seed and events above", log.breaks.len());
        let by_name: BTreeMap<_, _> = self
            .config
            .members
            .iter()
            .enumerate()
            .map(|(index, member)| (member.name.as_str(), index))
            .collect();
        for opened in &log.opened {
            let member = by_name[opened.server.as_str()];
            let refused = self.refusing[member]
                .iter()
                .find(|(begin, end)| opened.started > *begin && end.is_none_or(|end| opened.answered < end));
            assert!(
                refused.is_none(),
                "a new connection reached {} while it did not accept: {opened:?}",
                opened.server
            );
        }
    }
}

/// S-DIST-7, S-DIST-13, S-POOL-12.
#[test]
fn sixty_events_break_no_connection() {
    let seed = std::env::var("LB_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| Rng::new().u64(..));
    eprintln!("seed {seed} (LB_TEST_SEED repeats it)");
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new("consistency", 6);
    let patience = Duration::from_secs(8);
    let others = Load {
        pausing: 200,
        half_closed: 200,
        pause: Duration::from_secs(4),
        patience,
        seed,
        ..Load::new(WEB, 1_500)
    };
    // From an address of its own: the client's kernel may give a port that is about to be used
    // again to any other connection of the same address.
    let from = world.lab.client_addresses().nth(1).unwrap();
    let same_port = Load { same_port: 100, patience, from, seed, ..Load::new(WEB, 0) };
    let loads = [others, same_port].map(|load| load.start(world.lab.client()));
    for load in &loads {
        load.wait_until_open(Duration::from_secs(30)).unwrap();
    }
    let mut events = Vec::new();
    for number in 0..EVENTS {
        let what = world.disturb(&mut rng);
        eprintln!("{number}: {what}");
        events.push((Instant::now(), what));
        let pause = if number % 10 == 9 { SETTLE } else { Duration::from_millis(rng.u64(200..1_500)) };
        std::thread::sleep(pause);
    }
    std::thread::sleep(SETTLE);
    for load in loads {
        let log = load.finish().unwrap();
        eprintln!("{} connections opened, {} exchanges", log.opened.len(), log.exchanges);
        world.check(&log, &events);
    }
    assert_eq!(world.instance.event("ConfirmRefused").unwrap(), 0);
    for host in [world.lab.client()].into_iter().chain(world.lab.backends().iter().map(Backend::netns)) {
        assert_eq!(counters::checksum_errors(host).unwrap(), 0, "a wrong checksum arrived");
    }
}

/// S-RES-8: one apply is all that it takes.
#[test]
fn a_change_of_membership_leaves_exceptions_for_its_own_share_only() {
    let mut world = World::new("share", 5);
    // Not the first 8 seconds of a life of 6: the end of this test waits for it.
    world.apply(|config| config.members[4].listed = false);
    std::thread::sleep(SETTLE);
    let load = Load { interval: Duration::from_millis(500), ..Load::new(WEB, 2_000) };
    let running = load.start(world.lab.client());
    running.wait_until_open(Duration::from_secs(30)).unwrap();
    assert_eq!(world.instance.exceptions().unwrap(), (0, 0), "exceptions before any change");
    let made_before = world.instance.event("Suspended").unwrap();
    world.change(|world| world.apply(|config| config.members[4].listed = true));
    std::thread::sleep(Duration::from_secs(3));
    let made = world.instance.event("Suspended").unwrap() - made_before;
    let confirmed = world.instance.event("Confirmed").unwrap();
    // A fifth of the slots belongs to the new member, and Maglev moves a few more.
    let share = 2_000.0 / 5.0;
    eprintln!("{made} exceptions made, {confirmed} confirmed, for a share of {share}");
    #[allow(clippy::cast_precision_loss, reason = "thousands")]
    let made = made as f64;
    assert!(made <= 1.3 * share, "{made} exceptions for a share of {share}");
    assert!(
        made >= 0.7 * share,
        "{made} exceptions for a share of {share}: busy connections were not noticed"
    );
    let log = running.finish().unwrap();
    assert!(log.breaks.is_empty(), "{:?}", log.breaks.first());
    std::thread::sleep(Duration::from_secs(8));
    assert_eq!(world.instance.exceptions().unwrap(), (0, 0), "exceptions of connections that have closed");
}
