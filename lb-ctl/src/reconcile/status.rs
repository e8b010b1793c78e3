//! What there is and how it does, gathered for whoever asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::reason::{Event, Reason};
use lb_common::units::MemberId;

use super::announce::Herald;
use super::core::{Core, in_force};
use super::flows::Census;
use super::frontends::{self, Surroundings};
use super::rates::Rates;
use super::{Options, host, nat};
use crate::api::types::{Exceptions, Interface, Member, Packets, Rule, Status, Tracked, Transition};
use crate::compile::{self, Accepting, Service, tracking};
use crate::config::access::Access;
use crate::config::model::{self, Config, Prefix};
use crate::dataplane::{Attachment, Counters};
use crate::health::{Health, ProbeKey, Report};
use crate::neighbours::Snapshot;
use crate::state;

/// Where a status is made from.
pub(super) struct Sources<'a> {
    pub(super) core: &'a Core,
    pub(super) options: &'a Options,
    pub(super) generation: u64,
    pub(super) uptime: Duration,
    pub(super) rates: &'a Rates,
    pub(super) census: Census,
    pub(super) snapshot: &'a Snapshot,
    pub(super) herald: &'a Herald,
    pub(super) attached: &'a BTreeSet<u32>,
    pub(super) reports: Vec<(ProbeKey, Report)>,
    pub(super) trouble: Option<&'a str>,
}

impl Sources<'_> {
    pub(super) fn status(&self) -> Status {
        let mut warnings: Vec<String> = self.trouble.map(ToOwned::to_owned).into_iter().collect();
        let counters = self.core.dataplane().counters().unwrap_or_else(|error| {
            warnings.push(error.to_string());
            Counters::default()
        });
        let interfaces = self.interfaces(&mut warnings);
        let (mut rules, mut nat_rules, mut members) = (Vec::new(), Vec::new(), Vec::new());
        let mut frontends = Vec::new();
        match self.core.config() {
            Some(config) => {
                rules = self.rules(config, &mut warnings);
                nat_rules = nat::rules(config, self.core, self.rates, &mut warnings);
                members = self.members(config);
                warnings.extend(config.warnings());
                warnings.extend(host::warnings(config, self.attached, self.snapshot));
                warnings.extend(frontends::warnings(config, self.snapshot, self.herald));
                frontends = frontends::all(config, self.surroundings());
            }
            None => warnings.push("no configuration has been applied yet: lbctl apply -f lb.yaml".to_owned()),
        }
        Status {
            instance: self.options.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.generation,
            uptime_seconds: self.uptime.as_secs(),
            interfaces,
            frontends,
            rules,
            nat_rules,
            members,
            exceptions: self.exceptions(),
            tracked: self.tracked(),
            reasons: reasons(&counters),
            events: events(&counters),
            warnings,
        }
    }

    fn surroundings(&self) -> Surroundings<'_> {
        let (snapshot, attached) = (self.snapshot, self.attached);
        Surroundings { snapshot, attached, herald: self.herald, maps: self.core.observed() }
    }

    fn interfaces(&self, warnings: &mut Vec<String>) -> Vec<Interface> {
        let name =
            |ifindex| self.snapshot.links.get(&ifindex).map_or("gone".to_owned(), |link| link.name.clone());
        let mode = |attachment| match attachment {
            Attachment::Native => "native",
            Attachment::Generic => "generic",
        };
        let attached = self.core.dataplane().attached().unwrap_or_else(|error| {
            warnings.push(error.to_string());
            Vec::new()
        });
        attached
            .into_iter()
            .map(|(ifindex, attachment)| Interface {
                name: name(ifindex),
                ifindex,
                mode: mode(attachment).to_owned(),
            })
            .collect()
    }

    fn exceptions(&self) -> Exceptions {
        let limits = self.core.dataplane().limits();
        Exceptions {
            confirmed: self.census.confirmed,
            confirmed_room: u64::from(limits.confirmed),
            pending: self.census.pending,
            pending_room: u64::from(limits.pending),
        }
    }

    fn tracked(&self) -> Tracked {
        Tracked {
            flows: self.census.tracked,
            room: u64::from(self.core.dataplane().limits().tracked) / 2,
            opening: self.census.opening,
        }
    }

    fn rules(&self, config: &Config, warnings: &mut Vec<String>) -> Vec<Rule> {
        let in_force = in_force(self.core.observed());
        let mut rules = Vec::new();
        for (rule, tracks) in config.rules().iter().zip(tracking::of_rules(config)) {
            let services: Vec<Service> = Service::of_rule(config, rule).collect();
            let number =
                services.iter().find_map(|service| in_force.get(service)).map_or(0, |rule| rule.stats);
            let stats = self.core.dataplane().rule_stats(number).unwrap_or_else(|error| {
                warnings.push(error.to_string());
                lb_common::abi::RuleStats::default()
            });
            let rate = self.rates.of(number);
            let accepting = compile::accepting(config, rule, self.core.healthy());
            rules.push(Rule {
                name: rule.name.clone(),
                protocol: rule.protocols.to_string(),
                address: config.frontend_of(rule).address,
                ports: rule.ports.to_string(),
                pool: config.pool_of(rule).name.clone(),
                backend_ports: rule.backend_ports().to_string(),
                distribution: rule.distribution.to_string(),
                tracking: tracks.map(|why| why.in_words(config).to_string()),
                access: access(&rule.access).to_owned(),
                members: accepting.len(),
                accepting: accepting.iter().filter(|state| state.yes()).count(),
                inbound: Packets { packets: stats.inbound.packets, bytes: stats.inbound.bytes },
                replies: Packets { packets: stats.replies.packets, bytes: stats.replies.bytes },
                opened: stats.opened,
                opened_per_second: rate.opened,
                packets_per_second: rate.packets,
                transition: services.iter().find_map(|service| transition(self.core, *service)),
            });
        }
        rules
    }

    /// Each member once for each probe and policy that judges it, and those of NAT rules alone.
    fn members(&self, config: &Config) -> Vec<Member> {
        let reports: HashMap<&ProbeKey, &Report> =
            self.reports.iter().map(|(key, report)| (key, report)).collect();
        let (mut seen, mut alone) = (BTreeSet::new(), BTreeSet::new());
        let mut members = Vec::new();
        for rule in config.rules() {
            if !seen.insert((rule.pool, rule.probe, rule.no_healthy_backends)) {
                continue;
            }
            let (pool, probe) = (config.pool_of(rule), config.probe_of(rule));
            let states = compile::accepting(config, rule, self.core.healthy());
            for (backend, accepting) in pool.backends.iter().zip(states) {
                let report =
                    probe.and_then(|probe| reports.get(&ProbeKey::new(backend.address, probe)).copied());
                members.push(self.member(pool, backend, probe, accepting, report));
            }
        }
        for rule in config.nat_rules() {
            let pool = config.pool_of_nat(rule);
            let known = config.rules().iter().any(|rule| std::ptr::eq(config.pool_of(rule), pool));
            for backend in config.members_of_nat(rule).iter().filter(|_| !known) {
                if alone.insert((&pool.name, &backend.name)) {
                    members.push(self.member(pool, backend, None, Accepting::Unprobed, None));
                }
            }
        }
        members
    }

    fn member(
        &self,
        pool: &model::Pool,
        backend: &model::Backend,
        probe: Option<&model::Probe>,
        accepting: Accepting,
        report: Option<&Report>,
    ) -> Member {
        let mut known = self.core.observed().members.iter();
        let known = known.find(|(_, member)| {
            (member.address, member.forwarding) == (backend.address, pool.forwarding as u8)
        });
        let label = known.map_or(MemberId::NONE, |(&label, _)| label);
        let (hides, sources) = known.map_or_else(Default::default, |(_, member)| self.hidden_clients(member));
        let unknown = report.is_some_and(|report| report.health == Health::Unknown);
        let state = match (accepting.yes(), unknown && accepting == Accepting::ProbeDown) {
            (true, _) => "up",
            (false, true) => "unknown",
            (false, false) => "down",
        };
        Member {
            pool: pool.name.clone(),
            name: backend.name.clone(),
            address: backend.address,
            weight: backend.weight,
            probe: probe.map(|probe| probe.name.clone()),
            state: state.to_owned(),
            reason: reason(accepting, report),
            since_seconds: report.and_then(|report| Some(report.since.elapsed().ok()?.as_secs())),
            opened: self.core.dataplane().member_opened(label).unwrap_or(0),
            next_hop: self.next_hop(backend.address),
            forwarding: pool.forwarding_word().to_owned(),
            hides,
            sources,
        }
    }

    /// Clients that a member does not see, and the addresses that it sees instead.
    fn hidden_clients(&self, member: &state::Member) -> (Option<String>, Vec<IpAddr>) {
        let maps = self.core.observed();
        let first = u32::from(member.sources);
        let run = maps.sources.get(&first).map_or(0, |source| u32::from(source.run));
        let sources = maps.sources.range(first..first + run).map(|(_, source)| source.address).collect();
        let bits = match member.apart {
            IpAddr::V4(bits) => bits.to_bits().leading_ones(),
            IpAddr::V6(bits) => bits.to_bits().leading_ones(),
        };
        let network = Prefix { address: member.address, length: u8::try_from(bits).unwrap_or(u8::MAX) };
        let hides = match (first, network.length) {
            (0, _) => None,
            (_, 0) => Some("all".to_owned()),
            (_, length) => Some(format!("{}/{length}", network.network())),
        };
        (hides, sources)
    }

    fn next_hop(&self, address: IpAddr) -> String {
        match self.snapshot.next_hops.get(&address) {
            Some(Ok(hop)) => {
                let mac: Vec<_> = hop.destination_mac.iter().map(|byte| format!("{byte:02x}")).collect();
                let link = self.snapshot.links.get(&hop.ifindex).map_or("?", |link| link.name.as_str());
                format!("{} on {link}", mac.join(":"))
            }
            Some(Err(why)) => self.snapshot.describe(*why),
            None => "not looked up yet".to_owned(),
        }
    }
}

/// The time that is left to a service.
pub(super) fn transition(core: &Core, service: Service) -> Option<Transition> {
    core.transition(service).map(|transition| Transition {
        seconds_left: transition.until.saturating_duration_since(Instant::now()).as_secs(),
        prolonged: transition.prolonged,
    })
}

fn reason(accepting: Accepting, report: Option<&Report>) -> String {
    let result = report.and_then(|report| report.last).map(|(outcome, _)| outcome.to_string());
    match accepting {
        Accepting::AdminUp => "admin state up".to_owned(),
        Accepting::AdminDown => "admin state down".to_owned(),
        Accepting::Unprobed => "no probe".to_owned(),
        Accepting::NoWeight => "weight 0".to_owned(),
        Accepting::AllDown => "all are down, and the policy is to ask all".to_owned(),
        Accepting::Probed | Accepting::ProbeDown => result.unwrap_or_else(|| "not probed yet".to_owned()),
    }
}

fn reasons(counters: &Counters) -> BTreeMap<String, Packets> {
    let counted = Reason::ALL.iter().zip(&counters.reasons).filter(|(_, counter)| counter.packets > 0);
    counted
        .map(|(reason, counter)| {
            (reason.name().to_owned(), Packets { packets: counter.packets, bytes: counter.bytes })
        })
        .collect()
}

fn events(counters: &Counters) -> BTreeMap<String, u64> {
    let counted = Event::ALL.iter().zip(&counters.events).filter(|(_, count)| **count > 0);
    counted.map(|(event, count)| (format!("{event:?}"), *count)).collect()
}

pub(super) fn access(access: &Access) -> &'static str {
    match access {
        access if access.is_open() => "open",
        access if access.is_closed() => "closed",
        _ => "listed",
    }
}
