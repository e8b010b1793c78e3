use super::*;

#[test]
fn the_same_file_writes_nothing() {
    let mut world = World::with(&backends(&[1, 2, 3]));
    let before = world.maps();
    world.restart();
    world.apply(&backends(&[3, 2, 1])).unwrap();
    assert_eq!(world.faults.writes(), 0);
    assert_eq!(world.maps(), before);
}

#[test]
fn members_that_were_failing_still_are() {
    let mut world = World::with(&backends(&[1, 2, 3]));
    world.core.judge(&world.probe("10.0.1.2"), false).unwrap();
    world.restart();
    world.apply(&backends(&[1, 2, 3])).unwrap();
    assert_eq!(world.faults.writes(), 0);
    let up = world.core.healthy().iter().filter(|(_, up)| **up);
    let up: BTreeSet<_> = up.map(|(key, _)| key.address.to_string()).collect();
    assert_eq!(up, ["10.0.1.1", "10.0.1.3"].map(str::to_owned).into());
}

#[test]
fn a_transition_in_the_maps_starts_again_and_settles() {
    let mut world = World::with(&backends(&[1, 2]));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    world.later(Duration::from_mins(30));
    world.restart();
    world.apply(&backends(&[1, 2, 3])).unwrap();
    assert_eq!(world.faults.writes(), 0);
    let hour = Duration::from_hours(1);
    assert_eq!(world.core.transition(web()).map(|transition| transition.until), Some(world.now + hour));
    world.later(hour);
    world.core.settle(world.now).unwrap();
    assert_eq!(world.rule(web()).old.present, 0);
}

#[test]
fn a_change_that_waited_for_the_restart_is_a_transition() {
    let mut world = World::with(&backends(&[1, 2]));
    let before = world.rule(web());
    world.restart();
    world.apply(&backends(&[1, 2, 3])).unwrap();
    let after = world.rule(web());
    assert_eq!((after.old.ring_base, after.stats), (before.current.ring_base, before.stats));
}

#[test]
fn without_a_file_nothing_is_touched() {
    let mut world = World::with(&backends(&[1, 2]));
    world.restart();
    world.converge().unwrap();
    world.core.settle(world.now).unwrap();
    assert_eq!(world.faults.writes(), 0);
}

#[test]
fn another_probe_inherits_what_the_one_before_found() {
    let mut world = World::with(&backends(&[1, 2]));
    world.core.judge(&world.probe("10.0.1.2"), false).unwrap();
    let writes = world.faults.writes();
    world.apply(&backends(&[1, 2]).replace("interval: 5s", "interval: 9s")).unwrap();
    assert_eq!(world.faults.writes(), writes, "the members accept as before");
    assert!(world.core.healthy()[&world.probe("10.0.1.1")]);
    assert!(!world.core.healthy()[&world.probe("10.0.1.2")]);
}

#[test]
fn all_up_makes_nobody_healthy_for_a_rule_that_drops() {
    let second = format!(
        "rules:\n  - {{ name: two, frontend: web, protocol: tcp, port: 81, pool: web, backendPort: 8081, probe: web, noHealthyBackends: all-up, {OPEN} }}"
    );
    let both = backends(&[1, 2]).replace("rules:", &second);
    let mut world = World::new();
    world.apply(&both).unwrap();
    let before = world.maps();
    world.restart();
    world.apply(&both).unwrap();
    assert_eq!(world.faults.writes(), 0);
    assert_eq!(world.maps(), before);
    assert!(world.core.healthy().values().all(|up| !up));
}
