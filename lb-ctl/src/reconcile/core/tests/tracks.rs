//! Entries of tracked flows: counted once a flow, deleted both together, and what they name stays.

use std::net::IpAddr;

use lb_common::abi::FlowWord;
use lb_common::tables::Tier;
use lb_common::units::{MemberId, Port, Target, Tick};

use super::*;
use crate::state::{FlowKey, Translation};
use crate::units;

const LIFE: Duration = Duration::from_hours(1);

/// One direction of a flow between a client and a member's port 8080, which spoke just now.
fn speak(world: &World, from_client: bool) {
    let maps = world.maps();
    let (label, member) = maps.members.iter().next().map(|(label, member)| (*label, member.address)).unwrap();
    let (client, us): (IpAddr, IpAddr) = ([198, 51, 100, 7].into(), [10, 0, 1, 254].into());
    let ((peer, peer_port), (local, local_port)) =
        if from_client { ((client, 40_000), (web().address, 80)) } else { ((member, 8080), (us, 2000)) };
    let ((source, source_port), (destination, destination_port)) =
        if from_client { ((us, 2000), (member, 8080)) } else { ((web().address, 80), (client, 40_000)) };
    let port = Port::new;
    let key = FlowKey {
        peer,
        local,
        peer_port: port(peer_port),
        local_port: port(local_port),
        protocol: web().protocol,
        reserved: [0; 3],
    };
    let to = Translation {
        source,
        destination,
        source_port: port(source_port),
        destination_port: port(destination_port),
        stats: 0,
        life: units::ticks(LIFE, 1000),
        reserved: 0,
    };
    let (jiffies, _) = world.fake.clock().unwrap();
    let tick = Tick::new(u32::try_from(jiffies >> maps.root.tick_shift).unwrap());
    let target = Target { member: MemberId(label.0), port: port(8080) };
    world.fake.insert_track(Tier::Tracked, key, FlowWord::new(target, tick, 0), to);
}

#[test]
fn a_flow_lives_as_long_as_the_direction_that_spoke_last() {
    let mut world = World::with(&backends(&[1]));
    speak(&world, true);
    speak(&world, false);
    world.later(Duration::from_mins(50));
    speak(&world, false);
    world.later(Duration::from_mins(50));
    assert_eq!(world.core.sweep().unwrap(), Census { tracked: 1, ..Census::default() });
    world.later(Duration::from_secs(10 * 60 + 30));
    assert_eq!(world.core.sweep().unwrap(), Census::default());
    assert_eq!(world.fake.tracks(Tier::Tracked).len(), 2, "a packet may be about to use them");
    world.later(Duration::from_mins(1));
    world.core.sweep().unwrap();
    assert_eq!(world.fake.tracks(Tier::Tracked), []);
}

#[test]
fn a_member_keeps_its_label_until_its_tracked_flows_end() {
    let mut world = World::with(&backends(&[1]));
    let before = world.maps().members;
    speak(&world, true);
    speak(&world, false);
    world.apply(&backends(&[2])).unwrap();
    world.later(Duration::from_mins(30));
    speak(&world, true);
    world.later(Duration::from_mins(40));
    world.core.settle(world.now).unwrap();
    world.converge().unwrap();
    let (label, member) = before.iter().next().unwrap();
    assert_eq!(world.maps().members[label].address, member.address);
    world.later(LIFE);
    world.converge().unwrap();
    assert!(!world.has_member("10.0.1.1"));
}
