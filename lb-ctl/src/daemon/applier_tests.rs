//! The reconciler is a closure here: what it says decides what is kept.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says where it stopped")]

use std::fs;
use std::path::PathBuf;

use super::*;

const GOOD: &str = include_str!("../../../examples/minimal.yaml");

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("lbctl-applier-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn store(&self) -> Store {
        Store::in_folder(&self.0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn named(name: &str, text: &str) -> Vec<types::Source> {
    vec![types::Source { name: name.to_owned(), text: text.to_owned() }]
}

fn good(name: &str) -> Apply {
    Apply { sources: named(name, GOOD) }
}

fn done() -> Applied {
    Applied { generation: 1, changes: vec![], warnings: vec![], microseconds: 1 }
}

#[tokio::test]
async fn it_is_kept_before_it_is_in_force_and_stays_kept() {
    let scratch = Scratch::new("kept");
    let (ledger, store) = (Ledger::new(scratch.store()), scratch.store());
    let put = async |_| {
        assert_eq!(store.applied().unwrap(), Some(named("a.yaml", GOOD)));
        assert_eq!(store.cut_short().unwrap(), Some(vec![]));
        Ok(done())
    };
    ledger.apply(good("a.yaml"), put).await.unwrap();
    let kept = Wanted::Kept { sources: named("a.yaml", GOOD), before: None };
    assert_eq!(wanted(None, &store).unwrap(), kept);
}

#[tokio::test]
async fn what_is_refused_leaves_what_was_kept_before() {
    let scratch = Scratch::new("refused");
    let (ledger, store) = (Ledger::new(scratch.store()), scratch.store());
    ledger.apply(good("a.yaml"), async |_| Ok(done())).await.unwrap();
    let why = [ApplyError::Refused("no eth7".to_owned()), ApplyError::Failed("map full".to_owned())];
    for (error, kind, message) in why.into_iter().zip(["invalid", "failed"]).map(|(e, k)| {
        let message = e.to_string();
        (e, k, message)
    }) {
        let refusal = ledger.apply(good("b.yaml"), async |_| Err(error)).await.unwrap_err();
        assert_eq!((refusal.failure().kind.as_str(), &refusal.failure().message), (kind, &message));
        assert_eq!(store.applied().unwrap(), Some(named("a.yaml", GOOD)));
        assert_eq!(store.cut_short().unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_invalid_reaches_neither_disk_nor_reconciler() {
    let scratch = Scratch::new("invalid");
    let ledger = Ledger::new(scratch.store());
    let bad = Apply { sources: named("lb.yaml", "version: 1\nrulez: []\n") };
    let refusal = ledger.apply(bad, async |_| panic!("reached the reconciler")).await.unwrap_err();
    assert_eq!(
        refusal.failure().message,
        "lb.yaml:2:1: rulez: unknown key \"rulez\" (did you mean \"rules\"?)\n1 mistake; nothing was applied"
    );
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_applied() {
    let scratch = Scratch::new("full");
    let gone = scratch.0.join("gone");
    let ledger = Ledger::new(Store::in_folder(&gone));
    let refusal = ledger.apply(good("a.yaml"), async |_| panic!("reached the reconciler")).await.unwrap_err();
    assert_eq!(refusal.failure().kind, "failed");
    let message = &refusal.failure().message;
    assert!(message.contains("No such file") && message.ends_with("nothing was applied"), "{message}");
}

#[tokio::test]
async fn nothing_begins_once_the_daemon_ends() {
    let scratch = Scratch::new("end");
    let ledger = Ledger::new(scratch.store());
    ledger.close().await;
    let refusal = ledger.apply(good("a.yaml"), async |_| panic!("reached the reconciler")).await.unwrap_err();
    assert!(refusal.failure().message.starts_with("the daemon is stopping"), "{refusal:?}");
}

#[tokio::test]
async fn an_apply_that_was_killed_is_begun_again_and_knows_what_was_before() {
    let scratch = Scratch::new("killed");
    let store = scratch.store();
    store.begin(&named("a.yaml", GOOD)).unwrap();
    store.commit().unwrap();
    store.begin(&named("b.yaml", GOOD)).unwrap();
    let kept = Wanted::Kept { sources: named("b.yaml", GOOD), before: Some(named("a.yaml", GOOD)) };
    assert_eq!(wanted(None, &store).unwrap(), kept);
    let ledger = Ledger::new(scratch.store());
    let refuse = async |_| Err(ApplyError::Refused("no eth7".to_owned()));
    ledger.apply(good("b.yaml"), refuse).await.unwrap_err();
    let kept = Wanted::Kept { sources: named("a.yaml", GOOD), before: None };
    assert_eq!(wanted(None, &store).unwrap(), kept);
}

#[test]
fn a_bad_file_at_the_start_is_reported_and_nothing_is_touched() {
    let scratch = Scratch::new("start");
    let bad = [config::Source { name: "lb.yaml".to_owned(), text: "version: 2\n".to_owned() }];
    assert!(matches!(wanted(Some(&bad), &scratch.store()), Err(Error::Configuration(_))));
    assert_eq!(wanted(None, &scratch.store()).unwrap(), Wanted::Nothing);
    fs::write(scratch.0.join("applied.json"), "{").unwrap();
    let message = wanted(None, &scratch.store()).unwrap_err().to_string();
    assert!(message.contains("applied.json: EOF") && message.contains("--config"), "{message}");
    scratch.store().begin(&named("old.yaml", "version: 2\n")).unwrap();
    let message = wanted(None, &scratch.store()).unwrap_err().to_string();
    assert!(message.contains("old.yaml:1:10") && message.contains("--config"), "{message}");
}
