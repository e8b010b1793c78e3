//! Frontends that are answered for on their own link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::Announced;

use super::Input;
use crate::config::model::{Announce, Config};
use crate::state::AnnouncedKey;

/// For the host's own addresses the kernel answers.
pub(super) fn all(input: &Input<'_>) -> BTreeMap<AnnouncedKey, Announced> {
    let wanted = to_be_announced(input.config);
    let ours = |key: &AnnouncedKey| wanted.contains(&key.address) && !input.host.own.contains(&key.address);
    input.host.free.iter().filter(|(key, _)| ours(key)).map(|(&key, &at)| (key, at)).collect()
}

/// The frontends that are to be found on their own link, should they have one: not those without any
/// rule, which would attract packets that nobody wants.
#[must_use]
pub fn to_be_announced(config: &Config) -> BTreeSet<IpAddr> {
    let rules = config.rules().iter().map(|rule| rule.frontend);
    let nat_rules = config.nat_rules().iter().map(|rule| rule.frontend);
    let frontends = rules.chain(nat_rules).map(|frontend| &config.frontends()[frontend]);
    frontends.filter(|it| it.announce == Announce::Auto).map(|it| it.address).collect()
}
