//! What is pinned outlives its maker, and is not taken for what it is not.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lb_common::abi::{ABI_VERSION, AddressFlags, FlowKey, FlowWord, Rule, RuleKey, View, map};
use lb_common::units::{Addr, MemberId, Port, Target, Tick};
use lb_ctl::dataplane::bpf::Takeover;
use lb_ctl::dataplane::{Change, Dataplane as _, FlowTable, Limits};

use crate::{PinDir, SMALL};

const FRONTEND: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

#[test]
fn state_outlives_the_daemon() {
    let dir = PinDir::new("state");
    let (mut first, takeover) = dir.open();
    assert_eq!(takeover, Takeover::default());
    let view =
        View { ring_base: 4, ring_size: 3, health_base: 1, health_words: 1, present: 1, ..View::default() };
    for change in [
        Change::Rule(
            RuleKey::<Addr>::default().at(FRONTEND),
            Some(Rule { current: view, ..Rule::default() }),
        ),
        Change::Ring(4, Arc::new([5, 6, 7].map(MemberId).to_vec())),
        Change::Health(1, 0b1110_0000),
    ] {
        first.write(&change).unwrap();
    }
    let before = first.read().unwrap();
    assert_eq!(before.root.abi_version, ABI_VERSION);
    assert_ne!(before.root.hash_key, [0, 0]);
    drop(first);
    let (second, takeover) = dir.open();
    assert_eq!(takeover, Takeover { taken_over: true, notes: Vec::new() });
    assert_eq!(second.read().unwrap(), before);
    assert_eq!(before.rings[&4].len(), 3);
}

#[test]
fn each_new_set_of_maps_has_its_own_key() {
    let (one, other) = (PinDir::new("key-1"), PinDir::new("key-2"));
    let keys = [&one, &other].map(|dir| dir.open().0.read().unwrap().root.hash_key);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn maps_of_another_version_are_refused_and_stay() {
    let dir = PinDir::new("version");
    let (mut bpf, _) = dir.open();
    let mut root = bpf.read().unwrap().root;
    root.abi_version += 1;
    bpf.write(&Change::Root(root)).unwrap();
    drop(bpf);
    let message = dir.open_with(SMALL).err().unwrap().to_string();
    let (theirs, ours) =
        (format!("ABI version {}", ABI_VERSION + 1), format!("this lbctl has ABI version {ABI_VERSION}"));
    assert!(message.contains(&theirs) && message.contains(&ours), "{message}");
    assert!(message.contains("`lbctl detach`") && message.contains("connections are lost"), "{message}");
    assert!(dir.path().join("maps").join(map::ROOT).exists());
}

#[test]
fn maps_of_another_shape_are_refused() {
    let dir = PinDir::new("shape");
    drop(dir.open());
    let maps = dir.path().join("maps");
    // A map with other values stands where the owners are expected.
    fs::remove_file(maps.join(map::OWNERS)).unwrap();
    let other = aya::maps::MapData::from_pin(maps.join(map::ADDRESSES)).unwrap();
    other.pin(maps.join(map::OWNERS)).unwrap();
    let message = dir.open_with(SMALL).err().unwrap().to_string();
    assert!(message.contains("hold lb_owners with other sizes (4, 4, 16384)"), "{message}");
}

#[test]
fn what_a_killed_start_left_is_replaced() {
    let dir = PinDir::new("half");
    let (mut bpf, _) = dir.open();
    bpf.write(&Change::Address([10, 0, 0, 1].into(), Some(AddressFlags::OWN))).unwrap();
    drop(bpf);
    for missing in [None, Some(map::CONFIRMED), Some(map::ROOT)] {
        // The program is pinned last, so its absence tells of the kill.
        fs::remove_file(dir.path().join("prog")).unwrap();
        if let Some(missing) = missing {
            fs::remove_file(dir.path().join("maps").join(missing)).unwrap();
        }
        let (bpf, takeover) = dir.open();
        assert!(!takeover.taken_over && takeover.notes.len() == 1, "{takeover:?}");
        let state = bpf.read().unwrap();
        assert!(state.addresses.is_empty() && state.root.abi_version == ABI_VERSION);
    }
}

#[test]
fn pinned_sizes_stay_and_are_reported() {
    let dir = PinDir::new("sizes");
    drop(dir.open());
    let asked = Limits { slots: 1 << 13, confirmed: 1 << 13, ..SMALL };
    let (bpf, takeover) = dir.open_with(asked).unwrap();
    assert_eq!(bpf.limits(), SMALL);
    assert_eq!(takeover.notes.len(), 2, "{:?}", takeover.notes);
    assert!(
        takeover.notes[1].starts_with("lb_confirmed keeps its pinned room for 4096 entries instead of 8192")
    );
}

#[test]
fn removal_leaves_nothing_and_may_be_repeated() {
    let dir = PinDir::new("removal");
    drop(dir.open());
    for _ in 0..2 {
        lb_ctl::dataplane::bpf::Bpf::remove(dir.path()).unwrap();
        assert!(!dir.path().exists());
    }
}

#[test]
fn maps_of_another_version_are_removed() {
    let dir = PinDir::new("tomorrow");
    drop(dir.open());
    fs::rename(dir.path().join("maps/lb_owners"), dir.path().join("maps/lb_of_tomorrow")).unwrap();
    lb_ctl::dataplane::bpf::Bpf::remove(dir.path()).unwrap();
    assert!(!dir.path().exists());
}

#[test]
fn what_is_not_ours_is_not_removed() {
    let dir = PinDir::new("foreign");
    drop(dir.open());
    let foreign = dir.path().join("maps/precious");
    fs::create_dir(&foreign).unwrap();
    let message = lb_ctl::dataplane::bpf::Bpf::remove(dir.path()).unwrap_err().to_string();
    assert!(message.contains("cannot remove the pin folder") && foreign.exists(), "{message}");
    fs::remove_dir(&foreign).unwrap();
}

#[test]
fn exceptions_are_walked_and_forgotten() {
    let dir = PinDir::new("flows");
    let (mut bpf, _) = dir.open();
    let target = Target { member: MemberId(9), port: Port::new(8080) };
    let word = |n: u16| FlowWord::new(target, Tick::new(u32::from(n)), FlowWord::USABLE);
    let key = |n: u16| FlowKey::<Addr> { peer_port: Port::new(n), protocol: 6, ..FlowKey::default() };
    let nobody = IpAddr::from([0; 4]);
    let seen_key = |n: u16| key(n).between(nobody, nobody);
    crate::speed::insert(dir.path(), map::PENDING, (1..=3000).map(|n| (key(n), word(n))));
    let mut seen = std::collections::BTreeMap::new();
    bpf.flows(FlowTable::Pending, &mut |key, word| assert_eq!(seen.insert(*key, word), None)).unwrap();
    assert_eq!(seen, (1..=3000).map(|n| (seen_key(n), word(n))).collect());
    bpf.forget(FlowTable::Pending, &seen_key(1), word(1)).unwrap();
    bpf.forget(FlowTable::Pending, &seen_key(1), word(1)).unwrap();
    bpf.forget(FlowTable::Pending, &seen_key(2), word(1)).unwrap();
    bpf.forget(FlowTable::Confirmed, &seen_key(2), word(2)).unwrap();
    let mut left = 0;
    bpf.flows(FlowTable::Pending, &mut |_, _| left += 1).unwrap();
    assert_eq!(left, 2999);
}

#[test]
fn the_clock_goes_as_fast_as_it_says() {
    let dir = PinDir::new("clock");
    let (bpf, _) = dir.open();
    let start = Instant::now();
    let (before, hz) = bpf.clock().unwrap();
    thread::sleep(Duration::from_millis(500));
    let (after, _) = bpf.clock().unwrap();
    let (most, jiffies) = (start.elapsed().as_secs_f64() * f64::from(hz), after - before);
    println!("{jiffies} jiffies of {hz} Hz in {:?}", start.elapsed());
    #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
    let jiffies = jiffies as f64;
    // It sleeps for no less than it was asked to; from outside, no longer passed than `most`.
    assert!(jiffies >= 0.5 * f64::from(hz) - 1.0 && jiffies <= most + 1.0, "{jiffies} of at most {most}");
}
