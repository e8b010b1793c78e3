//! What each item may say for itself, but not together with another one. Every check looks once at
//! each item, and reports the later of two that contradict each other.

use std::collections::HashMap;
use std::net::IpAddr;

use super::error::{Place, Report, quoted};
use super::fields::At;
use super::model::Protocol;
use super::raw::{RawBackend, RawConfig, RawFrontend, RawPool, RawRule};
use super::references::Target;
use super::words::Word;

/// Two frontends with one address would be one frontend with two names.
pub(super) fn frontends(frontends: &[RawFrontend], report: &mut Report<'_>) {
    let mut seen: HashMap<IpAddr, (&RawFrontend, Place)> = HashMap::new();
    for frontend in frontends {
        let Some(At { place, value: address }) = frontend.address else {
            continue;
        };
        if let Some((first, at)) = seen.get(&address) {
            let message = format!(
                "{address} is the address of frontend {} already ({}); rules of both can name that one",
                named(first.name.as_ref()),
                report.refer(place, *at)
            );
            report.add(place, format!("frontends[{}].address", frontend.index), message);
        } else {
            seen.insert(address, (frontend, place));
        }
    }
}

/// A backend is in its pool once, and is no frontend: packets to it would never leave.
pub(super) fn members(pools: &[RawPool], frontends: &[RawFrontend], report: &mut Report<'_>) {
    let frontends: HashMap<IpAddr, &RawFrontend> =
        frontends.iter().filter_map(|frontend| Some((frontend.address.as_ref()?.value, frontend))).collect();
    for pool in pools {
        let mut seen: HashMap<IpAddr, Place> = HashMap::new();
        for backend in &pool.backends {
            let Some(At { place, value: address }) = backend.address else {
                continue;
            };
            let path = format!("pools[{}].backends[{}].address", pool.index, backend.index);
            if let Some(frontend) = frontends.get(&address) {
                let message = format!(
                    "{address} is the address of frontend {}; a backend needs one of its own",
                    named(frontend.name.as_ref())
                );
                report.add(place, &path, message);
            }
            if let Some(first) = seen.get(&address) {
                let first = report.refer(place, *first);
                let message = format!(
                    "{address} is in this pool twice, first at {first}; for a larger share use weight"
                );
                report.add(place, &path, message);
            } else {
                seen.insert(address, place);
            }
        }
    }
}

/// A rule's frontend and its backends are of one address family: nothing here translates between
/// the two.
pub(super) fn families(config: &RawConfig, targets: &[Target], report: &mut Report<'_>) {
    for (rule, target) in config.rules.iter().zip(targets) {
        let (Some(frontend), Some(pool)) = (target.frontend, target.pool) else { continue };
        let Some(pool) = config.pools.get(pool) else { continue };
        let Some(place) = rule.pool.as_ref().map(|pool| pool.place) else { continue };
        let path = format!("rules[{}].pool", rule.index);
        family(config.frontends.get(frontend), pool, &pool.backends, (place, path), report);
    }
}

/// The same for one rule, which is at `at`, and its members.
pub(super) fn family(
    frontend: Option<&RawFrontend>,
    pool: &RawPool,
    members: &[RawBackend],
    (place, path): (Place, String),
    report: &mut Report<'_>,
) {
    let Some(frontend) = frontend.and_then(|frontend| frontend.address) else { return };
    let mut members = members.iter().filter_map(|backend| backend.address);
    let Some(stranger) = members.find(|it| it.value.is_ipv4() != frontend.value.is_ipv4()) else { return };
    let (ours, theirs) = if frontend.value.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
    let message = format!(
        "the frontend is {ours} ({}) and backend {} of pool {} ({}) is {theirs}; addresses are not \
         translated between the two: give the rule a pool of {ours} backends",
        frontend.value,
        stranger.value,
        named(pool.name.as_ref()),
        report.refer(place, stranger.place),
    );
    report.add(place, path, message);
}

/// S-RULE-2: frontend, protocol and port belong to one rule.
pub(super) fn frontend_ports(config: &RawConfig, targets: &[Target], report: &mut Report<'_>) {
    let mut seen: HashMap<(usize, Protocol, u16), &RawRule> = HashMap::new();
    for (rule, target) in config.rules.iter().zip(targets) {
        let (Some(frontend), Some(protocol), Some(port)) = (target.frontend, rule.protocol, rule.port) else {
            continue;
        };
        let Some(first) = seen.get(&(frontend, protocol.value, port.value)) else {
            seen.insert((frontend, protocol.value, port.value), rule);
            continue;
        };
        let message = format!(
            "rule {} serves {} {} of frontend {} already; write another port, or remove one of the two",
            other(first, port.place, report),
            protocol.value.word(),
            port.value,
            config.frontends.get(frontend).map_or_else(String::new, |frontend| named(frontend.name.as_ref())),
        );
        report.add(port.place, format!("rules[{}].port", rule.index), message);
    }
}

/// A rule as another one's message names it.
pub(super) fn other(rule: &RawRule, reader: Place, report: &Report<'_>) -> String {
    match &rule.name {
        Some(At { place, value }) => {
            format!("{} ({})", quoted(value), report.refer(reader, *place))
        }
        None => format!("rules[{}]", rule.index),
    }
}

pub(super) fn named(name: Option<&At<String>>) -> String {
    name.map_or_else(|| "without a name".to_owned(), |name| quoted(&name.value))
}
