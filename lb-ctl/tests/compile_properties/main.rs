//! What holds for every configuration and every way from one to the next.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

mod files;
mod packets;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use lb_common::abi::{Announced, Root};
use lb_ctl::compile::{Host, Input, Refusal, Service, compile};
use lb_ctl::config::Config;
use lb_ctl::dataplane::{Change, Limits};
use lb_ctl::health::ProbeKey;
use lb_ctl::plan::{self, plan};
use lb_ctl::state::{AnnouncedKey, MapState};
use proptest::prelude::*;

use files::{FRONTENDS, File};
use packets::Packets;

fn empty() -> MapState {
    let root = Root { hash_key: [1, 2], abi_version: 1, tick_shift: 8, ..Root::default() };
    MapState { root, ..MapState::default() }
}

fn compiled(file: &File, observed: &MapState, settled: &BTreeSet<Service>) -> Result<MapState, Refusal> {
    let config = file.load().unwrap();
    compile(&Input {
        config: &config,
        healthy: &healthy(&config, file),
        host: &Host { own: [[10, 0, 1, 254].into()].into(), free: free(), ..Host::default() },
        observed,
        carried: &BTreeSet::new(),
        settled,
        hz: 1000,
        limits: Limits::default(),
    })
}

/// Two links whose networks have all frontends.
fn free() -> BTreeMap<AnnouncedKey, Announced> {
    let keys = FRONTENDS.flat_map(|frontend| {
        [1, 2].map(|ifindex| AnnouncedKey { ifindex, address: [203, 0, 113, frontend].into() })
    });
    keys.map(|key| (key, Announced::at([2, 0, 0, 0, 0, 1]))).collect()
}

fn healthy(config: &Config, file: &File) -> HashMap<ProbeKey, bool> {
    let keys = config.rules().iter().flat_map(|rule| {
        let probe = config.probe_of(rule);
        let backends = config.pool_of(rule).backends.iter();
        backends.filter_map(move |backend| Some(ProbeKey::new(backend.address, probe?)))
    });
    keys.map(|key| {
        let IpAddr::V4(address) = key.address else { panic!("{} is not of these files", key.address) };
        let up = !file.down.contains(&address.octets()[3]);
        (key, up)
    })
    .collect()
}

/// The maps after a plan, without what nobody names any more.
fn after(observed: &MapState, wanted: &MapState) -> MapState {
    let mut state = observed.clone();
    let plan = plan(observed, wanted);
    for change in plan.until_effective.iter().chain(&plan.tidy) {
        plan::apply(&mut state, change);
    }
    state.rings.retain(|base, _| wanted.rings.contains_key(base));
    state.health.retain(|index, _| wanted.health.contains_key(index));
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Labels follow addresses, so that the order in the file plays no part at all.
    #[test]
    fn the_order_of_the_file_plays_no_part(file in files::file()) {
        let one = compiled(&file, &empty(), &BTreeSet::new()).unwrap();
        prop_assert_eq!(&one, &compiled(&file, &empty(), &BTreeSet::new()).unwrap());
        let other = compiled(&file.reversed(), &empty(), &BTreeSet::new()).unwrap();
        prop_assert_eq!(packets::regardless_of_places(&one), packets::regardless_of_places(&other));
    }

    /// What was put into force once asks for nothing more, but for what only packets of the old
    /// rules may still have been reading.
    #[test]
    fn what_is_in_force_is_a_fixed_point(files in prop::collection::vec(files::file(), 1..4)) {
        let (mut maps, nothing) = (empty(), BTreeSet::new());
        for file in files {
            let Ok(wanted) = compiled(&file, &maps, &nothing) else { continue };
            maps = after(&maps, &wanted);
            prop_assert_eq!(&maps, &wanted);
            let again = compiled(&file, &maps, &nothing).unwrap();
            prop_assert_eq!(&again.rules, &maps.rules);
            prop_assert_eq!(again.root, maps.root);
            let only_ways_back = |change: &Change| matches!(change, Change::Reverse(..) | Change::Owner(..));
            prop_assert!(plan(&maps, &again).until_effective.iter().all(only_ways_back));
            maps = after(&maps, &again);
            let third = compiled(&file, &maps, &nothing).unwrap();
            prop_assert!(plan(&maps, &third).is_empty());
        }
    }

    /// After any number of steps of a plan, a packet meets the old state or the new one, and who asks for
    /// a frontend is answered only if there are rules to serve him.
    #[test]
    fn no_packet_meets_a_mixture(steps in prop::collection::vec((files::file(), any::<bool>()), 2..5)) {
        let mut maps = empty();
        for (file, settle) in steps {
            let settled = if settle { services(&maps) } else { BTreeSet::new() };
            let Ok(wanted) = compiled(&file, &maps, &settled) else { continue };
            let packets = Packets::of(&maps, &wanted);
            let (old, new) = (packets.outcomes(&maps), packets.outcomes(&wanted));
            let mut walk = packets::Walk::from(&maps);
            let plan = plan(&maps, &wanted);
            for (number, change) in plan.until_effective.iter().chain(&plan.tidy).enumerate() {
                walk.apply(change);
                let now = packets.run(&mut walk);
                prop_assert_eq!(walk.empty_promises(), [] as [IpAddr; 0]);
                packets.check(&now, &old, &new, &format!("after step {} ({})", number + 1, change));
            }
            maps = after(&maps, &wanted);
        }
    }
}

fn services(maps: &MapState) -> BTreeSet<Service> {
    maps.rules_in_force().map(|(key, _)| Service::of(key)).collect()
}
