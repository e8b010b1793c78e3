//! Where messages, probe results and news of the network arrive, one after the other.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::announce::{self, Herald};
use super::core::Core;
use super::flows::Census;
use super::rates::Rates;
use super::{ApplyError, Message, Options, changes, frontends, host as facts, nat, network, status};
use crate::announce::Announcer;
use crate::api::types::{Applied, Status};
use crate::compile::Host;
use crate::config::model::{Config, XdpMode};
use crate::dataplane::{self, Attachment, Error};
use crate::health::{Event as ProbeEvent, Health, Prober};
use crate::neighbours::{Neighbours, Snapshot};

/// How often rates are taken and transitions looked at.
const BEAT: Duration = Duration::from_secs(1);

/// Beats from one sweep of the exceptions to the next.
const SWEEP_EVERY: u64 = 10;

/// Others answer within a second, if nothing is wrong with the links.
const ASKING: Duration = Duration::from_secs(5);

pub(super) struct Desk {
    core: Core,
    prober: Prober,
    neighbours: Neighbours,
    news: watch::Receiver<Arc<Snapshot>>,
    /// The network as the maps have it, which `neighbours` may know better already.
    seen: Arc<Snapshot>,
    herald: Herald,
    /// Where the program is attached.
    attached: BTreeSet<u32>,
    /// Applies that are in force, while others are being asked about their frontends.
    waiting: Vec<Waiting>,
    options: Options,
    started: Instant,
    generation: u64,
    rates: Rates,
    census: Census,
    /// Trouble that is tried again with each beat, for status.
    trouble: Option<String>,
}

/// Who waits for the answer to an apply, and until when.
struct Waiting {
    applied: Applied,
    reply: oneshot::Sender<Result<Applied, ApplyError>>,
    until: Instant,
}

impl Desk {
    pub(super) fn new(
        core: Core,
        prober: Prober,
        neighbours: Neighbours,
        announcer: Announcer,
        options: Options,
    ) -> Self {
        let (news, seen) = (neighbours.subscribe(), neighbours.snapshot());
        let (started, rates) = (Instant::now(), Rates::default());
        let census = Census::default();
        Self {
            core,
            prober,
            neighbours,
            news,
            seen,
            herald: Herald::new(announcer),
            attached: BTreeSet::new(),
            waiting: Vec::new(),
            options,
            started,
            generation: 0,
            rates,
            census,
            trouble: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut probes: mpsc::Receiver<ProbeEvent>,
    ) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut beats = 0;
        loop {
            tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.answer(message).await,
                    None => return,
                },
                Some(event) = probes.recv() => self.judge(&event),
                Ok(()) = self.news.changed() => self.heed_network(),
                () = self.herald.news() => self.heed_others(),
                _ = beat.tick() => {
                    beats += 1;
                    self.beat(beats);
                }
            }
            self.herald.note_held(&self.core.observed().announced);
            self.answer_applies();
        }
    }

    async fn answer(&mut self, message: Message) {
        match message {
            Message::Apply(config, reply) => {
                match self.apply(*config).await {
                    Ok(applied) => {
                        let until = Instant::now() + ASKING;
                        self.waiting.push(Waiting { applied, reply, until });
                    }
                    // Who asked may have gone.
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Message::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Message::Nat(reply) => {
                let _ = reply.send(nat::mappings(&self.core));
            }
            Message::Detach(reply) => {
                let _ = reply.send(self.detach());
            }
        }
    }

    async fn apply(&mut self, config: Config) -> Result<Applied, ApplyError> {
        let begun = Instant::now();
        self.find_members(&config).await?;
        let before = (self.core.config().cloned(), self.core.observed().clone());
        self.put(config)?;
        self.prober.set_targets(self.core.probe_targets());
        let Some(config) = self.core.config() else { return Err(ApplyError::Stopping) };
        self.generation += 1;
        let applied = Applied {
            generation: self.generation,
            changes: changes::between(before.0.as_ref(), &before.1, config, self.core.observed()),
            warnings: Vec::new(),
            microseconds: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        tracing::info!(generation = applied.generation, changes = applied.changes.len(), "applied");
        Ok(applied)
    }

    /// Answers once it is known whether frontends that are new on their links are nobody else's.
    fn answer_applies(&mut self) {
        let (settled, now) = (self.herald.is_settled(), Instant::now());
        let (done, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|waiting: &Waiting| settled || waiting.until <= now);
        self.waiting = waiting;
        for Waiting { mut applied, reply, .. } in done {
            applied.warnings = self.core.config().map(|config| self.warnings(config)).unwrap_or_default();
            // Who asked may have gone; the configuration is in force all the same.
            let _ = reply.send(Ok(applied));
        }
    }

    /// Attaches, then writes the maps; if either fails, the interfaces are as they were.
    fn put(&mut self, config: Config) -> Result<(), ApplyError> {
        let attached = self.core.dataplane().attached();
        let attached = attached.map_err(|error| ApplyError::Failed(error.to_string()))?;
        let done = self.attach(&config).and_then(|()| {
            self.look_around(Some(&config));
            self.core.apply(config, Instant::now())
        });
        if done.is_err() {
            let restored = self.restore(&attached);
            self.note(restored.map_err(|error| error.to_string()));
            self.look_around(self.core.config().cloned().as_ref());
        }
        done
    }

    fn warnings(&self, config: &Config) -> Vec<String> {
        let mut warnings = config.warnings();
        warnings.extend(facts::warnings(config, &self.attached, &self.seen));
        warnings.extend(frontends::warnings(config, &self.seen, &self.herald));
        warnings
    }

    /// Has the kernel asked for the way to each member, old ones included.
    async fn find_members(&mut self, config: &Config) -> Result<(), ApplyError> {
        let wanted = config.pools().iter().flat_map(|pool| &pool.backends).map(|backend| backend.address);
        let there = self.core.observed().members.values().map(|member| member.address);
        let members: BTreeSet<IpAddr> = wanted.chain(there).collect();
        let snapshot = self.neighbours.track(members).await;
        let snapshot =
            snapshot.map_err(|error| ApplyError::Failed(format!("asking the kernel for routes: {error}")))?;
        self.seen = snapshot;
        Ok(())
    }

    /// Notes what is known of the network now and means to a configuration; `true` if the maps have to follow.
    fn look_around(&mut self, config: Option<&Config>) -> bool {
        match self.core.dataplane().attached() {
            Ok(attached) => self.attached = attached.into_iter().map(|(ifindex, _)| ifindex).collect(),
            Err(error) => self.note(Err(error.to_string())),
        }
        let claims = config.map(|config| announce::claims(config, &self.seen, &self.attached));
        let ours = self.seen.links.values().filter_map(|link| link.mac).collect();
        let held = &self.core.observed().announced;
        let before = self.herald.conflicts();
        let free = self.herald.claim(&claims.unwrap_or_default(), ours, held);
        frontends::log(&before, &self.herald.conflicts(), &self.seen);
        self.core.set_host(Host { free, ..network::host(&self.seen) })
    }

    /// Attaches to every interface that the configuration needs. Those of an earlier one stay: they
    /// may carry what is still to end.
    fn attach(&mut self, config: &Config) -> Result<(), ApplyError> {
        let wanted = network::interfaces(config, &self.seen)?;
        dataplane::attach_all(self.core.dataplane_mut(), &wanted)
            .map_err(|error| ApplyError::Refused(error.to_string()))
    }

    /// Undoes what an apply that failed has done to interfaces: those that it added, and modes.
    fn restore(&mut self, before: &[(u32, Attachment)]) -> Result<(), Error> {
        let dataplane = self.core.dataplane_mut();
        for (ifindex, now) in dataplane.attached()? {
            match before.iter().find(|(there, _)| *there == ifindex) {
                None => dataplane.detach(ifindex)?,
                Some((_, then)) if *then == now => {}
                Some((_, Attachment::Native)) => drop(dataplane.attach(ifindex, XdpMode::Native)?),
                Some((_, Attachment::Generic)) => drop(dataplane.attach(ifindex, XdpMode::Generic)?),
            }
        }
        Ok(())
    }

    fn detach(&mut self) -> Result<(), ApplyError> {
        let failed = |error: Error| ApplyError::Failed(error.to_string());
        for (ifindex, _) in self.core.dataplane().attached().map_err(failed)? {
            self.core.dataplane_mut().detach(ifindex).map_err(failed)?;
        }
        self.look_around(self.core.config().cloned().as_ref());
        Ok(())
    }

    fn judge(&mut self, event: &ProbeEvent) {
        let up = event.health == Health::Up;
        tracing::info!(member = %event.key.address, port = event.key.port, up, result = %event.outcome, "probe");
        let result = self.core.judge(&event.key, up);
        self.note(result.map_err(|error| error.to_string()));
    }

    fn heed_network(&mut self) {
        self.seen = Arc::clone(&self.news.borrow_and_update());
        let config = self.core.config().cloned();
        if !self.look_around(config.as_ref()) {
            return;
        }
        if let Some(config) = config {
            let attached = self.attach(&config);
            self.note(attached.map_err(|error| error.to_string()));
            self.look_around(Some(&config));
        }
        self.converge();
    }

    /// Somebody has been asked, or has said something, about the address of a frontend.
    fn heed_others(&mut self) {
        if self.look_around(self.core.config().cloned().as_ref()) {
            self.converge();
        }
    }

    fn beat(&mut self, beats: u64) {
        let now = Instant::now();
        if self.trouble.take().is_some() {
            self.converge();
        }
        let settled = self.core.settle(now);
        self.note(settled.map_err(|error| error.to_string()));
        self.rates.sample(&self.core, now);
        if beats.is_multiple_of(SWEEP_EVERY) {
            match self.core.sweep() {
                Ok(census) => self.census = census,
                Err(error) => self.note(Err(error.to_string())),
            }
            self.converge();
        }
    }

    fn converge(&mut self) {
        let result = self.core.converge(&BTreeSet::new(), Instant::now());
        self.note(result.map_err(|error| error.to_string()));
    }

    fn note(&mut self, result: Result<(), String>) {
        if let Err(trouble) = result {
            tracing::error!(%trouble, "will try again");
            self.trouble = Some(trouble);
        }
    }

    fn status(&mut self) -> Status {
        match self.core.census() {
            Ok(census) => self.census = census,
            Err(error) => self.note(Err(error.to_string())),
        }
        status::Sources {
            core: &self.core,
            options: &self.options,
            generation: self.generation,
            uptime: self.started.elapsed(),
            rates: &self.rates,
            census: self.census,
            snapshot: &self.seen,
            herald: &self.herald,
            attached: &self.attached,
            reports: self.prober.snapshot(),
            trouble: self.trouble.as_deref(),
        }
        .status()
    }
}
