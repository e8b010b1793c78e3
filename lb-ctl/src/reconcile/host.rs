//! What is wrong with the host for what it is asked to do.

use std::collections::BTreeSet;
use std::fs;

use super::announce;
use crate::compile::sources::PORTS;
use crate::config::model::{Config, Pool};
use crate::neighbours::{Family, Snapshot};
use lb_common::abi::Forwarding;

/// Warnings for `apply` and `status`, each with its cure.
pub(super) fn warnings(config: &Config, attached: &BTreeSet<u32>, snapshot: &Snapshot) -> Vec<String> {
    let names = attached.iter().filter_map(|ifindex| Some(snapshot.links.get(ifindex)?.name.as_str()));
    let names: Vec<_> = names.collect();
    let families: BTreeSet<_> = config.frontends().iter().map(|it| Family::of(it.address)).collect();
    let silent = families.into_iter().flat_map(|family| not_forwarded(family, &names));
    let links = strict(config, attached, snapshot).into_iter().chain(unreached(config, snapshot));
    silent.chain(links).chain(shared_ports(config)).collect()
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

/// Interfaces whose members' replies the kernel drops as long as a client on the frontend's own link has not
/// been asked for: they come from an address of another link (`fib_validate_source`).
fn strict(config: &Config, attached: &BTreeSet<u32>, snapshot: &Snapshot) -> Vec<String> {
    let claims = announce::claims(config, snapshot, attached);
    let near: BTreeSet<_> =
        claims.keys().filter(|key| key.address.is_ipv4()).map(|key| key.ifindex).collect();
    if near.is_empty() {
        return Vec::new();
    }
    let far = attached.difference(&near).filter_map(|ifindex| snapshot.links.get(ifindex));
    let strict = far.map(|link| link.name.as_str()).filter(|name| filters_strictly(name));
    strict
        .map(|name| {
            format!(
                "{name}: the kernel drops replies to clients on a frontend's own link until it knows their \
                 hardware address\n  sysctl -w net.ipv4.conf.{name}.rp_filter=2"
            )
        })
        .collect()
}

/// Of the interface's setting and that of all the greater one counts; 1 is strict.
fn filters_strictly(interface: &str) -> bool {
    let setting = |name: &str| {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
        fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u8>().ok()).unwrap_or(0)
    };
    setting("all").max(setting(interface)) == 1
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
