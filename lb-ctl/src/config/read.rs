//! From text to [`RawConfig`]: which keys there are, what each may hold, and what it is when left
//! out. `docs/config.md` is the same list for users.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Source;
use super::access::{Entry, Verdict};
use super::duration::duration;
use super::error::{Place, Report};
use super::fields::{At, Fields, single};
use super::model::Check;
use super::nat_rules;
use super::path::Path;
use super::ports::{self, Ports};
use super::raw::{RawBackend, RawConfig, RawEntry, RawFrontend, RawInterface, RawPool, RawProbe, RawRule};
use super::values::{
    address, choice, http_path, interface, name, off, port, prefix, reference, truth, whole, word,
};
use super::yaml::{self, Node, Scalar};

/// All the text of one load; a pool of 8,192 members has a twentieth of it.
const MOST_BYTES: usize = 16 << 20;

/// Azure's default (S-IDLE-1). Azure takes 4 to 100 minutes (S-IDLE-2); less is our extension.
pub(super) const IDLE_TIMEOUT: Duration = minutes(4);
pub(super) const IDLE_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=minutes(120);

/// Linux sends its first TCP keepalive after two hours and gives up eleven minutes later.
const TRANSITION: Duration = minutes(135);
const TRANSITIONS: RangeInclusive<Duration> = Duration::from_secs(1)..=minutes(12 * 60);

/// The portal's default; Azure takes 5 s to 2 minutes, less is our extension (section 24, 10).
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(100)..=minutes(2);

/// S-PRB-18: the timeout is the interval, but at most this.
const LONGEST_DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=minutes(2);

const THRESHOLD: u32 = 2;
const THRESHOLDS: RangeInclusive<u32> = 1..=10;
const MEMBERS: RangeInclusive<u32> = 1..=super::validate::MOST_MEMBERS;
const WEIGHTS: RangeInclusive<u32> = 0..=1_000;

/// Azure's security groups take 100 to 4096 (S-SEC-3), its older lists any order number (S-SEC-9).
const PRIORITIES: RangeInclusive<u32> = 0..=1_000_000;

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

/// Reads every source; `None` if one of them cannot be read to its end, so that comparing the
/// rest would only add mistakes that are none.
pub(super) fn sources(sources: &[Source], report: &mut Report<'_>) -> Option<RawConfig> {
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if bytes > MOST_BYTES {
        report.add(
            Place::start_of(0),
            "",
            format!("{bytes} bytes of configuration; {MOST_BYTES} are possible"),
        );
        return None;
    }
    let mut config = RawConfig { complete: true, ..RawConfig::default() };
    let mut versions = 0;
    let mut whole = true;
    for (index, source) in sources.iter().enumerate() {
        match yaml::parse(index, &source.text, report) {
            Some(root) => versions += usize::from(file(&root, &mut config, report)),
            None => whole = false,
        }
    }
    if whole && versions == 0 {
        report.add(Place::start_of(0), "", "\"version\" is missing; write \"version: 1\" as the first line");
    }
    whole.then_some(config)
}

/// Adds one file; false if it is one without a `version`.
fn file(root: &Node<'_>, config: &mut RawConfig, report: &mut Report<'_>) -> bool {
    let mut fields = Fields::of(root, &Path::Root, "\"version: 1\"", report);
    let has_version = fields.has("version") || !fields.is_mapping();
    fields.optional("version", version);
    config.interfaces.extend(fields.list("interfaces", read_interface));
    config.frontends.extend(fields.list("frontends", frontend));
    config.pools.extend(fields.list("pools", pool));
    config.probes.extend(fields.list("probes", probe));
    config.rules.extend(fields.list("rules", rule));
    config.nat_rules.extend(fields.list("natRules", nat_rules::read));
    fields.later("outboundRules", "outbound rules are");
    config.complete &= fields.finish();
    has_version
}

fn version(scalar: &Scalar<'_>) -> Result<(), String> {
    match whole(scalar, 0..=u32::MAX)? {
        1 => Ok(()),
        other => Err(format!("{other} is not known; this lbctl reads version 1")),
    }
}

fn read_interface(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawInterface {
    let mut fields = Fields::of(node, path, "{ name: eth0 }", report);
    let read = RawInterface {
        index,
        name: fields.required("name", "eth0", interface),
        mode: fields.or_default("mode", |mode| word(mode, &[])),
    };
    fields.finish();
    read
}

fn frontend(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawFrontend {
    let mut fields = Fields::of(node, path, "{ name: web, address: 203.0.113.10 }", report);
    let is_prefix = fields.later("prefix", "frontends that are prefixes are");
    let read = RawFrontend {
        index,
        name: fields.required("name", "web", name),
        address: if is_prefix {
            fields.optional("address", address)
        } else {
            fields.required("address", "203.0.113.10", address)
        },
        announce: fields.or_default("announce", |announce| word(announce, &[])),
    };
    fields.finish();
    read
}

fn pool(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawPool {
    let mut fields = Fields::of(node, path, "{ name: web, backends: [...] }", report);
    let read = RawPool {
        index,
        place: fields.place(),
        name: fields.required("name", "web", name),
        max_members: fields.optional("maxMembers", |number| whole(number, MEMBERS)),
        transition: fields.or("transition", TRANSITION, |time| duration(time, TRANSITIONS)),
        forwarding: fields.optional("forwarding", |way| word(way, &["dsr-l2", "dsr-ipip"])),
        sources: fields.list("sources", |node, path, _, report| single(node, path, report, address)),
        backends: fields.list("backends", backend),
    };
    fields.finish();
    read
}

fn backend(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawBackend {
    let mut fields = Fields::of(node, path, "{ name: web-1, address: 10.0.1.11 }", report);
    let read = RawBackend {
        index,
        name: fields.required("name", "web-1", name),
        address: fields.required("address", "10.0.1.11", address),
        weight: fields.optional("weight", |number| {
            whole(number, WEIGHTS).and_then(|weight| u16::try_from(weight).map_err(|error| error.to_string()))
        }),
        admin_state: fields.or_default("adminState", |state| word(state, &["drain"])),
    };
    fields.later("zone", "zones are");
    fields.finish();
    read
}

fn probe(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawProbe {
    let mut fields = Fields::of(node, path, "{ name: web, protocol: tcp, port: 80 }", report);
    let interval = fields.or("interval", INTERVAL, |time| duration(time, INTERVALS));
    // S-PRB-20: the next probe ends the one before it.
    let timeout =
        fields.or("timeout", LONGEST_DEFAULT_TIMEOUT, |time| duration(time, TIMEOUTS)).min(interval);
    let read = RawProbe {
        index,
        name: fields.required("name", "web", name),
        check: check(&mut fields),
        port: fields.required("port", "8080", port),
        interval,
        timeout,
        threshold: fields.or("threshold", THRESHOLD, |number| whole(number, THRESHOLDS)),
        no_healthy_backends: fields.or_default("noHealthyBackends", |policy| word(policy, &[])),
    };
    fields.finish();
    read
}

fn check(fields: &mut Fields<'_, '_, '_>) -> Option<Check> {
    let later = ["https", "udp", "grpc", "exec"];
    let protocol =
        fields.required("protocol", "tcp", |text| choice(text, &[("tcp", false), ("http", true)], &later));
    let path = fields.optional("path", http_path);
    if protocol?.value {
        return Some(Check::Http { path: path.map_or_else(|| "/".to_owned(), |path| path.value) });
    }
    if let Some(path) = path {
        fields.refuse(
            "path",
            path.place,
            "a tcp probe asks for nothing; write \"protocol: http\", or remove \"path\"",
        );
    }
    Some(Check::Tcp)
}

fn rule(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawRule {
    let example = "{ name: http, frontend: web, protocol: tcp, port: 80, pool: web }";
    let mut fields = Fields::of(node, path, example, report);
    let name = fields.required("name", "http", name);
    let frontend = fields.required("frontend", "web", reference);
    let protocols = fields.required("protocol", "tcp", |protocol| word(protocol, &[]));
    let ports = fields.required("port", "80", ports::ports);
    let backend_port = backend_port(&mut fields, ports);
    let read = RawRule {
        index,
        name,
        frontend,
        protocols,
        ports,
        pool: fields.required("pool", "web", reference),
        backend_port,
        probe: fields.optional("probe", reference),
        no_healthy_backends: fields
            .optional("noHealthyBackends", |policy| word(policy, &[]))
            .map(At::into_value),
        distribution: fields.or_default("distribution", |mode| word(mode, &[])),
        idle_timeout: fields.or("idleTimeout", IDLE_TIMEOUT, |time| duration(time, IDLE_TIMEOUTS)),
        tracking: fields.or_default("tracking", |text| word(text, &[])),
        backend_initiates: fields.optional("backendInitiates", truth),
        access: fields.list("access", access),
        access_applies_to: fields.optional("accessAppliesTo", |packets| word(packets, &[])),
    };
    fields.optional("tcpReset", off);
    fields.optional("floatingIp", off);
    fields.optional("outboundSnat", off);
    fields.finish();
    read
}

/// The first port at the members. A range keeps its size, and all ports stay what they are.
fn backend_port(fields: &mut Fields<'_, '_, '_>, ports: Option<At<Ports>>) -> Option<At<u16>> {
    let same = ports.map(|ports| At { place: ports.place, value: ports.value.first() });
    if !fields.has("backendPort") {
        return same;
    }
    match ports.map(At::into_value) {
        None | Some(Ports::One(_)) => fields.optional("backendPort", port),
        Some(Ports::Range(ports)) => fields.optional("backendPort", |text| match ports::range(text)? {
            range if range.count() == ports.count() => Ok(range.first),
            range => Err(format!(
                "{range} and the ports {ports} are not equally many: {} and {}; a range is moved as a whole",
                range.count(),
                ports.count()
            )),
        }),
        Some(Ports::All) => fields.optional("backendPort", |_| {
            Err("with all ports each stays what it is; remove the key".to_owned())
        }),
    }
}

pub(super) fn access(node: &Node<'_>, path: &Path<'_>, index: usize, report: &mut Report<'_>) -> RawEntry {
    let mut fields = Fields::of(node, path, "{ allow: 198.51.100.0/24 }", report);
    fields.either("allow", "deny", "198.51.100.0/24");
    let says = match (fields.optional("allow", prefix), fields.optional("deny", prefix)) {
        (Some(_), Some(At { place, .. })) => {
            fields.refuse("deny", place, "an entry either allows or denies; write an entry for each");
            None
        }
        (Some(allow), None) => Some(Entry { verdict: Verdict::Allow, prefix: allow.value }),
        (None, Some(deny)) => Some(Entry { verdict: Verdict::Deny, prefix: deny.value }),
        (None, None) => None,
    };
    let priority = fields.optional("priority", |number| whole(number, PRIORITIES));
    let read = RawEntry {
        index,
        place: fields.place(),
        says,
        priority,
        priority_is_wrong: priority.is_none() && fields.has("priority"),
    };
    fields.finish();
    read
}
