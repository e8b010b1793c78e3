//! Fake and real data plane hold the same after the same writes.

use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;
use lb_common::abi::{
    self, AddressFlags, Announced, Owner, Range, RangeKey, ReverseKey, RouteTable, Rule, View, sieve,
};
use lb_common::testkit::frame::twin;
use lb_common::units::{Addr, MemberId, Port};
use lb_ctl::dataplane::fake::Fake;
use lb_ctl::dataplane::{Change, Dataplane as _};
use lb_ctl::state::{AccessEntry, AnnouncedKey, PortPrefix, Reverse, RuleKey};

use crate::{PinDir, SMALL};

const CHANGES: usize = 6000;

#[test]
fn the_fake_and_the_kernel_hold_the_same() {
    let seed = std::env::var("LB_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("LB_TEST_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let dir = PinDir::new("agreement");
    let (mut real, mut fake) = (dir.open().0, Fake::new(SMALL));
    // Key and HZ differ, all else of a fresh root is overwritten below.
    let root = real.read().unwrap().root;
    fake.write(&Change::Root(root)).unwrap();
    let (mut refused, mut rich) = (0, 0);
    for number in 0..CHANGES {
        let mut change = random_change(&mut rng);
        if let Change::Root(new) = &mut change {
            *new = lb_common::abi::Root { epoch: rng.u32(0..256), ..root };
        }
        let (real_says, fake_says) = (real.write(&change), fake.write(&change));
        assert_eq!(real_says.is_ok(), fake_says.is_ok(), "{change}: {real_says:?} {fake_says:?}");
        if let (Err(real_says), Err(fake_says)) = (real_says, fake_says) {
            refused += 1;
            // The kernel names the reason of a misplaced ring more closely than the fake.
            assert!(real_says.to_string().starts_with("map lb_"), "{real_says} {fake_says}");
        }
        if number % 100 == 0 || number + 1 == CHANGES {
            let state = real.read().unwrap();
            assert_eq!(state, fake.read().unwrap(), "after {number} changes");
            rich += usize::from(state.rings.len() > 3 && state.access.len() > 3 && state.reverse.len() > 3);
        }
    }
    assert!(refused > 0 && rich > CHANGES / 200, "changes too tame: {refused} refused, {rich} states");
}

/// Keys are few, so that deletions and replacements meet what is there.
fn random_change(rng: &mut Rng) -> Change {
    let address = address(rng);
    let number = rng.u32(..);
    let there = rng.u8(0..3) > 0;
    match rng.u8(0..15) {
        0 => Change::Root(lb_common::abi::Root::default()),
        1 => Change::Sieve(Box::new([rng.u64(..); sieve::WORDS])),
        2 | 3 => Change::Rule(rule_key(rng, address), there.then(|| rule(rng, number))),
        4 => Change::Address(address, there.then_some(AddressFlags(number))),
        5 => Change::Access(prefix(rng, number), there.then(|| rng.u32(0..2))),
        6 => {
            let first = rng.u32(0..30) * 4 + u32::from(rng.u8(0..20) == 0);
            let labels = (0..rng.usize(1..70)).map(|_| MemberId(rng.u16(..))).collect();
            Change::Ring(if rng.u8(0..50) == 0 { SMALL.slots } else { first }, Arc::new(labels))
        }
        7 => Change::Health(rng.u32(0..=SMALL.health_words), rng.u64(..)),
        8 => {
            let member = abi::Member::<Addr> { ifindex: number, present: 1, mtu: 1500, ..Default::default() };
            let member = member.at(address, address);
            Change::Member(MemberId(rng.u16(65_500..)), there.then_some(member))
        }
        9 => {
            let owner = Owner { group: number, member: MemberId(rng.u16(..)), flags: rng.u16(..) };
            Change::Owner(address, there.then_some(owner))
        }
        11 => Change::Range(ports(rng, address), there.then(|| range(rng))),
        12 => {
            let group = rng.u32(0..5);
            Change::ReverseRange(ports(rng, group), there.then(|| range(rng)))
        }
        // The other one is in force.
        10 => Change::Routes(1, Box::new(RouteTable { used: number, ..RouteTable::default() })),
        13 => {
            let key = AnnouncedKey { ifindex: rng.u32(1..3), address };
            Change::Announced(key, there.then_some(Announced::at([2, 0, 0, 0, 0, rng.u8(..)])))
        }
        _ => {
            let key =
                ReverseKey { group: rng.u32(0..5), port: Port::new(80), protocol: rng.u8(0..4), reserved: 0 };
            let reverse = Reverse {
                address,
                port: Port::new(81),
                last: Port::new(rng.u16(81..)),
                flags: 0,
                reserved: 0,
                stats: number,
                life: 9,
            };
            Change::Reverse(key, there.then_some(reverse))
        }
    }
}

/// Of either family.
fn address(rng: &mut Rng) -> IpAddr {
    let address = IpAddr::from([10, 0, 0, rng.u8(0..24)]);
    if rng.bool() { twin(address) } else { address }
}

fn ports<O>(rng: &mut Rng, of: O) -> PortPrefix<O> {
    let length = rng.u8(0..=3);
    let first = rng.u16(..) & u16::MAX.checked_shl(16 - u32::from(length)).unwrap_or(0);
    PortPrefix { key: RangeKey { of, protocol: 6, epoch: rng.u8(0..2), port: Port::new(first) }, length }
}

fn range(rng: &mut Rng) -> Range {
    Range { first: Port::new(rng.u16(..)), last: Port::new(rng.u16(..)) }
}

/// More keys than [`SMALL`] has room for.
fn rule_key(rng: &mut Rng, address: IpAddr) -> RuleKey {
    RuleKey { address, port: Port::new(rng.u16(80..84)), protocol: 6, epoch: rng.u8(0..2) }
}

fn rule(rng: &mut Rng, number: u32) -> Rule {
    let (current, old) = (view(rng), view(rng));
    Rule { current, old, life: number, stats: rng.u32(0..64), access: rng.u32(..), flags: rng.u32(..) }
}

fn view(rng: &mut Rng) -> View {
    View {
        ring_base: rng.u32(0..30) * 4,
        ring_size: rng.u32(0..70),
        health_base: rng.u32(0..60),
        health_words: rng.u16(0..5),
        port: Port::new(rng.u16(..)),
        mode: rng.u8(0..3),
        present: rng.u8(0..2),
        ..View::default()
    }
}

fn prefix(rng: &mut Rng, number: u32) -> AccessEntry {
    let length = rng.u8(0..=32);
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let network = IpAddr::from((number & mask & 0x0f0f_0f0f).to_be_bytes());
    let (address, length) = if rng.bool() { (twin(network), length + 96) } else { (network, length) };
    AccessEntry { list: rng.u32(2..4), address, length }
}
