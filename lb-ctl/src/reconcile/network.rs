//! What the network around the host means to the data plane.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{ApplyError, routes};
use crate::compile::{Hop, Host, Near};
use crate::config::model::{Config, Interface, Prefix, XdpMode};
use crate::neighbours::{InterfaceAddress, Snapshot};

/// What the maps have to know of the network; who else has frontends is another question.
pub(super) fn host(snapshot: &Snapshot) -> Host {
    let own = snapshot.addresses.iter().map(|own| own.address).collect();
    let hops = snapshot.next_hops.iter().filter_map(|(&address, hop)| Some((address, hop.as_ref().ok()?)));
    let next_hops = hops.map(|(address, hop)| {
        let hop = Hop {
            ifindex: hop.ifindex,
            destination: hop.destination_mac,
            source: hop.source_mac,
            mtu: hop.mtu,
        };
        (address, hop)
    });
    Host {
        own,
        next_hops: next_hops.collect(),
        near: near(snapshot),
        routes: routes::table(&snapshot.routes.v4),
        free: BTreeMap::new(),
    }
}

/// The host as each member sees it: its addresses on the link that leads there.
fn near(snapshot: &Snapshot) -> BTreeMap<IpAddr, Near> {
    let ways = snapshot.next_hops.iter().filter_map(|(&member, hop)| Some((member, hop.ok()?.ifindex)));
    ways.map(|(member, ifindex)| (member, near_member(member, ifindex, snapshot))).collect()
}

fn near_member(member: IpAddr, ifindex: u32, snapshot: &Snapshot) -> Near {
    let usable = |own: &&InterfaceAddress| {
        let link_local = matches!(own.address, IpAddr::V6(address) if address.is_unicast_link_local());
        own.ifindex == ifindex && own.address.is_ipv4() == member.is_ipv4() && !link_local
    };
    let there: Vec<_> = snapshot.addresses.iter().filter(usable).collect();
    let in_network = there.iter().filter(|own| own.prefix.contains(member));
    let longest = in_network.clone().map(|own| own.prefix.length).max();
    let network = longest.map(|length| Prefix { address: member, length });
    let own = match network {
        Some(_) => in_network.map(|own| own.address).collect(),
        None => there.iter().map(|own| own.address).collect(),
    };
    Near { own, network }
}

/// The interfaces that a configuration names, or those that lead to its frontends and members.
pub(super) fn interfaces(config: &Config, snapshot: &Snapshot) -> Result<Vec<(u32, XdpMode)>, ApplyError> {
    if !config.interfaces().is_empty() {
        return config.interfaces().iter().map(|interface| named(interface, snapshot)).collect();
    }
    let frontends: BTreeSet<_> = config.frontends().iter().map(|frontend| frontend.address).collect();
    let members: BTreeSet<_> =
        config.pools().iter().flat_map(|pool| &pool.backends).map(|backend| backend.address).collect();
    let found = snapshot.interfaces_toward(&frontends, &members);
    Ok(found.into_iter().map(|ifindex| (ifindex, XdpMode::Auto)).collect())
}

fn named(interface: &Interface, snapshot: &Snapshot) -> Result<(u32, XdpMode), ApplyError> {
    let link = snapshot.links.values().find(|link| link.name == interface.name);
    let link = link.ok_or_else(|| {
        let there: Vec<_> = snapshot.links.values().map(|link| link.name.as_str()).collect();
        ApplyError::Refused(format!(
            "interfaces: there is no interface {:?} on this host\n  there are: {}",
            interface.name,
            there.join(", ")
        ))
    })?;
    if !link.ethernet {
        let name = &interface.name;
        return Err(ApplyError::Refused(format!(
            "interfaces: {name} is not an Ethernet interface, XDP cannot watch it"
        )));
    }
    Ok((link.ifindex, interface.mode))
}
