//! What the reconciler knows and does, without tasks or clocks of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use lb_common::abi::{AddressFlags, Rule};
use lb_common::reason::Event;

use super::ApplyError;
use super::flows::{self, Census};
use crate::compile::{self, Host, Input, NatRules, Service};
use crate::config::model::{AdminState, Config};
use crate::dataplane::{Change, Dataplane, Error};
use crate::health::{Health, ProbeKey, ProbeTarget};
use crate::plan::{self, Plan, plan};
use crate::state::MapState;

/// How often it is looked whether anybody uses a port still that is held longer than a transition.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// A rule between two views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) until: Instant,
    length: Duration,
    /// Refused exceptions when it began, or was prolonged.
    refused: u64,
    pub(super) prolonged: u32,
}

/// The single writer of a data plane.
pub(super) struct Core {
    dataplane: Box<dyn Dataplane>,
    observed: MapState,
    config: Option<Config>,
    healthy: HashMap<ProbeKey, bool>,
    host: Host,
    transitions: BTreeMap<Service, Transition>,
    /// Jiffies in a second.
    hz: u32,
    /// Packets may still use what the last switch has put out of force.
    lingering: bool,
}

impl Core {
    /// Takes over whatever the maps hold.
    pub(super) fn new(dataplane: Box<dyn Dataplane>) -> Result<Self, Error> {
        let observed = dataplane.read()?;
        let (_, hz) = dataplane.clock()?;
        let mut core = Self {
            dataplane,
            observed,
            config: None,
            healthy: HashMap::new(),
            host: Host::default(),
            transitions: BTreeMap::new(),
            hz,
            // A daemon may have been killed right after its switch.
            lingering: true,
        };
        core.forget_free_space();
        Ok(core)
    }

    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    pub(super) fn observed(&self) -> &MapState {
        &self.observed
    }

    pub(super) fn dataplane(&self) -> &dyn Dataplane {
        self.dataplane.as_ref()
    }

    pub(super) fn dataplane_mut(&mut self) -> &mut dyn Dataplane {
        self.dataplane.as_mut()
    }

    pub(super) fn healthy(&self) -> &HashMap<ProbeKey, bool> {
        &self.healthy
    }

    pub(super) fn transition(&self, service: Service) -> Option<&Transition> {
        self.transitions.get(&service)
    }

    /// Puts a configuration into force. On error the old one is.
    pub(super) fn apply(&mut self, config: Config, now: Instant) -> Result<(), ApplyError> {
        let healthy = inherit(&config, &self.healthy, &self.observed);
        let before = (self.config.replace(config), std::mem::replace(&mut self.healthy, healthy));
        let result = self.converge(&BTreeSet::new(), now);
        if result.is_err() {
            (self.config, self.healthy) = before;
        }
        result
    }

    /// Notes what the host knows now; `true` if that is news.
    pub(super) fn set_host(&mut self, host: Host) -> bool {
        let news = self.host != host;
        self.host = host;
        news
    }

    /// Targets for the prober.
    pub(super) fn probe_targets(&self) -> Vec<ProbeTarget> {
        let initial = |up: bool| up.then_some(Health::Up);
        self.healthy.iter().map(|(key, &up)| ProbeTarget { key: key.clone(), initial: initial(up) }).collect()
    }

    /// A probe's verdict: one write, unless it is the last member that goes or comes; one more where a
    /// frontend has its first member up, or its last one down.
    pub(super) fn judge(&mut self, key: &ProbeKey, up: bool) -> Result<(), Error> {
        let (Some(config), Some(known)) = (&self.config, self.healthy.get_mut(key)) else { return Ok(()) };
        *known = up;
        for (index, word) in compile::health_words(config, &self.healthy, &self.observed, Some(key)) {
            if self.observed.health.get(&index) != Some(&word) {
                let change = Change::Health(index, word);
                self.dataplane.write(&change)?;
                plan::apply(&mut self.observed, &change);
            }
        }
        for (address, state) in compile::judged(config, &self.healthy, key) {
            let Some(&before) = self.observed.addresses.get(&address) else { continue };
            let now = before.without(AddressFlags::SERVES.with(AddressFlags::DOWN)).with(state);
            if now != before {
                let change = Change::Address(address, Some(now));
                self.dataplane.write(&change)?;
                plan::apply(&mut self.observed, &change);
            }
        }
        Ok(())
    }

    /// Brings the maps to what the configuration, the host and the flows ask for.
    pub(super) fn converge(&mut self, settled: &BTreeSet<Service>, now: Instant) -> Result<(), ApplyError> {
        let failed = |error: Error| ApplyError::Failed(error.to_string());
        self.let_packets_leave();
        let Some(config) = &self.config else { return Ok(()) };
        let carried = flows::carried(self.dataplane.as_ref(), &self.observed).map_err(failed)?;
        let input = Input {
            config,
            healthy: &self.healthy,
            host: &self.host,
            observed: &self.observed,
            carried: &carried,
            settled,
            hz: self.hz,
            limits: self.dataplane.limits(),
        };
        let wanted = compile::compile(&input).map_err(|refusal| ApplyError::Refused(refusal.to_string()))?;
        let plan = plan(&self.observed, &wanted);
        let refused = self.refused().map_err(failed)?;
        let before: BTreeMap<_, _> = in_force(&self.observed);
        if !plan.is_empty() {
            self.carry_out(&plan)?;
        }
        self.note_transitions(&before, refused, settled, now);
        Ok(())
    }

    /// Waits until no packet can still use what the last switch has put out of force: it would miss
    /// its rule, or leave an exception that `carried` has to see.
    fn let_packets_leave(&mut self) {
        if std::mem::take(&mut self.lingering) {
            self.dataplane.quiesce();
        }
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let before = self.observed.clone();
        let total = plan.until_effective.len();
        for (step, change) in plan.until_effective.iter().enumerate() {
            if let Err(error) = self.write(change) {
                let undone = self.undo(&plan.until_effective[..step], &before);
                return Err(ApplyError::Failed(failure(step, total, change, &error, undone)));
            }
        }
        self.lingering = true;
        if !plan.tidy.is_empty() {
            self.let_packets_leave();
        }
        for change in &plan.tidy {
            if let Err(error) = self.write(change) {
                tracing::warn!(%error, "in force, but what follows could not be done: frontends that are new may not be answered for, or something old is in the maps still; tried again later");
                break;
            }
        }
        self.forget_free_space();
        Ok(())
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        self.dataplane.write(change)?;
        plan::apply(&mut self.observed, change);
        Ok(())
    }

    /// Takes writes back, last first; the mistake if that fails, too.
    fn undo(&mut self, done: &[Change], before: &MapState) -> Result<(), Error> {
        for change in done.iter().rev() {
            if let Some(inverse) = plan::inverse(change, before) {
                self.write(&inverse)?;
            }
        }
        self.forget_free_space();
        Ok(())
    }

    /// Rings and health words that no rule in force names are free, whatever they hold.
    fn forget_free_space(&mut self) {
        let rules = self.observed.rules_in_force();
        let views: Vec<_> = rules.flat_map(|(_, rule)| [rule.current, rule.old]).collect();
        let rings: BTreeSet<u32> =
            views.iter().filter(|view| view.ring_size != 0).map(|view| view.ring_base).collect();
        self.observed.rings.retain(|base, _| rings.contains(base));
        let words: BTreeSet<u32> = views
            .iter()
            .flat_map(|view| view.health_base..view.health_base + u32::from(view.health_words))
            .collect();
        self.observed.health.retain(|word, _| words.contains(word));
    }

    /// Starts the clock of each transition that is new, has got another aim, or has been found in
    /// the maps.
    fn note_transitions(
        &mut self,
        before: &BTreeMap<Service, Rule>,
        refused: u64,
        settled: &BTreeSet<Service>,
        now: Instant,
    ) {
        let Some(config) = &self.config else { return };
        let rules = in_force(&self.observed);
        let mut transitions = BTreeMap::new();
        let nat = NatRules::of(config);
        let lengths: BTreeMap<Service, Duration> = config
            .rules()
            .iter()
            .flat_map(|rule| {
                Service::of_rule(config, rule).map(|service| (service, config.pool_of(rule).transition))
            })
            .collect();
        for (&service, now_in_force) in rules.iter().filter(|(_, rule)| rule.old.present != 0) {
            let of_nat = || Some(config.pool_of_nat(nat.serving(service)?.1).transition);
            let Some(length) = lengths.get(&service).copied().or_else(of_nat) else { continue };
            let same_aim = before.get(&service).is_some_and(|before| {
                let aim = |rule: &Rule| {
                    (rule.current.ring_base, rule.current.ring_size, rule.current.port, rule.current.mode)
                };
                before.old.present != 0 && aim(before) == aim(now_in_force)
            });
            let fresh = Transition { until: now + length, length, refused, prolonged: 0 };
            let known = self.transitions.get(&service).filter(|_| same_aim).copied();
            let mut transition = known.unwrap_or(fresh);
            if settled.contains(&service) {
                // The port of a NAT rule's member that has left, and connections go on.
                transition.until = now + transition.length.min(LOOK_AGAIN);
                transition.prolonged += 1;
            }
            transitions.insert(service, transition);
        }
        self.transitions = transitions;
    }

    /// Ends the transitions whose time is over, or prolongs them if an exception was refused
    /// meanwhile: connections may depend on the old view that nothing remembers.
    pub(super) fn settle(&mut self, now: Instant) -> Result<(), ApplyError> {
        let due: BTreeSet<Service> = self
            .transitions
            .iter()
            .filter(|(_, transition)| transition.until <= now)
            .map(|(&service, _)| service)
            .collect();
        if due.is_empty() {
            return Ok(());
        }
        let refused = self.refused().map_err(|error| ApplyError::Failed(error.to_string()))?;
        let mut settled = BTreeSet::new();
        for service in due {
            let Some(transition) = self.transitions.get_mut(&service) else { continue };
            if transition.refused == refused {
                settled.insert(service);
            } else {
                transition.until = now + transition.length;
                transition.refused = refused;
                transition.prolonged += 1;
            }
        }
        self.converge(&settled, now)
    }

    /// Deletes exceptions that are long past their life, and counts the others.
    pub(super) fn sweep(&mut self) -> Result<Census, Error> {
        flows::sweep(self.dataplane.as_mut(), &self.observed, self.hz)
    }

    /// Counts exceptions that are alive.
    pub(super) fn census(&self) -> Result<Census, Error> {
        flows::census(self.dataplane.as_ref(), &self.observed)
    }

    fn refused(&self) -> Result<u64, Error> {
        let events = self.dataplane.counters()?.events;
        let count = |event: Event| events.get(event as usize).copied().unwrap_or(0);
        Ok(count(Event::SuspendRefused) + count(Event::ConfirmRefused))
    }
}

fn failure(step: usize, total: usize, change: &Change, error: &Error, undone: Result<(), Error>) -> String {
    let state = match undone {
        Ok(()) => "undone; the old configuration is in force".to_owned(),
        Err(error) => {
            format!("and could not be undone ({error}): tried again with the next change, or in seconds")
        }
    };
    format!("step {} of {total} ({change}) failed: {error}: {state}", step + 1)
}

/// The rules in force by their services.
pub(super) fn in_force(state: &MapState) -> BTreeMap<Service, Rule> {
    state.rules_in_force().map(|(key, rule)| (Service::of(key), *rule)).collect()
}

/// What is known of the members that a configuration probes: a member keeps its health; one that
/// another probe, or an earlier daemon, has found accepting in all of its rules starts as healthy.
fn inherit(config: &Config, known: &HashMap<ProbeKey, bool>, observed: &MapState) -> HashMap<ProbeKey, bool> {
    let rules = in_force(observed);
    let labels = compile::known_labels(observed);
    let mut healthy = HashMap::<ProbeKey, Option<bool>>::new();
    for rule in config.rules() {
        let Some(probe) = config.probe_of(rule) else { continue };
        let in_force = Service::of_rule(config, rule).find_map(|service| rules.get(&service));
        let pool = config.pool_of(rule);
        for backend in &pool.backends {
            let probed = backend.admin_state == AdminState::None && backend.weight > 0;
            let accepted = || {
                let (view, label) = (in_force?.current, *labels.get(&(backend.address, pool.forwarding))?);
                probed.then(|| observed.accepts(&view, label))
            };
            let key = ProbeKey::new(backend.address, probe);
            let up = known.get(&key).copied().or_else(accepted);
            // `all-up` makes failed members accept; a rule beside it that drops tells the truth.
            let all = healthy.entry(key).or_default();
            *all = match (*all, up) {
                (Some(one), Some(other)) => Some(one && other),
                (one, other) => one.or(other),
            };
        }
    }
    healthy.into_iter().map(|(key, up)| (key, up.unwrap_or(false))).collect()
}

#[cfg(test)]
mod tests;
