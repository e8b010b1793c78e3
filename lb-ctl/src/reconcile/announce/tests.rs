#![allow(clippy::unwrap_used, reason = "tests")]

use crate::config::{self, Source};
use crate::neighbours::{InterfaceAddress, InterfaceRoute, Link, PerFamily, Prefix};

use super::*;

const NOWHERE: [u32; 0] = [];
const MAC: Mac = [2, 0, 0, 0, 0, 1];

fn key(ifindex: u32) -> AnnouncedKey {
    AnnouncedKey { ifindex, address: [203, 0, 113, 10].into() }
}

/// One frontend with these keys, and a rule.
fn config(keys: &str) -> Config {
    let text = format!(
        "version: 1
frontends: [{{ name: web, address: 203.0.113.10{keys} }}]
pools: [{{ name: web, backends: [{{ name: a, address: 10.0.1.11 }}] }}]
rules: [{{ name: http, frontend: web, protocol: tcp, port: 80, pool: web }}]
"
    );
    config::load(&[Source { name: "lb.yaml".to_owned(), text }]).unwrap()
}

/// Two Ethernet links, of which these have the frontend in their network.
fn snapshot(networks: &[(u32, u8)]) -> Snapshot {
    let link = |ifindex| Link {
        ifindex,
        name: format!("eth{ifindex}"),
        kind: None,
        mac: Some(MAC),
        mtu: 1500,
        ethernet: true,
        up: true,
        carrier: true,
        forwards: PerFamily::default(),
    };
    let network = |&(ifindex, length)| {
        let prefix = Prefix { address: [203, 0, 113, 10].into(), length };
        InterfaceRoute { ifindex, prefix }
    };
    Snapshot {
        links: [2, 3].map(|ifindex| (ifindex, link(ifindex))).into(),
        interface_routes: networks.iter().map(network).collect(),
        ..Snapshot::default()
    }
}

fn claimed(config: &Config, snapshot: &Snapshot, attached: &[u32]) -> Vec<u32> {
    let claims = claims(config, snapshot, &attached.iter().copied().collect());
    claims.into_keys().map(|key| key.ifindex).collect()
}

#[test]
fn a_frontend_is_claimed_on_each_watched_link_whose_network_has_it() {
    let auto = config("");
    assert_eq!(claimed(&auto, &snapshot(&[(2, 24), (3, 8)]), &[2, 3]), [2, 3]);
    assert_eq!(claimed(&auto, &snapshot(&[(2, 24), (3, 8)]), &[3]), [3], "no XDP on the other");
    assert_eq!(claimed(&auto, &snapshot(&[(2, 0)]), &[2, 3]), NOWHERE, "a default route");
    assert_eq!(claimed(&auto, &snapshot(&[(2, 32)]), &[2, 3]), NOWHERE, "a route to where it is");
    assert_eq!(claimed(&config(", announce: none"), &snapshot(&[(2, 24)]), &[2]), NOWHERE);
}

#[test]
fn links_that_do_not_work_and_the_hosts_own_addresses_are_left_out() {
    type Change = fn(&mut Snapshot);
    let changes: [(&str, Change); 5] = [
        ("down", |it| it.links.get_mut(&2).unwrap().up = false),
        ("no carrier", |it| it.links.get_mut(&2).unwrap().carrier = false),
        ("a tunnel", |it| it.links.get_mut(&2).unwrap().ethernet = false),
        ("gone", |it| drop(it.links.remove(&2))),
        ("own", |it| {
            let prefix = Prefix { address: key(3).address, length: 24 };
            it.addresses.insert(InterfaceAddress { ifindex: 3, address: key(3).address, prefix });
        }),
    ];
    for (why, change) in changes {
        let mut snapshot = snapshot(&[(2, 24)]);
        change(&mut snapshot);
        assert_eq!(claimed(&config(""), &snapshot, &[2, 3]), NOWHERE, "{why}");
    }
}

#[test]
fn a_link_that_is_down_still_has_its_network_for_those_who_ask_why() {
    let mut snapshot = snapshot(&[]);
    let prefix = Prefix { address: [203, 0, 113, 1].into(), length: 24 };
    snapshot.addresses.insert(InterfaceAddress { ifindex: 2, address: prefix.address, prefix });
    assert_eq!(links_of(key(2).address, &snapshot), [].into());
    snapshot.links.get_mut(&2).unwrap().up = false;
    assert_eq!(links_of(key(2).address, &snapshot), [2].into());
}

/// What the maps answer for goes on, and what they do not has to be asked for first, even if an answer to an
/// earlier question is still there.
#[test]
fn only_the_answer_to_the_last_question_counts() {
    let (announcer, wanted, standings) = Announcer::of_a_test();
    let mut herald = Herald::new(announcer);
    let claims = BTreeMap::from([(key(2), MAC), (key(3), MAC)]);
    let held = Held::from([(key(2), Announced::at(MAC))]);
    let claim = |herald: &mut Herald, held: &Held| {
        let free = herald.claim(&claims, BTreeSet::from([MAC]), held);
        free.into_keys().map(|key| key.ifindex).collect::<Vec<_>>()
    };
    assert_eq!(claim(&mut herald, &held), [2]);
    assert!(!herald.is_settled());
    let asked = wanted.borrow().clone();
    assert_eq!(asked.wanted[&key(2)], Claim { hardware: MAC, held: true });
    assert_eq!(asked.wanted[&key(3)], Claim { hardware: MAC, held: false });

    let answer = |number, of_2, of_3| {
        let of = [(key(2), of_2), (key(3), of_3)].into();
        standings.send_replace(Arc::new(Standings { number, of }));
    };
    answer(asked.number - 1, Standing::Ours, Standing::Ours);
    assert_eq!(claim(&mut herald, &held), [2], "an old answer");
    answer(asked.number, Standing::Ours, Standing::Asking);
    assert_eq!(claim(&mut herald, &held), [2]);
    assert!(!herald.is_settled());
    answer(asked.number, Standing::Ours, Standing::Ours);
    assert_eq!(claim(&mut herald, &held), [2, 3]);
    assert!(herald.is_settled());
    assert_eq!(wanted.borrow().number, asked.number, "nothing new was asked");

    let held = Held::from([key(2), key(3)].map(|key| (key, Announced::at(MAC))));
    herald.note_held(&held);
    assert!(wanted.borrow().wanted.values().all(|claim| claim.held));
    assert!(!herald.is_settled(), "they are to be announced");
    assert_eq!(claim(&mut herald, &held), [2, 3]);
    let other = [2, 0, 0, 0, 0, 9];
    let number = wanted.borrow().number;
    answer(number, Standing::Contested(other), Standing::Taken(other));
    assert_eq!(claim(&mut herald, &held), [2]);
    assert_eq!(herald.conflicts().len(), 2);
}
