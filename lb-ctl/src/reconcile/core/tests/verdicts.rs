use super::*;

/// Writes that a verdict makes.
fn writes(world: &mut World, key: &ProbeKey, up: bool) -> u64 {
    let before = world.faults.writes();
    world.core.judge(key, up).unwrap();
    world.faults.writes() - before
}

#[test]
fn a_verdict_is_one_write_and_no_news_is_none() {
    let mut world = World::with(&backends(&[1, 2, 3]));
    let key = world.probe("10.0.1.2");
    assert_eq!([false, false, true, true].map(|up| writes(&mut world, &key, up)), [1, 0, 1, 0]);
}

#[test]
fn rules_of_one_pool_and_probe_share_the_write() {
    let second = format!(
        "rules:\n  - {{ name: two, frontend: web, protocol: tcp, port: 81, pool: web, backendPort: 8081, probe: web, {OPEN} }}"
    );
    let mut world = World::with(&backends(&[1, 2]).replace("rules:", &second));
    let key = world.probe("10.0.1.2");
    assert_eq!(writes(&mut world, &key, false), 1);
}

#[test]
fn the_last_one_down_asks_all_with_one_write() {
    let mut world =
        World::with(&backends(&[1, 2]).replace("threshold: 2", "threshold: 2, noHealthyBackends: all-up"));
    let view = world.rule(web()).current;
    for address in ["10.0.1.1", "10.0.1.2"] {
        let key = world.probe(address);
        assert_eq!(writes(&mut world, &key, false), 1, "{address}");
    }
    let maps = world.maps();
    assert!(maps.members.keys().all(|&member| maps.accepts(&view, member)));
}

#[test]
fn a_verdict_on_somebody_else_is_not_ours() {
    let mut world = World::with(&backends(&[1, 2]));
    let key = ProbeKey { port: 9, ..world.probe("10.0.1.1") };
    assert_eq!(writes(&mut world, &key, false), 0);
}

#[test]
fn a_verdict_that_could_not_be_written_is_written_by_the_next_convergence() {
    let mut world = World::with(&backends(&[1, 2]));
    let key = world.probe("10.0.1.1");
    world.faults.fail_write(1);
    world.core.judge(&key, false).unwrap_err();
    world.converge().unwrap();
    let maps = world.maps();
    let accepting =
        maps.members.keys().filter(|&&member| maps.accepts(&world.rule(web()).current, member)).count();
    assert_eq!(accepting, 1);
}
