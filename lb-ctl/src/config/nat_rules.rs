//! Inbound NAT rules: their keys, and what they must agree with.

use std::collections::HashMap;
use std::net::IpAddr;

use super::access::{Access, AppliesTo};
use super::conflicts::{self, named, other};
use super::error::{Place, Report, quoted};
use super::fields::{At, Fields};
use super::model::{NatRule, NatTarget, PortRange, Ports, Protocol, Protocols};
use super::path::Path;
use super::ports::{self, Taken};
use super::priorities;
use super::raw::{RawBackend, RawConfig, RawFrontend, RawNatRule, RawPool, RawRule};
use super::read::{self, IDLE_TIMEOUT, IDLE_TIMEOUTS};
use super::references::{NatReferences, Targets};
use super::validate;
use super::values::{name, off, port, reference, word};
use super::words::Word as _;
use super::yaml::{Node, Scalar};

/// Reads one.
pub(super) fn read(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawNatRule {
    let example = "{ name: ssh-1, frontend: web, protocol: tcp, port: 50001, backend: web/web-1 }";
    let mut fields = Fields::of(node, path, example, report);
    let name = fields.required("name", "ssh-1", name);
    let frontend = fields.required("frontend", "web", reference);
    let protocols = fields.required("protocol", "tcp", |protocol| word(protocol, &[]));
    let ports = fields.required("port", "50001", range);
    fields.either("backend", "pool", "web/web-1");
    let backend = fields.optional("backend", reference);
    let pool = fields.optional("pool", reference);
    if let (Some(_), Some(pool)) = (&backend, &pool) {
        let message = "a NAT rule is to one backend or over a pool; remove \"pool\" or \"backend\"";
        fields.refuse("pool", pool.place, message);
    } else if let (Some(_), Some(At { place, value })) = (&backend, ports)
        && value.count() > 1
    {
        let message = format!(
            "{value} are {} ports, and one backend has one; write one port, or \"pool\" instead of \"backend\"",
            value.count()
        );
        fields.refuse("port", place, message);
    }
    let read = RawNatRule {
        index,
        name,
        frontend,
        protocols,
        ports,
        backend,
        pool,
        backend_port: backend_port(&mut fields, ports),
        idle_timeout: fields
            .or("idleTimeout", IDLE_TIMEOUT, |time| super::duration::duration(time, IDLE_TIMEOUTS)),
        access: fields.list("access", read::access),
        access_applies_to: fields.optional("accessAppliesTo", |packets| word(packets, &[])),
    };
    fields.optional("tcpReset", off);
    fields.optional("floatingIp", off);
    fields.optional::<()>("probe", |_| {
        Err("NAT rules have no probe: their one backend gets its packets always; remove the key".to_owned())
    });
    fields.finish();
    read
}

fn range(scalar: &Scalar<'_>) -> Result<PortRange, String> {
    if scalar.text == "all" {
        return Err(
            "NAT rules are for ports that they name; write a port, or a range such as 50100-50199".to_owned()
        );
    }
    ports::range(scalar)
}

/// That of a range has to be written: the range is of frontend ports.
fn backend_port(fields: &mut Fields<'_, '_, '_>, ports: Option<At<PortRange>>) -> Option<At<u16>> {
    match ports {
        Some(At { place, value: PortRange { first, last } }) if first == last => {
            if fields.has("backendPort") {
                fields.optional("backendPort", port)
            } else {
                Some(At { place, value: first })
            }
        }
        Some(_) => fields.required("backendPort", "22", port),
        None => fields.optional("backendPort", port),
    }
}

/// NAT rules agree with the rest of the file.
pub(super) fn check(config: &RawConfig, targets: &Targets, report: &mut Report<'_>) {
    for (rule, target) in config.nat_rules.iter().zip(&targets.nat_rules) {
        let path = format!("natRules[{}]", rule.index);
        let udp = rule.protocols.is_some_and(|protocols| protocols.value == Protocols::Udp);
        validate::access(&rule.access, rule.access_applies_to, udp, &path, report);
        let Some((pool, members)) = members(config, target) else { continue };
        let frontend = target.frontend.and_then(|at| config.frontends.get(at));
        let (key, named) = match &rule.backend {
            Some(backend) => ("backend", Some(backend)),
            None => ("pool", rule.pool.as_ref()),
        };
        let Some(named) = named else { continue };
        conflicts::family(frontend, pool, members, (named.place, format!("{path}.{key}")), report);
        enough_ports(rule, pool, members, report);
    }
    frontend_ports(config, targets, report);
    backend_ports(config, targets, report);
}

/// The pool and the members that a NAT rule is to.
fn members<'c>(config: &'c RawConfig, target: &NatReferences) -> Option<(&'c RawPool, &'c [RawBackend])> {
    match target.to? {
        NatTarget::Member { pool, backend } => {
            let pool = config.pools.get(pool)?;
            Some((pool, pool.backends.get(backend..=backend)?))
        }
        NatTarget::Pool(pool) => config.pools.get(pool).map(|pool| (pool, pool.backends.as_slice())),
    }
}

/// S-NAT-2: the size of the range is the most members.
fn enough_ports(rule: &RawNatRule, pool: &RawPool, members: &[RawBackend], report: &mut Report<'_>) {
    let Some(At { place, value: ports }) = rule.ports else { return };
    let (count, room) = (members.len(), ports.count());
    if count <= room {
        return;
    }
    let of = if room == 1 { "is one port".to_owned() } else { format!("are {room} ports") };
    let message = format!(
        "pool {} ({}) has {count} backends, and {ports} {of}; each backend needs one: raise the end of the \
         range, by which no backend changes its port",
        named(pool.name.as_ref()),
        report.refer(place, pool.place),
    );
    report.add(place, format!("natRules[{}].port", rule.index), message);
}

/// S-RULE-2: rules and NAT rules share the ports of a frontend. A port of a NAT rule comes before a range or
/// all ports of a rule as any other port does; but which ports of a NAT range are in use is a matter of the
/// pool's members, and whose a port is must not be.
fn frontend_ports(config: &RawConfig, targets: &Targets, report: &mut Report<'_>) {
    let mut rules = HashMap::<(usize, Protocol), Taken<&RawRule>>::new();
    for (rule, target) in config.rules.iter().zip(&targets.rules) {
        let (Some(frontend), Some(protocols), Some(ports)) = (target.frontend, rule.protocols, rule.ports)
        else {
            continue;
        };
        for &protocol in protocols.value.each() {
            // Rules that overlap have their mistake already.
            let _ = rules.entry((frontend, protocol)).or_default().take(ports.value, rule);
        }
    }
    let mut nat_rules = HashMap::<(usize, Protocol), Taken<&RawNatRule>>::new();
    'rules: for (rule, target) in config.nat_rules.iter().zip(&targets.nat_rules) {
        let (Some(frontend), Some(protocols), Some(At { place, value: ports })) =
            (target.frontend, rule.protocols, rule.ports)
        else {
            continue;
        };
        let comes_first = |first: &RawRule| {
            ports.count() == 1 && first.ports.is_some_and(|first| !matches!(first.value, Ports::One(_)))
        };
        for &protocol in protocols.value.each() {
            let key = (frontend, protocol);
            let mut others = rules.get(&key).into_iter().flat_map(|rules| rules.any(ports));
            let nat_rules = nat_rules.entry(key).or_default();
            let (port, by) = if let Some((range, first)) = others.find(|(_, first)| !comes_first(first)) {
                (range.first.max(ports.first), format!("rule {}", other(first, place, report)))
            } else if let Some((range, first)) = nat_rules.any(ports).next() {
                (range.first.max(ports.first), format!("NAT rule {}", other_nat(first, place, report)))
            } else {
                // Of any kind; none overlaps another.
                let _ = nat_rules.take(ports.into(), rule);
                continue;
            };
            let message = format!(
                "{by} serves {} {port} of frontend {} already; write other ports, or remove one of the two",
                protocol.word(),
                config.frontends.get(frontend).map_or_else(String::new, |it| named(it.name.as_ref())),
            );
            report.add(place, format!("natRules[{}].port", rule.index), message);
            continue 'rules;
        }
    }
}

/// S-RULE-4: backend, protocol and backend port belong to one rule of any kind, or a reply could not
/// be told from the reply of another.
fn backend_ports(config: &RawConfig, targets: &Targets, report: &mut Report<'_>) {
    let mut by_pool = HashMap::<(Protocol, usize), Taken<&RawRule>>::new();
    for (rule, target) in config.rules.iter().zip(&targets.rules) {
        let (Some(protocols), Some(ports), Some(pool)) = (rule.protocols, rule.backend_ports(), target.pool)
        else {
            continue;
        };
        for &protocol in protocols.value.each() {
            // Rules that overlap have their mistake already.
            let _ = by_pool.entry((protocol, pool)).or_default().take(ports.value, rule);
        }
    }
    let mut pools = HashMap::<IpAddr, Vec<usize>>::new();
    for (position, pool) in config.pools.iter().enumerate() {
        for address in pool.backends.iter().filter_map(|backend| backend.address) {
            pools.entry(address.value).or_default().push(position);
        }
    }
    let mut by_member = HashMap::<(Protocol, u16, IpAddr), &RawNatRule>::new();
    'rules: for (rule, target) in config.nat_rules.iter().zip(&targets.nat_rules) {
        let (Some(protocols), Some(port), Some((_, members))) =
            (rule.protocols, rule.backend_port, members(config, target))
        else {
            continue;
        };
        let goals = protocols.value.each().iter().flat_map(|&protocol| {
            members.iter().filter_map(|member| member.address).map(move |address| (protocol, address.value))
        });
        for (protocol, address) in goals {
            let of_address = pools.get(&address).map_or(&[][..], Vec::as_slice);
            let goal = PortRange::one(port.value);
            let by_rule =
                of_address.iter().find_map(|&pool| by_pool.get(&(protocol, pool))?.any(goal).next());
            let first = match (by_rule, by_member.get(&(protocol, port.value, address))) {
                (Some((_, first)), _) => format!("rule {}", other(first, port.place, report)),
                (None, Some(first)) => format!("NAT rule {}", other_nat(first, port.place, report)),
                (None, None) => {
                    by_member.insert((protocol, port.value, address), rule);
                    continue;
                }
            };
            let message = format!(
                "NAT rule {} and {first} both send {} to {}, where replies could not be told apart; give one \
                 of them another backendPort",
                named(rule.name.as_ref()),
                protocol.word(),
                std::net::SocketAddr::new(address, port.value),
            );
            report.add(port.place, format!("natRules[{}].backendPort", rule.index), message);
            continue 'rules;
        }
    }
}

/// A NAT rule as another one's message names it.
fn other_nat(rule: &RawNatRule, reader: Place, report: &Report<'_>) -> String {
    match &rule.name {
        Some(At { place, value }) => format!("{} ({})", quoted(value), report.refer(reader, *place)),
        None => format!("natRules[{}]", rule.index),
    }
}

/// Those that lack nothing; the others have a mistake each.
pub(super) fn build(
    rules: Vec<RawNatRule>,
    targets: Vec<NatReferences>,
    frontends: &[RawFrontend],
) -> Vec<NatRule> {
    let build = |(rule, target): (RawNatRule, NatReferences)| {
        Some(NatRule {
            name: rule.name?.value,
            frontend: target.frontend?,
            protocols: rule.protocols?.value,
            ports: rule.ports?.value,
            to: target.to?,
            backend_port: rule.backend_port?.value,
            idle_timeout: rule.idle_timeout,
            access: Access::new(
                priorities::in_order(rule.access),
                rule.access_applies_to.map_or_else(AppliesTo::default, At::into_value),
                frontends.get(target.frontend?)?.address?.value,
            ),
        })
    };
    rules.into_iter().zip(targets).filter_map(build).collect()
}
