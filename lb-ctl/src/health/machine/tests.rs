#![allow(clippy::panic, reason = "tests fail by panic")]

use std::time::Duration;

use nix::errno::Errno;
use proptest::prelude::*;

use super::Health::{Down, Unknown, Up};
use super::*;
use crate::health::outcome::LocalFailure;

const TCP: Params = Params { threshold: 3, answers_act_at_once: false };
const HTTP: Params = Params { threshold: 3, answers_act_at_once: true };

/// One letter a probe: `c`onnected, `r`efused, `x` reset, `2`00, `5`03, `3`01, `.` no answer,
/// `g`arbage, `!` this host's fault.
fn outcome(letter: char) -> Outcome {
    match letter {
        'c' => Outcome::Connected,
        'r' => Outcome::Refused,
        'x' => Outcome::Reset,
        '2' => Outcome::Answered(200),
        '5' => Outcome::Answered(503),
        '3' => Outcome::Answered(301),
        '.' => Outcome::TimedOut(Duration::from_secs(1)),
        'g' => Outcome::Malformed,
        '!' => Outcome::LocalFailure(LocalFailure::System(Errno::EMFILE)),
        other => panic!("no outcome is written {other:?}"),
    }
}

/// The health after each probe, as letters: `?` unknown, `U`p, `D`own.
fn course(start: Health, params: Params, outcomes: &str) -> String {
    let mut state = State::starting(start);
    let letter = |health| match health {
        Unknown => '?',
        Up => 'U',
        Down => 'D',
    };
    outcomes
        .chars()
        .map(|outcome_letter| {
            let before = state.health();
            let (after, change) = step(state, params, outcome(outcome_letter));
            let expected = (before != after.health()).then_some(Change { from: before, to: after.health() });
            assert_eq!(change, expected, "a change is told exactly when there is one");
            state = after;
            letter(state.health())
        })
        .collect()
}

#[test]
fn courses() {
    #[rustfmt::skip]
    let rows: &[(&str, Health, Params, &str, &str)] = &[
        ("S-PRB-23 TCP: a new member is up after its first success", Unknown, TCP, "c", "U"),
        ("S-PRB-23 HTTP: a new member is up after its first success", Unknown, HTTP, "2", "U"),
        ("S-PRB-23: also when it needed some time to start", Unknown, TCP, "rrrrc", "??DDU"),
        ("S-PRB-23: but not for a second time", Unknown, TCP, "crrrcccc", "UUUDDDUU"),
        ("S-PRB-21 TCP: n failures make a new member down", Unknown, TCP, "rr.", "??D"),
        ("S-PRB-21 TCP: n failures in a row go down", Up, TCP, "rrr", "UUD"),
        ("S-PRB-21 TCP: timeouts and failures count alike", Up, TCP, "r.x", "UUD"),
        ("S-PRB-21 TCP: a success between starts the count again", Up, TCP, "rrcrrcrrr", "UUUUUUUUD"),
        ("S-PRB-21 TCP: n successes in a row go up", Down, TCP, "ccc", "DDU"),
        ("S-PRB-21 TCP: a failure between starts the count again", Down, TCP, "ccrccrccc", "DDDDDDDDU"),
        ("S-PRB-16: a reset counts as a failure", Up, TCP, "xxx", "UUD"),
        ("S-PRB-22 HTTP: another status goes down at once", Up, HTTP, "5", "D"),
        ("S-PRB-22 HTTP: 200 goes up at once", Down, HTTP, "2", "U"),
        ("S-PRB-22 HTTP: an answer makes a new member down at once", Unknown, HTTP, "5", "D"),
        ("S-PRB-15 HTTP: a redirect is not a success", Up, HTTP, "3", "D"),
        ("S-PRB-22 HTTP: n probes without answer go down", Up, HTTP, "...", "UUD"),
        ("S-PRB-22 HTTP: refused, reset and garbage are no answers", Up, HTTP, "rxg", "UUD"),
        ("S-PRB-22 HTTP: 200 starts the count again", Up, HTTP, "..2..2...", "UUUUUUUUD"),
        ("S-PRB-22 HTTP: silence does not delay the way up", Down, HTTP, ".2", "DU"),
        ("S-PRB-22 HTTP: answers flap as they come", Up, HTTP, "525252", "DUDUDU"),
        ("S-PRB-25: probing a member that is down brings it back", Down, TCP, "rrrrrrccc", "DDDDDDDDU"),
        ("a fault of this host never takes a member down", Up, TCP, "!!!!!!!!", "UUUUUUUU"),
        ("a fault of this host never makes a member known", Unknown, TCP, "!!!!c", "????U"),
        ("a fault of this host does not break a row of failures", Up, TCP, "r!r!r", "UUUUD"),
        ("a fault of this host does not break a row of successes", Down, TCP, "c!c!c", "DDDDU"),
        ("taken over as up: it still takes n failures", Up, TCP, "rrc", "UUU"),
        ("taken over as down: it still takes n successes", Down, TCP, "cc", "DD"),
    ];
    for (name, start, params, outcomes, expected) in rows {
        assert_eq!(course(*start, *params, outcomes), *expected, "{name}");
    }
}

#[test]
fn threshold_of_one_and_of_zero_act_at_once() {
    for threshold in [0, 1] {
        let params = Params { threshold, answers_act_at_once: false };
        assert_eq!(course(Up, params, "rcr"), "DUD", "threshold {threshold}");
    }
}

fn any_params() -> impl Strategy<Value = Params> {
    (1_u32..6, any::<bool>())
        .prop_map(|(threshold, answers_act_at_once)| Params { threshold, answers_act_at_once })
}

fn any_start() -> impl Strategy<Value = Health> {
    prop::sample::select(vec![Unknown, Up, Down])
}

proptest! {
    /// Not as in S-PRB-26.
    #[test]
    fn fewer_silent_probes_than_the_threshold_never_take_a_member_down(
        params in any_params(),
        outcomes in "[cr!.x]{0,40}",
    ) {
        let course = course(Up, params, &outcomes);
        let results = outcomes.chars().zip(course.chars()).filter(|(outcome, _)| *outcome != '!');
        let (mut in_a_row, mut before) = (0, 'U');
        for (outcome, health) in results {
            in_a_row = if outcome == 'c' { 0 } else { in_a_row + 1 };
            if before == 'U' && health == 'D' {
                prop_assert!(in_a_row >= params.threshold, "{outcomes} {course}");
            }
            before = health;
        }
    }

    #[test]
    fn enough_successes_always_end_up_and_enough_silence_always_down(
        start in any_start(),
        params in any_params(),
        outcomes in "[cr25.xg!]{0,40}",
    ) {
        let enough = params.threshold as usize;
        let successes = format!("{outcomes}{}", "2".repeat(enough));
        prop_assert!(course(start, params, &successes).ends_with('U'));
        let silence = format!("{outcomes}{}", ".".repeat(enough));
        prop_assert!(course(start, params, &silence).ends_with('D'));
    }

    #[test]
    fn nothing_becomes_unknown_again(start in any_start(), outcomes in "[cr25.xg!]{1,40}") {
        for params in [TCP, HTTP] {
            let course = course(start, params, &outcomes);
            let known = course.trim_start_matches('?');
            prop_assert!(!known.contains('?'), "{outcomes} {course}");
        }
    }
}
