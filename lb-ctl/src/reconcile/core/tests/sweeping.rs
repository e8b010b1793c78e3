use lb_common::abi::FlowWord;
use lb_common::units::{MemberId, Port, Target, Tick};

use super::meaning::assert_tidy;
use super::*;
use crate::dataplane::FlowTable;
use crate::state::FlowKey;

fn flow(port: u16) -> FlowKey {
    FlowKey {
        peer: [198, 51, 100, 1].into(),
        local: web().address,
        peer_port: Port::new(port),
        local_port: web().port,
        protocol: web().protocol,
        reserved: [0; 3],
    }
}

/// A connection of now to a member's port 8080.
fn connect(world: &World, table: FlowTable, port: u16, member: MemberId) {
    let (jiffies, _) = world.fake.clock().unwrap();
    let tick = Tick::new(u32::try_from(jiffies >> world.maps().root.tick_shift).unwrap());
    let word = FlowWord::new(Target { member, port: Port::new(8080) }, tick, FlowWord::USABLE);
    world.fake.insert_flow(table, flow(port), word);
}

fn label(world: &World, address: &str) -> MemberId {
    let address: std::net::IpAddr = address.parse().unwrap();
    *world.maps().members.iter().find(|(_, member)| member.address == address).unwrap().0
}

#[test]
fn what_is_past_its_life_counts_no_more_and_goes_a_minute_later() {
    let mut world = World::with(&backends(&[1]));
    let member = label(&world, "10.0.1.1");
    connect(&world, FlowTable::Confirmed, 1, member);
    connect(&world, FlowTable::Pending, 2, member);
    world.later(Duration::from_mins(50));
    connect(&world, FlowTable::Confirmed, 3, member);
    assert_eq!(world.core.sweep().unwrap(), Census { confirmed: 2, pending: 1, ..Census::default() });
    world.later(Duration::from_secs(10 * 60 + 30));
    assert_eq!(world.core.sweep().unwrap(), Census { confirmed: 1, pending: 0, ..Census::default() });
    assert!(world.fake.flow(FlowTable::Confirmed, &flow(1)).is_some(), "a packet may be about to use it");
    world.later(Duration::from_mins(1));
    world.core.sweep().unwrap();
    assert_eq!(world.fake.flow(FlowTable::Confirmed, &flow(1)), None);
    assert!(world.fake.flow(FlowTable::Confirmed, &flow(3)).is_some());
}

/// What is carried is told by the range, though each of its flows has a port of its own.
#[test]
fn a_member_of_a_range_is_kept_until_its_connections_end() {
    let file = |numbers: &[u8]| {
        let exact = "port: 80, pool: web, backendPort: 8080";
        backends(numbers).replace(exact, "port: 80-99, pool: web, backendPort: 8080-8099")
    };
    let mut world = World::with(&file(&[1, 2]));
    let second = label(&world, "10.0.1.2");
    world.apply(&file(&[1])).unwrap();
    world.later(Duration::from_hours(1));
    let (jiffies, _) = world.fake.clock().unwrap();
    let tick = Tick::new(u32::try_from(jiffies >> world.maps().root.tick_shift).unwrap());
    let word = FlowWord::new(Target { member: second, port: Port::new(8097) }, tick, FlowWord::USABLE);
    let key = FlowKey { local_port: Port::new(97), ..flow(1) };
    world.fake.insert_flow(FlowTable::Confirmed, key, word);
    world.core.settle(world.now).unwrap();
    for _ in 0..3 {
        world.converge().unwrap();
    }
    assert!(world.has_member("10.0.1.2"));
    let owner = world.maps().owners[&"10.0.1.2".parse().unwrap()];
    assert_eq!(owner.flags, lb_common::abi::Owner::RANGES, "its replies find the range");
    world.later(Duration::from_hours(3));
    for _ in 0..3 {
        world.converge().unwrap();
    }
    assert!(!world.has_member("10.0.1.2"));
    assert_tidy(&world);
}

#[test]
fn a_member_is_kept_until_its_connections_end() {
    for table in [FlowTable::Confirmed, FlowTable::Pending] {
        let mut world = World::with(&backends(&[1, 2]));
        let second = label(&world, "10.0.1.2");
        world.apply(&backends(&[1])).unwrap();
        world.later(Duration::from_hours(1));
        connect(&world, table, 1, second);
        world.core.settle(world.now).unwrap();
        for _ in 0..3 {
            world.converge().unwrap();
        }
        let maps = world.maps();
        assert_eq!(maps.members.get(&second).map(|member| member.address), Some([10, 0, 1, 2].into()));
        assert!(maps.owners.contains_key(&[10, 0, 1, 2].into()), "its replies find the frontend");
        world.apply(&backends(&[1, 3])).unwrap();
        assert_ne!(label(&world, "10.0.1.3"), second, "nobody gets its label meanwhile");
        world.later(Duration::from_hours(2));
        world.core.settle(world.now).unwrap();
        world.converge().unwrap();
        assert!(!world.has_member("10.0.1.2"));
    }
}

#[test]
fn without_connections_a_member_goes_once_its_view_has_settled() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1])).unwrap();
    world.converge().unwrap();
    assert!(world.has_member("10.0.1.2"));
    world.later(Duration::from_hours(1));
    world.core.settle(world.now).unwrap();
    world.converge().unwrap();
    assert!(!world.has_member("10.0.1.2"));
    assert_eq!(world.fake.sieve(), world.maps().sieve());
}
