//! What the host is to members, and what is wrong with it for what it is asked to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;

use lb_common::abi::Forwarding;

use crate::compile::Near;
use crate::compile::sources::PORTS;
use crate::config::model::{Config, Pool, Prefix};
use crate::neighbours::{Family, InterfaceAddress, Snapshot};

/// Warnings for `apply` and `status`, each with its cure.
pub(super) fn warnings(config: &Config, attached: &[u32], snapshot: &Snapshot) -> Vec<String> {
    let names = attached.iter().filter_map(|ifindex| Some(snapshot.links.get(ifindex)?.name.as_str()));
    let names: Vec<_> = names.collect();
    let families: BTreeSet<_> = config.frontends().iter().map(|it| Family::of(it.address)).collect();
    let silent = families.into_iter().flat_map(|family| not_forwarded(family, &names));
    silent.chain(unreached(config, snapshot)).chain(shared_ports(config)).collect()
}

/// The host as each member sees it: its addresses on the link that leads there.
pub(super) fn near(snapshot: &Snapshot) -> BTreeMap<IpAddr, Near> {
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

fn not_forwarded(family: Family, interfaces: &[&str]) -> Vec<String> {
    let (name, folder) = match family {
        Family::V4 => ("IPv4", "ipv4"),
        Family::V6 => ("IPv6", "ipv6"),
    };
    // In IPv6 this one decides for all, in IPv4 it only sets them.
    if family == Family::V6 && !forwards(folder, "all") {
        return vec![format!(
            "the kernel does not forward {name}, so replies find no route\n  sysctl -w net.{folder}.conf.all.forwarding=1"
        )];
    }
    let silent = interfaces.iter().filter(|interface| !forwards(folder, interface)).map(|interface| {
        format!(
            "{interface}: the kernel does not forward what comes in here by {name}, so replies find no route\n  \
             sysctl -w net.{folder}.conf.{interface}.forwarding=1"
        )
    });
    silent.collect()
}

/// Whether the kernel routes packets from this interface; `bpf_fib_lookup` asks the same.
fn forwards(family: &str, interface: &str) -> bool {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/forwarding");
    fs::read_to_string(path).is_ok_and(|text| text.trim() != "0")
}

/// Ports that the host opens connections of its own from, among those that hidden clients leave from.
fn shared_ports(config: &Config) -> Option<String> {
    let hides = |pool: &Pool| pool.forwarding == Forwarding::FullNat || !pool.sources.is_empty();
    let pool = config.pools().iter().find(|pool| hides(pool))?;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let (first, last) = (PORTS.start(), PORTS.end());
    let from: u16 = range.split_whitespace().next()?.parse().ok()?;
    (from <= *last).then(|| {
        format!(
            "pool {}: clients leave from ports {first} to {last}, and so do connections of this host itself, which may \
             meet at a backend\n  sysctl -w net.ipv4.ip_local_port_range='{} 60999'",
            pool.name,
            last + 1
        )
    })
}

/// Frontends whose clients come by no interface that we know of.
fn unreached(config: &Config, snapshot: &Snapshot) -> Vec<String> {
    if !config.interfaces().is_empty() {
        return Vec::new();
    }
    let alone = |address| snapshot.interfaces_toward(&BTreeSet::from([address]), &BTreeSet::new()).is_empty();
    let frontends = config.frontends().iter().filter(|frontend| alone(frontend.address));
    frontends
        .map(|frontend| {
            format!(
                "frontend {}: no interface has {} in its network, and there is no default route\n  \
                 name the interface that its clients come by under interfaces:",
                frontend.name, frontend.address
            )
        })
        .collect()
}
