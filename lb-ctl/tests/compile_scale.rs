//! How long large configurations take. Measurements:
//! `cargo test --release -p lb-ctl --test compile_scale -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test says where it stopped")]

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Instant;

use lb_common::abi::Root;
use lb_ctl::compile::{Host, Input, compile, health_words};
use lb_ctl::config::{self, Config, Source};
use lb_ctl::dataplane::Limits;
use lb_ctl::health::ProbeKey;
use lb_ctl::plan::{self, plan};
use lb_ctl::state::MapState;

/// `rules` rules that take turns in `pools` pools of `members` members each; `without` leaves out
/// the last member of the first pool, which has a NAT `range` besides.
fn file(rules: usize, pools: usize, members: usize, range: bool, without: bool) -> Config {
    let mut text = "version: 1\nfrontends: [{ name: web, address: 203.0.113.10 }]\n".to_owned();
    text += "probes: [{ name: probe, protocol: tcp, port: 8080, interval: 5s, timeout: 2s, threshold: 2 }]\npools:\n";
    for pool in 0..pools {
        writeln!(text, "  - name: p{pool}\n    maxMembers: {members}\n    backends:").unwrap();
        for member in 0..members - usize::from(without && pool == 0) {
            let number = pool * members + member;
            writeln!(text, "      - {{ name: b{member}, address: 10.{}.{}.1 }}", number / 250, number % 250)
                .unwrap();
        }
    }
    text += "rules:\n";
    for rule in 0..rules {
        let (port, pool) = (1 + rule, rule % pools);
        writeln!(
            text,
            "  - {{ name: r{rule}, frontend: web, protocol: tcp, port: {port}, pool: p{pool}, probe: probe, access: [{{ allow: 10.{}.{}.0/24 }}] }}",
            rule / 250,
            rule % 250
        )
        .unwrap();
    }
    if range {
        let last = 10_000 + members - 1;
        writeln!(
            text,
            "natRules: [{{ name: ssh, frontend: web, protocol: tcp, port: 10000-{last}, pool: p0, backendPort: 22 }}]"
        )
        .unwrap();
    }
    config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap()
}

fn measure(rules: usize, pools: usize, members: usize, range: bool) {
    let and = if range { ", and a range of NAT ports over the first" } else { "" };
    println!("{rules} rules, {pools} pools of {members} members{and}:");
    let configs = [false, true].map(|without| file(rules, pools, members, range, without));
    let root = Root { hash_key: [1, 2], abi_version: 1, tick_shift: 8, ..Root::default() };
    let mut maps = MapState { root, ..MapState::default() };
    for (what, config) in [
        ("first apply", &configs[0]),
        ("again", &configs[0]),
        ("a member less", &configs[1]),
        ("back", &configs[0]),
    ] {
        let healthy: HashMap<ProbeKey, bool> = keys(config).collect();
        let begun = Instant::now();
        let wanted = compile(&Input {
            config,
            healthy: &healthy,
            host: &Host::default(),
            observed: &maps,
            carried: &BTreeSet::new(),
            settled: &BTreeSet::new(),
            hz: 1000,
            limits: Limits::default(),
        })
        .unwrap();
        let compiled = begun.elapsed();
        let begun = Instant::now();
        let steps = plan(&maps, &wanted);
        let planned = begun.elapsed();
        for change in steps.until_effective.iter().chain(&steps.tidy) {
            plan::apply(&mut maps, change);
        }
        maps.rings.retain(|base, _| wanted.rings.contains_key(base));
        maps.health.retain(|index, _| wanted.health.contains_key(index));
        let writes = steps.until_effective.len() + steps.tidy.len();
        println!("  {what}: compile {compiled:.1?}, plan {planned:.1?}, {writes} writes");
        let key = healthy.keys().next().unwrap();
        let begun = Instant::now();
        let words = health_words(config, &healthy, &maps, Some(key)).len();
        println!("  a verdict: {:.1?} for {words} words", begun.elapsed());
    }
}

fn keys(config: &Config) -> impl Iterator<Item = (ProbeKey, bool)> + '_ {
    config.rules().iter().flat_map(|rule| {
        let probe = config.probe_of(rule).unwrap();
        config.pool_of(rule).backends.iter().map(move |backend| (ProbeKey::new(backend.address, probe), true))
    })
}

#[test]
#[ignore = "a measurement"]
fn time_to_compile() {
    measure(1_000, 1, 1_000, false);
    measure(100, 100, 100, false);
    measure(1_000, 1_000, 2, false);
    measure(1, 1, 1_000, true);
    measure(1, 1, 8_192, true);
}
