//! What is wrong with the host for what it is asked to do.

use std::collections::BTreeSet;
use std::fs;

use crate::config::model::Config;
use crate::neighbours::{Family, Snapshot};

/// Warnings for `apply` and `status`, each with its cure.
pub(super) fn warnings(config: &Config, attached: &BTreeSet<u32>, snapshot: &Snapshot) -> Vec<String> {
    let names = attached.iter().filter_map(|ifindex| Some(snapshot.links.get(ifindex)?.name.as_str()));
    let names: Vec<_> = names.collect();
    let families: BTreeSet<_> = config.frontends().iter().map(|it| Family::of(it.address)).collect();
    let silent = families.into_iter().flat_map(|family| not_forwarded(family, &names));
    silent.chain(unreached(config, snapshot)).collect()
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
