//! Counters that the kernel keeps per network namespace.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};

use crate::lab::NetNs;

/// `/proc/net/snmp` and `/proc/net/netstat` by names such as `Tcp.InCsumErrors` and `TcpExt.SyncookiesSent`.
pub fn snmp(netns: &NetNs) -> Result<BTreeMap<String, u64>> {
    // /proc/net is that of the process; the thread's own is what was entered.
    let (snmp, netstat) = netns.run(|| {
        Ok((
            fs::read_to_string("/proc/thread-self/net/snmp")?,
            fs::read_to_string("/proc/thread-self/net/netstat")?,
        ))
    })?;
    Ok(parse(&snmp).chain(parse(&netstat)).collect())
}

/// Received segments and datagrams whose checksum was wrong, and IPv4 headers too.
pub fn checksum_errors(netns: &NetNs) -> Result<u64> {
    let counters = snmp(netns)?;
    ["Tcp.InCsumErrors", "Udp.InCsumErrors", "Icmp.InCsumErrors", "IpExt.InCsumErrors"]
        .iter()
        .map(|name| counters.get(*name).with_context(|| format!("the kernel has no counter {name}")))
        .sum()
}

/// Pairs of lines: `Tcp: InSegs InErrs` and `Tcp: 12 0`. Negative values (`Tcp.MaxConn`) are no counters.
fn parse(text: &str) -> impl Iterator<Item = (String, u64)> {
    let lines: Vec<&str> = text.lines().collect();
    let pairs: Vec<(String, u64)> = lines
        .chunks_exact(2)
        .flat_map(|pair| {
            let group = pair[0].split(':').next().unwrap_or_default();
            let values = pair[1].split_whitespace();
            pair[0]
                .split_whitespace()
                .zip(values)
                .skip(1)
                .filter_map(move |(name, value)| Some((format!("{group}.{name}"), value.parse().ok()?)))
        })
        .collect();
    pairs.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_lines_become_names() {
        let counters: BTreeMap<_, _> =
            parse("Tcp: MaxConn InSegs\nTcp: -1 12\nUdp: InErrors\nUdp: 3\n").collect();
        assert_eq!(counters, BTreeMap::from([("Tcp.InSegs".into(), 12), ("Udp.InErrors".into(), 3)]));
    }
}
