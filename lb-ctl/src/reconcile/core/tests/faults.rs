//! A data plane that fails at any write of an apply: the old state, or the new one.

use std::sync::{Arc, Mutex};

use super::meaning::{self, assert_tidy};
use super::*;

/// Changes of every kind, from the first file to the second.
fn changes() -> Vec<(&'static str, String, String)> {
    let base = backends(&[1, 2]);
    let change = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        base.replace(from, to)
    };
    let second = |rest: &str| {
        change(
            "rules:",
            &format!("rules:\n  - {{ name: two, frontend: web, protocol: tcp, {rest}, {OPEN} }}"),
        )
    };
    let (before_rules, _) = base.split_once("rules:").unwrap();
    vec![
        ("members", base.clone(), backends(&[1, 3, 4])),
        ("all members", base.clone(), backends(&[5, 6])),
        ("nobody left", base.clone(), backends(&[])),
        ("weight", base.clone(), change("10.0.1.2 }", "10.0.1.2, weight: 4 }")),
        ("admin state", base.clone(), change("10.0.1.2 }", "10.0.1.2, adminState: down }")),
        ("access", change("0.0.0.0/0", "192.0.2.0/24"), change("0.0.0.0/0", "198.51.100.0/24")),
        (
            "access with a deny",
            change("{ allow: 0.0.0.0/0 }", "{ deny: 192.0.2.1 }, { allow: 192.0.2.0/24 }"),
            change(
                OPEN,
                "access: [{ deny: 192.0.2.7 }, { allow: 192.0.2.0/24 }], accessAppliesTo: new-flows",
            ),
        ),
        ("mode", base.clone(), change("probe: web,", "probe: web, distribution: source-ip,")),
        ("backend port", base.clone(), change("backendPort: 8080", "backendPort: 9090")),
        ("frontend", base.clone(), change("203.0.113.10", "203.0.113.99")),
        ("a second rule", base.clone(), second("port: 443, pool: web, backendPort: 8443, probe: web")),
        ("a rule less", second("port: 443, pool: web, backendPort: 8443, probe: web"), base.clone()),
        ("no rule at all", base.clone(), format!("{before_rules}rules: []\n")),
    ]
}

/// The maps once `after` has followed `before` without faults.
fn reference(before: &str, after: &str) -> MapState {
    let mut world = World::with(before);
    world.apply(after).unwrap();
    assert_tidy(&world);
    world.maps()
}

#[test]
fn a_write_that_fails_leaves_the_old_state_or_the_new_one() {
    for (what, before, after) in changes() {
        let new = reference(&before, &after);
        for k in 1.. {
            let mut world = World::with(&before);
            let old = world.maps();
            world.faults.fail_write(k);
            let result = world.apply(&after);
            if world.faults.writes() < k {
                break;
            }
            let context = format!("{what}, write {k}");
            match result {
                Err(ApplyError::Failed(report)) => {
                    assert!(report.starts_with(&format!("step {k} of ")), "{context}: {report}");
                    assert!(report.contains(&format!("write {k} was to fail")), "{context}: {report}");
                    assert!(
                        report.ends_with("undone; the old configuration is in force"),
                        "{context}: {report}"
                    );
                    assert_eq!(world.maps(), old, "{context}");
                    assert_eq!(world.core.config(), Some(&load(&before)), "{context}");
                    assert_tidy(&world);
                    world.apply(&after).unwrap();
                }
                Ok(()) => {
                    assert_eq!(meaning::rules(&world.maps()), meaning::rules(&new), "{context}");
                    world.converge().unwrap();
                }
                Err(error) => panic!("{context}: {error}"),
            }
            assert_tidy(&world);
            assert_eq!(world.maps(), new, "{context}");
        }
    }
}

#[test]
fn after_a_kill_at_any_write_packets_see_the_old_state_or_the_new_one() {
    for (what, before, after) in changes() {
        let new = reference(&before, &after);
        for k in 1.. {
            let mut world = World::with(&before);
            let old = world.maps();
            world.faults.fail_from(k);
            let result = world.apply(&after);
            if world.faults.writes() < k {
                break;
            }
            let context = format!("{what}, killed at write {k}");
            let killed = world.maps();
            let seen = meaning::rules(&killed);
            let expected = if killed.root.epoch == old.root.epoch { &old } else { &new };
            assert_eq!(seen, meaning::rules(expected), "{context}");
            assert_eq!(result.is_ok(), killed.root == new.root, "{context}");
            for (socket, frontend) in meaning::replies(&old) {
                if meaning::replies(&new).get(&socket) == Some(&frontend) {
                    assert_eq!(meaning::replies(&killed).get(&socket), Some(&frontend), "{context}");
                }
            }
            for file in [&before, &after] {
                let mut world = World::over(copy(&world.fake), world.now);
                world.apply(file).unwrap();
                world.converge().unwrap();
                assert_tidy(&world);
                let wanted = if file == &before { &old } else { &new };
                same_aim(&world.maps(), wanted, wanted == expected, &context);
            }
        }
    }
}

/// The same maps apart, so that a test can go on from them twice.
fn copy(fake: &Fake) -> Fake {
    let mut copy = Fake::default();
    let state = fake.read().unwrap();
    let plan = plan(&copy.read().unwrap(), &state);
    for change in plan.until_effective.iter().chain(&plan.tidy) {
        copy.write(change).unwrap();
    }
    copy
}

/// The rules lead new connections to the same members; what is carried may differ. Nobody has
/// `probed` members that were not in force when the daemon was killed.
fn same_aim(maps: &MapState, wanted: &MapState, probed: bool, context: &str) {
    let aim = |maps: &MapState| -> Vec<_> {
        let rules = meaning::rules(maps).into_iter();
        rules
            .map(|(service, mut meaning)| {
                if !probed {
                    meaning.current.accepting.clear();
                }
                (service, meaning.current, meaning.access, meaning.code)
            })
            .collect()
    };
    assert_eq!(aim(maps), aim(wanted), "{context}");
}

#[test]
fn rules_that_a_kill_left_behind_never_come_into_force() {
    let two = backends(&[1, 2]).replace("rules:", &format!("rules:\n  - {{ name: two, frontend: web, protocol: tcp, port: 443, pool: web, backendPort: 8443, probe: web, {OPEN} }}"));
    let mut world = World::with(&backends(&[1, 2]));
    world.faults.fail_when(|_, change| matches!(change, Change::Root(_) | Change::Rule(_, None)));
    let error = world.apply(&two).unwrap_err().to_string();
    assert!(error.contains("could not be undone"), "{error}");
    let left: BTreeSet<u8> = world.maps().rules.keys().map(|key| key.epoch).collect();
    assert_eq!(left.len(), 2, "the fault leaves rules of the next epoch");
    world.faults.fail_when(|_, change| matches!(change, Change::Rule(_, None)));
    world.apply(&backends(&[1, 2, 3])).unwrap();
    assert_eq!(in_force(&world.maps()).into_keys().collect::<Vec<_>>(), [web()]);
    world.faults.heal();
    world.converge().unwrap();
    assert_tidy(&world);
}

#[test]
fn epochs_wrap() {
    let mut world = World::with(&backends(&[1, 2]));
    for round in 0..300 {
        let file = backends(if round % 2 == 0 { &[1, 2] } else { &[2, 1, 3] });
        world.apply(&file).unwrap();
        assert_eq!(world.maps().rules.len(), 1);
    }
    assert_tidy(&world);
}

#[test]
fn nothing_is_taken_away_before_packets_have_left() {
    let mut world = World::with(&backends(&[1, 2]));
    let quiesced = Arc::new(Mutex::new((None, None)));
    let (seen, fake) = (Arc::clone(&quiesced), world.fake.clone());
    world.faults.fail_when(move |_, change| {
        let mut seen = seen.lock().unwrap();
        if matches!(change, Change::Root(_)) {
            seen.0 = Some(fake.quiesced());
        } else if seen.0.is_some() {
            seen.1.get_or_insert_with(|| fake.quiesced());
        }
        false
    });
    world.apply(&backends(&[1])).unwrap();
    let (switched, tidied) = *quiesced.lock().unwrap();
    assert_eq!(tidied.unwrap(), switched.unwrap() + 1);
}

#[test]
fn packets_are_waited_for_once_after_each_switch() {
    let mut world = World::new();
    // On no link: an answer for it would be written after the switch, and wait by itself.
    world.core.set_host(Host::default());
    world.apply(&backends(&[1])).unwrap();
    let before = world.fake.quiesced();
    world.converge().unwrap();
    assert_eq!(world.fake.quiesced(), before + 1);
    world.converge().unwrap();
    assert_eq!(world.fake.quiesced(), before + 1, "nothing was switched");
    // The root of a daemon that was killed a moment ago.
    world.restart();
    world.core.set_host(Host::default());
    world.apply(&backends(&[1])).unwrap();
    assert_eq!(world.fake.quiesced(), before + 2);
}
