//! How frontends are found, for people.

use std::collections::{BTreeMap, BTreeSet};

use super::announce::{self, Herald};
use crate::announce::{Mac, Standing};
use crate::api::types::{Frontend, FrontendLink};
use crate::compile;
use crate::config::model::{self, Announce, Config};
use crate::neighbours::Snapshot;
use crate::state::{AnnouncedKey, MapState};

/// What the host knows of its links and of who else is there.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) attached: &'a BTreeSet<u32>,
    pub(super) herald: &'a Herald,
    pub(super) maps: &'a MapState,
}

/// All of them, in the order of the file.
pub(super) fn all(config: &Config, around: Surroundings<'_>) -> Vec<Frontend> {
    let used = compile::to_be_announced(config);
    let frontend = |frontend: &model::Frontend| {
        let links = announce::links_of(frontend.address, around.snapshot);
        let links: Vec<_> = links.into_iter().map(|ifindex| around.link(ifindex, frontend)).collect();
        let announced = links.iter().any(|link| ["announced", "contested"].contains(&link.state.as_str()));
        let (state, links) = match frontend.announce {
            _ if around.snapshot.is_own(frontend.address) => ("own", Vec::new()),
            Announce::None => ("quiet", Vec::new()),
            Announce::Auto if links.is_empty() => ("routed", links),
            Announce::Auto if !used.contains(&frontend.address) => ("unused", Vec::new()),
            Announce::Auto => (if announced { "announced" } else { "waiting" }, links),
        };
        Frontend { name: frontend.name.clone(), address: frontend.address, state: state.to_owned(), links }
    };
    config.frontends().iter().map(frontend).collect()
}

impl Surroundings<'_> {
    fn link(self, ifindex: u32, frontend: &model::Frontend) -> FrontendLink {
        let key = AnnouncedKey { ifindex, address: frontend.address };
        let standing = self.herald.standing(&key);
        let held = self.maps.announced.contains_key(&key);
        let state = match standing {
            _ if self.snapshot.works(ifindex).is_none() => "down",
            _ if !self.attached.contains(&ifindex) => "unwatched",
            Some(Standing::Taken(_)) => "taken",
            Some(Standing::Contested(_)) => "contested",
            _ if held => "announced",
            Some(Standing::Asking | Standing::Ours) | None => "asking",
        };
        FrontendLink {
            name: name(self.snapshot, ifindex),
            state: state.to_owned(),
            other: standing.and_then(Standing::other).map(written),
        }
    }
}

/// Warnings about addresses that somebody else has, each with its cure.
pub(super) fn warnings(config: &Config, snapshot: &Snapshot, herald: &Herald) -> Vec<String> {
    let conflict = |(key, standing): (AnnouncedKey, Standing)| {
        let frontend = config.frontends().iter().find(|it| it.address == key.address)?;
        let (name, link) = (&frontend.name, name(snapshot, key.ifindex));
        Some(format!("frontend {name}: {}", told(key, standing, &link)?))
    };
    herald.conflicts().into_iter().filter_map(conflict).collect()
}

/// Tells the log what has changed of who else has an address.
pub(super) fn log(
    before: &BTreeMap<AnnouncedKey, Standing>,
    now: &BTreeMap<AnnouncedKey, Standing>,
    snapshot: &Snapshot,
) {
    for (&key, &standing) in now.iter().filter(|(key, standing)| before.get(key) != Some(standing)) {
        let told = told(key, standing, &name(snapshot, key.ifindex)).unwrap_or_default();
        for what in told.lines().take(1) {
            tracing::warn!("{what}");
        }
    }
    for key in before.keys().filter(|key| !now.contains_key(key)) {
        let (address, link) = (key.address, name(snapshot, key.ifindex));
        tracing::info!("nobody else says any more that {address} is his on {link}");
    }
}

fn told(key: AnnouncedKey, standing: Standing, link: &str) -> Option<String> {
    let address = key.address;
    match standing {
        Standing::Taken(other) => Some(format!(
            "{address} is in use by {} on {link}, so it is not answered for there\n  \
             give one of the two another address; it is taken up some seconds after the other has gone",
            written(other)
        )),
        Standing::Contested(other) => Some(format!(
            "{} on {link} says that {address} is there, and it was here before: who asks gets two answers\n  \
             take the address from the other, or take its rules, or the frontend, out of the file here",
            written(other)
        )),
        Standing::Asking | Standing::Ours => None,
    }
}

fn name(snapshot: &Snapshot, ifindex: u32) -> String {
    snapshot.links.get(&ifindex).map_or_else(|| format!("interface {ifindex}"), |link| link.name.clone())
}

fn written(hardware: Mac) -> String {
    hardware.map(|byte| format!("{byte:02x}")).join(":")
}
