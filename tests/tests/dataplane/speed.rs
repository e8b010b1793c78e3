//! Bulk work stays bulk work. The bounds are loose, for a busy machine; the figures are printed.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use lb_common::abi::{FlowKey, FlowWord, Rule, RuleKey, View, map};
use lb_common::units::{Addr, MemberId, Port, Tick};
use lb_ctl::dataplane::{Change, Dataplane as _, FlowTable, Limits};

use crate::PinDir;

const FRONTEND: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

#[test]
fn rings_are_written_and_read_in_bulk() {
    let dir = PinDir::new("rings");
    let (mut bpf, _) = dir.open_with(Limits { slots: 1 << 18, ..crate::SMALL }).unwrap();
    for size in [4_099, 100_003] {
        let ring: Vec<_> = (0..size).map(|slot| MemberId(u16::try_from(slot % 65_536).unwrap())).collect();
        let change = Change::Ring(64, Arc::new(ring.clone()));
        let writes = best_of(5, || bpf.write(&change).unwrap());
        let view = View { ring_base: 64, ring_size: size, present: 1, ..View::default() };
        let rule = Rule { current: view, ..Rule::default() };
        bpf.write(&Change::Rule(RuleKey::<Addr>::default().at(FRONTEND), Some(rule))).unwrap();
        let reads = best_of(5, || assert_eq!(*bpf.read().unwrap().rings[&64], ring));
        println!("ring of {size} slots: written in {writes:?}, read in {reads:?}");
        assert!(writes < Duration::from_millis(100), "{writes:?}");
    }
}

/// S-RULE-12 has no counterpart here.
#[test]
fn thousands_of_rules_are_written_in_no_time() {
    let dir = PinDir::new("rules");
    let (mut bpf, _) = dir.open_with(Limits { rules: 16_384, ..crate::SMALL }).unwrap();
    let change = |n: u16| {
        let key = RuleKey { address: FRONTEND, port: Port::new(n), protocol: 6, epoch: 0 };
        Change::Rule(key, Some(Rule::default()))
    };
    let writes = best_of(3, || (0..10_000).for_each(|n| bpf.write(&change(n)).unwrap()));
    let reads = best_of(3, || assert_eq!(bpf.read().unwrap().rules.len(), 10_000));
    println!("10,000 rules: written in {writes:?}, read in {reads:?}");
    assert!(writes < Duration::from_millis(500), "{writes:?}");
}

#[test]
fn a_million_flows_are_walked_within_a_second() {
    const FLOWS: u32 = 1_000_000;
    let dir = PinDir::new("million");
    let (bpf, _) = dir.open_with(Limits { confirmed: 1 << 20, ..crate::SMALL }).unwrap();
    let word = FlowWord::untouched(Tick::new(7), 0);
    let key = |n: u32| FlowKey { peer: Addr::from_wire(n.to_be_bytes()), ..FlowKey::default() };
    insert(dir.path(), map::CONFIRMED, (0..FLOWS).map(|n| (key(n), word)));
    let mut count = 0;
    let walk = best_of(3, || {
        count = 0;
        bpf.flows(FlowTable::Confirmed, &mut |_, seen| count += u32::from(seen == word)).unwrap();
    });
    println!("{FLOWS} flows walked in {walk:?}");
    assert_eq!(count, FLOWS);
    assert!(walk < Duration::from_secs(3), "{walk:?}");
}

fn best_of(times: u32, mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..times).map(time).min().unwrap()
}

/// Puts entries there as packets do.
pub(crate) fn insert(dir: &Path, name: &str, flows: impl Iterator<Item = (FlowKey, FlowWord)>) {
    let map = Map::from_map_data(MapData::from_pin(dir.join("maps").join(name)).unwrap()).unwrap();
    let mut map: HashMap<_, [u8; 16], [u64; 2]> = map.try_into().unwrap();
    for (key, word) in flows {
        map.insert(bytes(&key), [word.0, 0], 0).unwrap();
    }
}

fn bytes(key: &FlowKey) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0..4].copy_from_slice(&key.peer.wire());
    bytes[4..8].copy_from_slice(&key.local.wire());
    bytes[8..10].copy_from_slice(&key.peer_port.wire());
    bytes[10..12].copy_from_slice(&key.local_port.wire());
    bytes[12] = key.protocol;
    bytes
}
