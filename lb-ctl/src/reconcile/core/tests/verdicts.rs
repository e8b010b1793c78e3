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
    assert_eq!(echo(&world), AddressFlags::SERVES);
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

/// What an echo request to the frontend is answered by.
fn echo(world: &World) -> AddressFlags {
    world.maps().addresses[&web().address].without(AddressFlags::FRONTEND)
}

/// S-ICMP-1.
#[test]
fn the_first_member_up_and_the_last_one_down_are_known_to_who_pings() {
    let mut world = World::new();
    world.apply(&backends(&[1, 2])).unwrap();
    assert_eq!(echo(&world), AddressFlags::DOWN);
    let [one, two] = ["10.0.1.1", "10.0.1.2"].map(|address| world.probe(address));
    let steps = [(&one, true), (&two, true), (&one, false), (&two, false), (&two, true)];
    let known = steps.map(|(key, up)| (writes(&mut world, key, up), echo(&world)));
    let (serves, down) = (AddressFlags::SERVES, AddressFlags::DOWN);
    assert_eq!(known, [(2, serves), (1, serves), (1, serves), (2, down), (2, serves)]);
}

/// S-ICMP-1.
#[test]
fn who_pings_a_frontend_is_told_of_all_its_rules() {
    let second = "pools: [{ name: two, backends: [{ name: c1, address: 10.0.2.1 }] }, ";
    let rule = format!(
        "rules:\n  - {{ name: two, frontend: web, protocol: udp, port: 53, pool: two, backendPort: 53, probe: web, {OPEN} }}"
    );
    let text = backends(&[1]).replace("pools: [", second).replace("rules:", &rule);
    let mut world = World::with(&text);
    let [one, two] = ["10.0.1.1", "10.0.2.1"].map(|address| world.probe(address));
    world.core.judge(&one, false).unwrap();
    assert_eq!(echo(&world), AddressFlags::SERVES);
    world.core.judge(&two, false).unwrap();
    assert_eq!(echo(&world), AddressFlags::DOWN);
}

/// S-ICMP-1: silence where nobody is meant to serve.
#[test]
fn a_frontend_whose_members_are_switched_off_or_that_has_none_says_nothing() {
    let mut world = World::new();
    world.apply(&backends(&[1]).replace("10.0.1.1 }", "10.0.1.1, adminState: down }")).unwrap();
    assert_eq!(echo(&world), AddressFlags::default());
    world.apply(&backends(&[])).unwrap();
    assert_eq!(echo(&world), AddressFlags::default());
}

#[test]
fn a_frontend_of_members_without_a_probe_answers() {
    let mut world = World::new();
    world.apply(&backends(&[1]).replace(", probe: web", "")).unwrap();
    assert_eq!(echo(&world), AddressFlags::SERVES);
}

#[test]
fn nat_rules_answer_where_no_other_rule_says_anything() {
    let nat = format!(
        "natRules:\n  - {{ name: ssh, frontend: web, protocol: tcp, port: 2222, backend: web/b1, backendPort: 22, {OPEN} }}\n"
    );
    let text = backends(&[1]) + &nat;
    let mut world = World::new();
    world.apply(&text).unwrap();
    assert_eq!(echo(&world), AddressFlags::DOWN);
    let alone = text.split_once("rules:\n").unwrap().0.to_owned() + &nat;
    world.apply(&alone).unwrap();
    assert_eq!(echo(&world), AddressFlags::SERVES);
}
