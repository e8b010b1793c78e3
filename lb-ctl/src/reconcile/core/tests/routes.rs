//! The table of routes: two of them, one switch. The fake refuses to write one that packets may be reading.

use super::*;
use lb_common::abi::RouteTable;

/// A host that is as this number says.
fn host(number: u32) -> Host {
    let mut routes = RouteTable { used: 1, ..RouteTable::default() };
    routes.prefixes[0].ifindex = number;
    Host { routes, ..Host::default() }
}

/// The interface that the default route in force leads to.
fn in_force(world: &World) -> u32 {
    world.maps().routes_in_force().prefixes[0].ifindex
}

impl World {
    fn routed(number: u32) -> Self {
        let mut world = Self::with(&backends(&[1, 2]));
        world.move_to(number).unwrap();
        world
    }

    fn move_to(&mut self, number: u32) -> Result<(), ApplyError> {
        self.core.set_host(host(number));
        self.converge()
    }
}

#[test]
fn routes_change_again_and_again_without_a_packet_that_reads_half_a_table() {
    let mut world = World::routed(1);
    let rules = meaning_of_rules(&world);
    for number in 2..20 {
        world.move_to(number).unwrap();
        assert_eq!(in_force(&world), number);
    }
    assert_eq!(meaning_of_rules(&world), rules);
}

fn meaning_of_rules(world: &World) -> BTreeMap<Service, meaning::Meaning> {
    meaning::rules(&world.maps())
}

#[test]
fn routes_that_are_as_they_were_write_nothing() {
    let mut world = World::routed(1);
    world.faults.heal();
    world.faults.fail_from(1);
    world.move_to(1).unwrap();
    assert_eq!(world.faults.writes(), 0);
}

#[test]
fn a_failed_write_leaves_the_old_routes_and_is_made_good() {
    for write in 1..=2 {
        let mut world = World::routed(1);
        world.faults.fail_write(write);
        world.move_to(2).unwrap_err();
        assert_eq!(in_force(&world), 1, "write {write}");
        world.converge().unwrap();
        assert_eq!(in_force(&world), 2, "write {write}");
    }
}

#[test]
fn a_daemon_that_was_killed_between_two_writes_leaves_one_table_or_the_other() {
    for write in 1..=2 {
        let mut world = World::routed(1);
        world.faults.fail_from(write);
        world.move_to(2).unwrap_err();
        assert_eq!(in_force(&world), 1, "write {write}");
        world.restart();
        world.core.set_host(host(3));
        world.apply(&backends(&[1, 2])).unwrap();
        assert_eq!(in_force(&world), 3, "write {write}");
        assert_tidy_routes(&world);
    }
}

/// What the core believes is what is there.
fn assert_tidy_routes(world: &World) {
    assert_eq!(world.core.observed().routes, world.maps().routes);
    assert_eq!(world.core.observed().root, world.maps().root);
}
