//! Any sequence of applies, verdicts, settlings, faults, kills and restarts.

use std::net::IpAddr;

use proptest::prelude::*;

use super::meaning::{self, Choice, assert_tidy};
use super::*;
use crate::compile::tracking::Why;
use crate::compile::{ring, tracking};

#[derive(Debug, Clone)]
enum Step {
    Apply(File),
    Verdict(u8, bool),
    Wait(u16),
    Restart,
    /// The write after next fails, or all from then on.
    Fault(u64, bool),
}

/// A configuration of two pools and up to three rules.
#[derive(Debug, Clone, PartialEq)]
struct File {
    pools: [Vec<(u8, u8)>; 2],
    /// Pool and backend port of rules on ports 80, 81, 82.
    rules: Vec<(usize, u16)>,
    ring: u32,
}

impl File {
    fn text(&self) -> String {
        let pools = self.pools.iter().enumerate().map(|(index, members)| {
            let one =
                |(n, weight): &(u8, u8)| format!("{{ name: b{n}, address: 10.0.1.{n}, weight: {weight} }}");
            let list: Vec<_> = members.iter().map(one).collect();
            let (max, list) = (self.ring, list.join(", "));
            format!("  - {{ name: p{index}, transition: 1h, maxMembers: {max}, backends: [{list}] }}\n")
        });
        let rules = (80..).zip(&self.rules).map(|(port, (pool, to))| {
            format!("  - {{ name: r{port}, frontend: web, protocol: tcp, port: {port}, pool: p{pool}, backendPort: {to}, probe: web, {OPEN} }}\n")
        });
        let (pools, rules): (String, String) = (pools.collect(), rules.collect());
        let rules = if rules.is_empty() { " []\n".to_owned() } else { format!("\n{rules}") };
        format!(
            "version: 1
frontends: [{{ name: web, address: 203.0.113.10 }}]
probes: [{{ name: web, protocol: tcp, port: 8080, interval: 5s, timeout: 2s, threshold: 2 }}]
pools:
{pools}rules:{rules}"
        )
    }

    fn load(&self) -> Option<Config> {
        config::load(&[Source { name: "lb.yaml".to_owned(), text: self.text() }]).ok()
    }
}

fn file() -> impl Strategy<Value = File> {
    let members = || {
        prop::collection::btree_map(1..6u8, 1..3u8, 0..4).prop_map(|members| members.into_iter().collect())
    };
    let rules = prop::collection::vec((0..2usize, 8080..8083u16), 0..4);
    (members(), members(), rules, prop_oneof![Just(10u32), Just(60)])
        .prop_map(|(one, two, rules, ring)| File { pools: [one, two], rules, ring })
        .prop_filter("valid", |file| file.load().is_some())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => file().prop_map(Step::Apply),
        4 => (1..6u8, any::<bool>()).prop_map(|(member, up)| Step::Verdict(member, up)),
        2 => (0..90u16).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        2 => (1..20u64, any::<bool>()).prop_map(|(write, for_ever)| Step::Fault(write, for_ever)),
    ]
}

/// What new connections are to meet: built from the file, not from labels or regions.
fn aims(config: &Config, core: &Core) -> BTreeMap<Service, Choice> {
    let [high, low] = core.observed().root.hash_key;
    let key = ring::RingKey((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
    let choice = |rule: &crate::config::model::Rule| {
        let pool = config.pool_of(rule);
        let members: Vec<_> = (1..)
            .zip(&pool.backends)
            .map(|(id, b)| ring::Member { address: b.address, weight: b.weight, id })
            .collect();
        let slots = if members.is_empty() {
            Vec::new()
        } else {
            ring::build(key, &members, ring::size_for(pool.max_members))
        };
        let states = compile::accepting(config, rule, core.healthy());
        let accepting = pool.backends.iter().zip(states).filter(|(_, state)| state.yes());
        Choice {
            port: rule.backend_port,
            mode: 0,
            ring: slots.iter().map(|&id| pool.backends[usize::from(id) - 1].address).collect(),
            accepting: accepting.map(|(backend, _)| backend.address).collect(),
        }
    };
    let rules = config.rules().iter();
    rules
        .flat_map(|rule| Service::of_rule(config, rule).map(move |service| (service, choice(rule))))
        .collect()
}

/// The maps are what the model says.
fn check(world: &World, verdicts: &BTreeMap<IpAddr, bool>) {
    let Some(config) = world.core.config() else { return };
    let maps = world.maps();
    let current: BTreeMap<_, _> =
        meaning::rules(&maps).into_iter().map(|(service, meaning)| (service, meaning.current)).collect();
    assert_eq!(current, aims(config, &world.core));
    for (key, up) in world.core.healthy() {
        if let Some(verdict) = verdicts.get(&key.address) {
            assert_eq!(up, verdict, "{key:?}");
        }
    }
    let replies = meaning::replies(&maps);
    let shares: BTreeMap<_, _> = config
        .rules()
        .iter()
        .zip(tracking::of_rules(config))
        .map(|(rule, why)| (rule.name.as_str(), matches!(why, Some(Why::SharedPort(_)))))
        .collect();
    for rule in config.rules() {
        let [service] = Service::of_rule(config, rule).collect::<Vec<_>>()[..] else {
            panic!("two protocols")
        };
        for backend in &config.pool_of(rule).backends {
            let socket = (backend.address, lb_common::units::Port::new(rule.backend_port), 6);
            let answers = replies.get(&socket).expect("a frontend that it answers for");
            // One of those that share it.
            assert!(answers == &(service.address, service.port) || shares[rule.name.as_str()]);
        }
    }
}

fn play(steps: Vec<Step>) {
    let mut world = World::new();
    let mut verdicts = BTreeMap::<IpAddr, bool>::new();
    let mut last = None;
    for step in steps {
        match step {
            Step::Apply(file) => {
                match world.apply(&file.text()) {
                    Ok(()) => last = Some(file),
                    Err(ApplyError::Refused(why)) => assert!(why.contains("still serves"), "{why}"),
                    Err(_) => {}
                }
                world.faults.heal();
            }
            Step::Verdict(member, up) => {
                let address = IpAddr::from([10, 0, 1, member]);
                let Some(key) = world.core.healthy().keys().find(|key| key.address == address).cloned()
                else {
                    continue;
                };
                verdicts.insert(address, up);
                let _ = world.core.judge(&key, up);
                world.faults.heal();
            }
            Step::Wait(minutes) => {
                world.later(Duration::from_mins(minutes.into()));
                let _ = world.core.settle(world.now);
                world.faults.heal();
            }
            Step::Restart => {
                world.restart();
                if let Some(file) = &last {
                    world.apply(&file.text()).unwrap();
                }
            }
            Step::Fault(write, true) => {
                world.faults.fail_from(write);
                continue;
            }
            Step::Fault(write, false) => {
                world.faults.fail_write(write);
                continue;
            }
        }
        // As the desk does after trouble.
        world.converge().unwrap();
        let probed: BTreeSet<_> = world.core.healthy().keys().map(|key| key.address).collect();
        verdicts.retain(|address, _| probed.contains(address));
        if world.core.config().is_some() {
            check(&world, &verdicts);
            assert_tidy(&world);
        }
    }
    world.faults.heal();
    world.later(Duration::from_hours(3));
    world.core.settle(world.now).unwrap();
    world.converge().unwrap();
    assert_nothing_is_carried(&world);
}

fn assert_nothing_is_carried(world: &World) {
    let maps = world.maps();
    assert!(maps.rules.values().all(|rule| rule.old.present == 0), "old views after three hours");
    let Some(config) = world.core.config() else { return };
    let wanted: BTreeSet<_> =
        config.pools().iter().flat_map(|pool| &pool.backends).map(|b| b.address).collect();
    let there: BTreeSet<_> = maps.members.values().map(|member| member.address).collect();
    assert_eq!(there, wanted, "members after three hours");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_maps_follow_the_model(steps in prop::collection::vec(step(), 1..24)) {
        play(steps);
    }
}
