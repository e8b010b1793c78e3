use super::*;

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

fn until(world: &World) -> Option<Instant> {
    world.core.transition(web()).map(|transition| transition.until)
}

#[test]
fn a_first_apply_is_no_transition() {
    assert_eq!(until(&World::with(&backends(&[1, 2]))), None);
}

#[test]
fn a_change_of_members_is_carried_for_its_time_and_then_settles() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    assert_eq!(until(&world), Some(world.now + HOUR));
    world.later(59 * MINUTE);
    world.core.settle(world.now).unwrap();
    assert_eq!(world.rule(web()).old.present, 1);
    world.later(MINUTE);
    world.core.settle(world.now).unwrap();
    assert_eq!(world.rule(web()).old.present, 0);
    assert_eq!(until(&world), None);
}

#[test]
fn the_clock_goes_on_while_the_aim_is_the_same() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    let begun = until(&world);
    world.later(MINUTE);
    world
        .apply(
            &backends(&[1, 2, 3])
                .replace("203.0.113.10 }", "203.0.113.10 }, { name: b, address: 203.0.113.11 }"),
        )
        .unwrap();
    world.apply(&backends(&[1, 2, 3]).replace("allow: 0.0.0.0/0", "allow: 192.0.2.0/24")).unwrap();
    world.converge().unwrap();
    assert_eq!(until(&world), begun);
}

#[test]
fn another_aim_starts_it_again_and_keeps_the_old_view() {
    let mut world = World::with(&backends(&[1, 2]));
    let first = world.rule(web()).current.ring_base;
    world.apply(&backends(&[1, 2, 3])).unwrap();
    world.later(MINUTE);
    world.apply(&backends(&[1, 2, 3, 4])).unwrap();
    assert_eq!(until(&world), Some(world.now + HOUR));
    assert_eq!(world.rule(web()).old.ring_base, first);
}

#[test]
fn a_change_back_ends_it() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    world.apply(&backends(&[2, 1])).unwrap();
    assert_eq!((world.rule(web()).old.present, until(&world)), (0, None));
}

#[test]
fn a_refused_exception_prolongs_it() {
    for event in [Event::SuspendRefused, Event::ConfirmRefused] {
        let mut world = World::with(&backends(&[1, 2]));
        world.apply(&backends(&[1, 2, 3])).unwrap();
        world.fake.count(event, 1);
        world.later(HOUR);
        world.core.settle(world.now).unwrap();
        let transition = *world.core.transition(web()).unwrap();
        assert_eq!((transition.until, transition.prolonged), (world.now + HOUR, 1));
        assert_eq!(world.rule(web()).old.present, 1);
        world.later(HOUR);
        world.core.settle(world.now).unwrap();
        assert_eq!(world.rule(web()).old.present, 0);
    }
}

#[test]
fn refusals_before_it_do_not_count() {
    let mut world = World::with(&backends(&[1, 2]));
    world.fake.count(Event::SuspendRefused, 7);
    world.apply(&backends(&[1, 2, 3])).unwrap();
    world.later(HOUR);
    world.core.settle(world.now).unwrap();
    assert_eq!(world.rule(web()).old.present, 0);
}

#[test]
fn a_pool_that_was_empty_has_no_old_view_to_keep() {
    let mut world = World::with(&backends(&[]));
    world.apply(&backends(&[1])).unwrap();
    assert_eq!(world.rule(web()).old.present, 0);
    let first = world.rule(web()).current;
    world.apply(&backends(&[1, 2])).unwrap();
    assert_eq!(world.rule(web()).old.ring_base, first.ring_base, "connections since then are to be carried");
}

#[test]
fn a_settling_that_fails_is_tried_again() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    world.later(HOUR);
    world.faults.fail_write(1);
    world.core.settle(world.now).unwrap_err();
    assert_eq!(world.rule(web()).old.present, 1);
    world.core.settle(world.now).unwrap();
    assert_eq!(world.rule(web()).old.present, 0);
}

#[test]
fn a_pool_without_rules_takes_no_ring_of_others() {
    let unused = "pools: [{ name: unused, backends: [] }, { name: web, transition: 1h";
    let with_unused =
        |numbers: &[u8]| backends(numbers).replace("pools: [{ name: web, transition: 1h", unused);
    let mut world = World::with(&with_unused(&[1, 2]));
    let before = world.rule(web()).current;
    let ring = world.maps().rings[&before.ring_base].clone();
    world.apply(&with_unused(&[1, 2, 3])).unwrap();
    assert_eq!(world.maps().rings[&before.ring_base], ring, "the old view's ring is whole");
    assert_eq!(world.rule(web()).old.ring_base, before.ring_base);
    assert_ne!(world.rule(web()).current.ring_base, before.ring_base);
}
