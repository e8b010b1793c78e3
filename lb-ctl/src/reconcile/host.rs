//! What is wrong with the host for what it is asked to do.

use std::collections::BTreeSet;
use std::fs;

use crate::config::model::Config;
use crate::neighbours::Snapshot;

/// Warnings for `apply` and `status`, each with its cure.
pub(super) fn warnings(config: &Config, attached: &[u32], snapshot: &Snapshot) -> Vec<String> {
    let names = attached.iter().filter_map(|ifindex| Some(snapshot.links.get(ifindex)?.name.as_str()));
    let silent = names.filter(|name| !forwards(name)).map(|name| {
        format!(
            "{name}: the kernel does not forward what comes in here, so replies find no route\n  \
             sysctl -w net.ipv4.conf.{name}.forwarding=1"
        )
    });
    silent.chain(unreached(config, snapshot)).collect()
}

/// Whether the kernel routes packets from this interface; `bpf_fib_lookup` asks the same.
fn forwards(interface: &str) -> bool {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
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
