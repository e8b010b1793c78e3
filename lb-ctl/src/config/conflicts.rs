//! What each item may say for itself, but not together with another one. Every check looks once at
//! each item, and reports the later of two that contradict each other.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use super::error::{Place, Report, quoted};
use super::fields::At;
use super::model::{Ports, Protocol};
use super::ports::Taken;
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

/// S-RULE-2: frontend, protocol and port belong to one rule. A port comes before a range that has it, and a
/// range before all ports.
pub(super) fn frontend_ports(config: &RawConfig, targets: &[Target], report: &mut Report<'_>) {
    let mut taken = HashMap::<(usize, Protocol), Taken<&RawRule>>::new();
    'rules: for (rule, target) in config.rules.iter().zip(targets) {
        let (Some(frontend), Some(protocols), Some(At { place, value: ports })) =
            (target.frontend, rule.protocols, rule.ports)
        else {
            continue;
        };
        for &protocol in protocols.value.each() {
            let Err(first) = taken.entry((frontend, protocol)).or_default().take(ports, rule) else {
                continue;
            };
            let shared = first.ports.map_or(ports.first(), |first| first.value.first().max(ports.first()));
            let (what, cure) = match ports {
                Ports::One(port) => (port.to_string(), "write another port"),
                Ports::Range(_) => (shared.to_string(), "write other ports"),
                Ports::All => ("all ports".to_owned(), "name the ports of one of them"),
            };
            let message = format!(
                "rule {} serves {} {what} of frontend {} already; {cure}, or remove one of the two",
                other(first, place, report),
                protocol.word(),
                config.frontends.get(frontend).map_or_else(String::new, |it| named(it.name.as_ref())),
            );
            report.add(place, format!("rules[{}].port", rule.index), message);
            continue 'rules;
        }
    }
}

/// S-RULE-3 and S-RULE-4: backend, protocol and backend port belong to one rule, or a reply could
/// not be told from the reply of another. Two rules that give them the same frontend port may share them.
pub(super) fn backend_ports(config: &RawConfig, targets: &[Target], report: &mut Report<'_>) {
    let shared = in_several_pools(&config.pools);
    // Only rules with the same protocol and backend port can meet; first those of one pool, then
    // those whose pools have a backend in common.
    let mut by_pool = HashMap::<(Protocol, usize), Taken<Sender<'_>>>::new();
    let mut by_backend = HashMap::<(Protocol, IpAddr), Taken<Sender<'_>>>::new();
    'rules: for (rule, target) in config.rules.iter().zip(targets) {
        let (Some(protocols), Some(sender), Some(pool)) =
            (rule.protocols, Sender::of(rule, target), target.pool)
        else {
            continue;
        };
        let Some(members) = config.pools.get(pool) else { continue };
        for &protocol in protocols.value.each() {
            if let Err((port, first)) = sender.enter(by_pool.entry((protocol, pool)).or_default()) {
                let member = members.backends.iter().find_map(|backend| backend.address.as_ref());
                let goal = goal(member.map(|address| address.value), port);
                clash(&sender, first, members, protocol, &goal, report);
                continue 'rules;
            }
            let addresses = members.backends.iter().filter_map(|backend| backend.address.as_ref());
            for At { value: address, .. } in addresses.filter(|address| shared.contains(&address.value)) {
                if let Err((port, first)) = sender.enter(by_backend.entry((protocol, *address)).or_default())
                {
                    let goal = goal(Some(*address), port);
                    clash(&sender, first, members, protocol, &goal, report);
                    continue 'rules;
                }
            }
        }
    }
}

/// Where two rules meet; port 0 is of two rules of all ports.
fn goal(address: Option<IpAddr>, port: u16) -> String {
    match (address, port) {
        (Some(address), 0) => format!("all ports of {address}"),
        (Some(address), port) => SocketAddr::new(address, port).to_string(),
        (None, 0) => "all ports".to_owned(),
        (None, port) => format!("port {port}"),
    }
}

/// A rule with what its members' replies become.
#[derive(Clone, Copy)]
struct Sender<'r> {
    rule: &'r RawRule,
    backend_ports: At<Ports>,
    frontend: Option<usize>,
    /// From a port at the members to that of the frontend.
    back: u16,
}

impl<'r> Sender<'r> {
    fn of(rule: &'r RawRule, target: &Target) -> Option<Self> {
        let backend_ports = rule.backend_ports()?;
        let back = rule.ports?.value.first().wrapping_sub(backend_ports.value.first());
        Some(Self { rule, backend_ports, frontend: target.frontend, back })
    }

    fn has_one_port(&self) -> bool {
        matches!(self.backend_ports.value, Ports::One(_))
    }

    /// Takes the ports of a member, unless a reply from one of them could be of another rule: that port, and
    /// the rule. Rules of one port may share it: they track, and replies find their frontend by their flow.
    fn enter(self, taken: &mut Taken<Self>) -> Result<(), (u16, &'r RawRule)> {
        let ports = self.backend_ports.value;
        if self.has_one_port() && taken.any(ports.range()).any(|(_, other)| other.has_one_port()) {
            return Ok(());
        }
        let alike = |other: &Self| (other.frontend, other.back) == (self.frontend, self.back);
        let one_kind = |other: &Self| {
            std::mem::discriminant(&other.backend_ports.value) == std::mem::discriminant(&ports)
        };
        if let Some((range, first)) =
            taken.any(ports.range()).find(|(_, other)| one_kind(other) || !alike(other))
        {
            return Err((range.first.max(ports.first()), first.rule));
        }
        taken.take(ports, self).map_err(|first| (ports.first(), first.rule))
    }
}

fn clash(
    Sender { rule, backend_ports: At { place, .. }, .. }: &Sender<'_>,
    first: &RawRule,
    pool: &RawPool,
    protocol: Protocol,
    goal: &str,
    report: &mut Report<'_>,
) {
    let message = format!(
        "rules {} and {} both send {} to {goal} (pool {}), where replies could not be told apart; \
         give one of them another backendPort or other backends",
        other(first, *place, report),
        named(rule.name.as_ref()),
        protocol.word(),
        named(pool.name.as_ref()),
    );
    report.add(*place, format!("rules[{}].backendPort", rule.index), message);
}

/// Most addresses are in one pool, and rules of different pools cannot meet there.
fn in_several_pools(pools: &[RawPool]) -> HashSet<IpAddr> {
    let mut first_pool: HashMap<IpAddr, usize> = HashMap::new();
    let mut shared = HashSet::new();
    for (position, pool) in pools.iter().enumerate() {
        for address in pool.backends.iter().filter_map(|backend| backend.address.as_ref()) {
            if *first_pool.entry(address.value).or_insert(position) != position {
                shared.insert(address.value);
            }
        }
    }
    shared
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
