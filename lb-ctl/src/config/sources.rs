//! `sources` of pools: addresses of ours that clients' packets leave from.

use std::collections::HashMap;
use std::net::IpAddr;

use super::conflicts::named;
use super::error::{Place, Report};
use super::fields::At;
use super::raw::{RawConfig, RawPool};

/// Each is of its pool's family, and nobody else's.
pub(super) fn check(config: &RawConfig, report: &mut Report<'_>) {
    let frontends: HashMap<IpAddr, Place> = config
        .frontends
        .iter()
        .filter_map(|it| it.address)
        .map(|At { place, value }| (value, place))
        .collect();
    let backends = config.pools.iter().flat_map(|pool| &pool.backends);
    let backends: HashMap<IpAddr, Place> =
        backends.filter_map(|it| it.address).map(|At { place, value }| (value, place)).collect();
    for pool in &config.pools {
        let mut seen = HashMap::<IpAddr, Place>::new();
        for (index, source) in pool.sources.iter().enumerate() {
            let Some(At { place, value }) = *source else { continue };
            let at = |there: &Place, report: &Report<'_>| report.refer(place, *there);
            let mistake = if let Some(there) = frontends.get(&value) {
                Some(format!(
                    "{value} is a frontend ({}), whose packets are clients'; give another address of this host",
                    at(there, report)
                ))
            } else if let Some(there) = backends.get(&value) {
                Some(format!("{value} is a backend ({}); give an address of this host", at(there, report)))
            } else if let Some(there) = seen.get(&value) {
                Some(format!("{value} is already here ({}); remove one of the two", at(there, report)))
            } else {
                stranger(value, pool)
            };
            seen.entry(value).or_insert(place);
            if let Some(message) = mistake {
                report.add(place, format!("pools[{}].sources[{index}]", pool.index), message);
            }
        }
    }
}

/// A source that no backend of the pool could answer.
fn stranger(source: IpAddr, pool: &RawPool) -> Option<String> {
    let mut members = pool.backends.iter().filter_map(|backend| backend.address).peekable();
    members.peek()?;
    let (ours, theirs) = if source.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    (!members.any(|member| member.value.is_ipv4() == source.is_ipv4())).then(|| {
        format!(
            "{source} is {ours} and the backends of pool {} are {theirs}; give an {theirs} address of this host",
            named(pool.name.as_ref())
        )
    })
}
