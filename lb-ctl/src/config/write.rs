//! A [`Config`] as the file that says the same with every default written out; `load` of that
//! text gives an equal `Config`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::access::Entry;
use super::duration::show;
use super::model::{
    self, Backend, Check, Config, Frontend, Interface, NatRule, NatTarget, Pool, Probe, Rule,
};
use super::words::Word;

impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let file = File {
            version: 1,
            interfaces: self.interfaces().iter().map(interface).collect(),
            frontends: self.frontends().iter().map(frontend).collect(),
            pools: self.pools().iter().map(pool).collect(),
            probes: self.probes().iter().map(probe).collect(),
            rules: self.rules().iter().map(|r| rule(self, r)).collect(),
            nat_rules: self.nat_rules().iter().map(|r| nat_rule(self, r)).collect(),
        };
        file.serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'c> {
    version: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<InterfaceKeys<'c>>,
    frontends: Vec<FrontendKeys<'c>>,
    pools: Vec<PoolKeys<'c>>,
    probes: Vec<ProbeKeys<'c>>,
    rules: Vec<RuleKeys<'c>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nat_rules: Vec<NatRuleKeys<'c>>,
}

#[derive(Serialize)]
struct InterfaceKeys<'c> {
    name: &'c str,
    mode: &'static str,
}

fn interface(interface: &Interface) -> InterfaceKeys<'_> {
    InterfaceKeys { name: &interface.name, mode: interface.mode.word() }
}

#[derive(Serialize)]
struct FrontendKeys<'c> {
    name: &'c str,
    address: String,
    announce: &'static str,
}

fn frontend(frontend: &Frontend) -> FrontendKeys<'_> {
    let Frontend { name, address, announce } = frontend;
    FrontendKeys { name, address: address.to_string(), announce: announce.word() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PoolKeys<'c> {
    name: &'c str,
    max_members: u32,
    transition: String,
    forwarding: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sources: Vec<String>,
    backends: Vec<BackendKeys<'c>>,
}

fn pool(pool: &Pool) -> PoolKeys<'_> {
    PoolKeys {
        name: &pool.name,
        max_members: pool.max_members,
        transition: show(pool.transition),
        forwarding: pool.forwarding.word(),
        sources: pool.sources.iter().map(ToString::to_string).collect(),
        backends: pool.backends.iter().map(backend).collect(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendKeys<'c> {
    name: &'c str,
    address: String,
    weight: u16,
    admin_state: &'static str,
}

fn backend(backend: &Backend) -> BackendKeys<'_> {
    BackendKeys {
        name: &backend.name,
        address: backend.address.to_string(),
        weight: backend.weight,
        admin_state: backend.admin_state.word(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProbeKeys<'c> {
    name: &'c str,
    protocol: &'static str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'c str>,
    interval: String,
    timeout: String,
    threshold: u32,
    no_healthy_backends: &'static str,
}

fn probe(probe: &Probe) -> ProbeKeys<'_> {
    let (protocol, path) = match &probe.check {
        Check::Tcp => ("tcp", None),
        Check::Http { path } => ("http", Some(path.as_str())),
    };
    ProbeKeys {
        name: &probe.name,
        protocol,
        port: probe.port,
        path,
        interval: show(probe.interval),
        timeout: show(probe.timeout),
        threshold: probe.threshold,
        no_healthy_backends: probe.no_healthy_backends.word(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleKeys<'c> {
    name: &'c str,
    frontend: &'c str,
    protocol: &'static str,
    port: Ports,
    pool: &'c str,
    /// Absent with all ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_port: Option<Ports>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'c str>,
    no_healthy_backends: &'static str,
    distribution: &'static str,
    idle_timeout: String,
    tracking: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_initiates: Option<bool>,
    tcp_reset: bool,
    floating_ip: bool,
    outbound_snat: bool,
    access: Vec<BTreeMap<&'static str, String>>,
    access_applies_to: &'static str,
}

fn rule<'c>(config: &'c Config, rule: &'c Rule) -> RuleKeys<'c> {
    RuleKeys {
        name: &rule.name,
        frontend: &config.frontend_of(rule).name,
        protocol: rule.protocols.word(),
        port: rule.ports.into(),
        pool: &config.pool_of(rule).name,
        backend_port: (rule.ports != model::Ports::All).then(|| rule.backend_ports().into()),
        probe: config.probe_of(rule).map(|probe| probe.name.as_str()),
        no_healthy_backends: rule.no_healthy_backends.word(),
        distribution: rule.distribution.word(),
        idle_timeout: show(rule.idle_timeout),
        tracking: rule.tracking.word(),
        backend_initiates: rule.backend_initiates.then_some(true),
        tcp_reset: false,
        floating_ip: false,
        outbound_snat: false,
        access: rule.access.entries().iter().copied().map(entry).collect(),
        access_applies_to: rule.access.applies_to().word(),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NatRuleKeys<'c> {
    name: &'c str,
    frontend: &'c str,
    protocol: &'static str,
    port: Ports,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'c str>,
    backend_port: u16,
    idle_timeout: String,
    tcp_reset: bool,
    floating_ip: bool,
    access: Vec<BTreeMap<&'static str, String>>,
    access_applies_to: &'static str,
}

/// A number, or text for a range or all.
#[derive(Serialize)]
#[serde(untagged)]
enum Ports {
    One(u16),
    More(String),
}

impl From<model::Ports> for Ports {
    fn from(ports: model::Ports) -> Self {
        match ports {
            model::Ports::One(port) => Self::One(port),
            model::Ports::Range(_) | model::Ports::All => Self::More(ports.to_string()),
        }
    }
}

fn nat_rule<'c>(config: &'c Config, rule: &'c NatRule) -> NatRuleKeys<'c> {
    let pool = config.pool_of_nat(rule);
    let (backend, pool) = match rule.to {
        NatTarget::Member { backend, .. } => {
            (Some(format!("{}/{}", pool.name, pool.backends[backend].name)), None)
        }
        NatTarget::Pool(_) => (None, Some(pool.name.as_str())),
    };
    NatRuleKeys {
        name: &rule.name,
        frontend: &config.frontends()[rule.frontend].name,
        protocol: rule.protocols.word(),
        port: model::Ports::from(rule.ports).into(),
        backend,
        pool,
        backend_port: rule.backend_port,
        idle_timeout: show(rule.idle_timeout),
        tcp_reset: false,
        floating_ip: false,
        access: rule.access.entries().iter().copied().map(entry).collect(),
        access_applies_to: rule.access.applies_to().word(),
    }
}

/// `allow` or `deny` with its prefix.
fn entry(Entry { verdict, prefix }: Entry) -> BTreeMap<&'static str, String> {
    BTreeMap::from([(verdict.word(), format!("{}/{}", prefix.address, prefix.length))])
}
