//! Which frontends lie on which of the host's links.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::abi::Announced;

use crate::compile;
use crate::config::model::Config;
use crate::neighbours::{InterfaceRoute, Snapshot};
use crate::state::AnnouncedKey;

/// The frontends that are to be answered for, on each link that works, whose network has the address,
/// and whose frames we see.
pub(super) fn claims(
    config: &Config,
    snapshot: &Snapshot,
    attached: &BTreeSet<u32>,
) -> BTreeMap<AnnouncedKey, Announced> {
    let mut claims = BTreeMap::new();
    let wanted = compile::to_be_announced(config);
    for address in wanted.into_iter().filter(|address| !snapshot.is_own(*address)) {
        let networks = snapshot.on_link().filter(|network| network.prefix.contains(address));
        for InterfaceRoute { ifindex, .. } in networks.filter(|network| !is_one_host(network)) {
            if let Some(hardware) = snapshot.works(ifindex).filter(|_| attached.contains(&ifindex)) {
                claims.insert(AnnouncedKey { ifindex, address }, Announced::at(hardware));
            }
        }
    }
    claims
}

/// A route to one address says where that is: not here.
fn is_one_host(network: &InterfaceRoute) -> bool {
    network.prefix.length == if network.prefix.address.is_ipv4() { 32 } else { 128 }
}
