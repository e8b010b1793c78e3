//! The packet cases through the pipeline as plain Rust.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod cases;

use std::collections::BTreeSet;

use cases::{case, native::Native, table, world::Family};
use lb_common::reason::{Event, Reason};

#[test]
fn every_row_holds() {
    let mut failures = Vec::new();
    for family in [Family::V4, Family::V6] {
        for row in table::of(family) {
            failures.extend(case::run(&row, family, &mut Native::new(&row.world.of(family))).err());
        }
    }
    assert!(failures.is_empty(), "{} rows fail\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_reason_and_event_is_somebodys_expectation() {
    let rows = table::all();
    let expectations: Vec<_> = rows.iter().flat_map(case::Case::expectations).collect();
    let reasons: BTreeSet<_> = expectations.iter().map(|expect| expect.reason()).collect();
    let events: BTreeSet<_> = expectations.iter().flat_map(|expect| expect.events()).copied().collect();
    let missing: Vec<_> = Reason::ALL.iter().filter(|reason| !reasons.contains(reason)).collect();
    assert!(missing.is_empty(), "no row expects {missing:?}");
    let missing: Vec<_> = Event::ALL.iter().filter(|event| !events.contains(event)).collect();
    assert!(missing.is_empty(), "no row expects {missing:?}");
}

#[test]
fn rows_say_different_things() {
    let rows = table::all();
    let mut sentences = BTreeSet::new();
    let repeated: Vec<_> = rows
        .iter()
        .map(|row| row.sentence)
        .filter(|sentence| !sentence.starts_with("...") && !sentences.insert(*sentence))
        .collect();
    assert!(repeated.is_empty(), "{repeated:#?}");
    println!("{} rows", rows.len());
}
