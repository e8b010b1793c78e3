use super::*;

/// Writes that a verdict makes.
fn writes(world: &mut World, key: &ProbeKey, up: bool) -> u64 {
    let before = world.faults.writes();
    world.core.judge(key, up).unwrap();
    world.faults.writes() - before
}

/// Members that take new connections of the web.
fn accepting(world: &World) -> usize {
    let (maps, view) = (world.maps(), world.rule(web()).current);
    maps.members.keys().filter(|member| maps.accepts(&view, **member)).count()
}

/// S-POOL-4: one that is switched off is never heard of.
#[test]
fn a_new_member_takes_nothing_before_its_first_success() {
    let mut world = World::new();
    world.apply(&backends(&[1, 2])).unwrap();
    assert_eq!(accepting(&world), 0);
    let key = world.probe("10.0.1.1");
    world.core.judge(&key, true).unwrap();
    assert_eq!(accepting(&world), 1);
}

/// S-PRB-4.
#[test]
fn a_probe_that_no_rule_names_asks_nobody() {
    let idle = "probes: [{ name: idle, protocol: tcp, port: 9999 }, ";
    let world = World::with(&backends(&[1, 2]).replace("probes: [", idle));
    let ports: Vec<_> = world.core.probe_targets().iter().map(|target| target.key.port).collect();
    assert_eq!(ports, [8080, 8080]);
}

#[test]
fn a_verdict_is_one_write_and_no_news_is_none() {
    let mut world = World::with(&backends(&[1, 2, 3]));
    let key = world.probe("10.0.1.2");
    assert_eq!([false, false, true, true].map(|up| writes(&mut world, &key, up)), [1, 0, 1, 0]);
}

/// S-RULE-8.
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
    assert_eq!(accepting(&world), 1);
}
