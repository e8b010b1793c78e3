//! The task: hears what changed, asks the kernel what that means, publishes what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::netlink::{Error, Events, News, Requests};
use super::solicit::Schedule;
use super::table::{Family, NeighbourKey, Snapshot, Table};
use super::todo::Todo;
use super::{Track, Work};

const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Actor {
    requests: Requests,
    events: Events,
    /// A socket failed and both have to be opened again.
    broken: bool,
    orders: mpsc::Receiver<Track>,
    /// Who waits for the next refresh.
    waiting: Vec<oneshot::Sender<Arc<Snapshot>>>,
    members: BTreeSet<IpAddr>,
    table: Table,
    todo: Todo,
    schedule: Schedule,
    snapshots: watch::Sender<Arc<Snapshot>>,
    /// The last refusal to resolve a neighbour, told once.
    refusal: Option<String>,
    work: Arc<Work>,
}

impl Actor {
    /// Listens first and reads then, so that nothing falls between.
    pub(super) async fn open(
        orders: mpsc::Receiver<Track>,
        work: Arc<Work>,
    ) -> Result<(Self, watch::Receiver<Arc<Snapshot>>), Error> {
        let (snapshots, reader) = watch::channel(Arc::default());
        let mut actor = Self {
            events: Events::open()?,
            requests: Requests::open()?,
            broken: false,
            orders,
            waiting: Vec::new(),
            members: BTreeSet::new(),
            table: Table::default(),
            todo: Todo::everything(Instant::now()),
            schedule: Schedule::default(),
            snapshots,
            refusal: None,
            work,
        };
        actor.refresh().await?;
        Ok((actor, reader))
    }

    pub(super) async fn run(mut self) {
        loop {
            let wake = self.wake();
            let step = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.track(order).await,
                    None => return,
                },
                news = self.events.next(), if !self.broken => news.map(|news| self.note(news)),
                () = tokio::time::sleep_until(wake.into()) => self.refresh().await,
            };
            if let Err(error) = step {
                self.recover(&error);
            }
        }
    }

    async fn track(&mut self, order: Track) -> Result<(), Error> {
        self.members = order.members;
        self.waiting.push(order.reply);
        self.todo.routes.want_now(Instant::now());
        if self.broken {
            return Ok(());
        }
        self.refresh().await
    }

    fn note(&mut self, news: News) {
        for fact in news.facts {
            if self.table.learn(fact) {
                self.todo.publish.want();
            }
        }
        if news.routes {
            self.todo.routes.want();
        }
        let follows = |&family: &Family| *news.table_routes.of(family) && self.table.follows_routes(family);
        if news.interface_routes || Family::BOTH.iter().any(follows) {
            self.todo.tables.want();
        }
        if news.everything {
            self.todo.everything.want();
        }
        let overflows = &self.work.overflows;
        overflows.fetch_add(news.overflows, Ordering::Relaxed);
    }

    fn recover(&mut self, error: &Error) {
        warn!("next hops are not kept up to date, trying again in a second: {error}");
        self.broken = true;
        self.todo = Todo::everything(Instant::now() + RETRY);
    }

    fn wake(&self) -> Instant {
        let solicit = self.schedule.next().filter(|_| !self.broken);
        let next = [self.todo.next(), solicit].into_iter().flatten().min();
        next.unwrap_or_else(|| Instant::now() + RETRY)
    }

    async fn refresh(&mut self) -> Result<(), Error> {
        if self.broken {
            self.events = Events::open()?;
            self.requests = Requests::open()?;
            self.broken = false;
        }
        if self.todo.everything.is_due(Instant::now()) {
            self.read_everything().await?;
        }
        if self.todo.routes.is_due(Instant::now()) {
            self.read_routes().await?;
        }
        if self.todo.tables.is_due(Instant::now()) {
            self.read_tables().await?;
        }
        if self.todo.publish.is_due(Instant::now()) {
            self.publish();
        }
        self.solicit().await
    }

    async fn read_everything(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let mut table = Table::default();
        for fact in self.requests.facts().await? {
            table.learn(fact);
        }
        self.table = table;
        self.read_tables().await?;
        self.read_routes().await?;
        self.todo.everything.done(started, Instant::now());
        self.work.full_reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn read_routes(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let mut routes = BTreeMap::new();
        for &member in &self.members {
            routes.insert(member, self.requests.route(member).await?);
            self.work.route_lookups.fetch_add(1, Ordering::Relaxed);
        }
        self.table.set_routes(routes);
        self.todo.routes.done(started, Instant::now());
        self.todo.publish.want_now(started);
        Ok(())
    }

    async fn read_tables(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        let tables = self.requests.tables().await?;
        self.table.set_interface_routes(tables.interface_routes);
        for family in Family::BOTH {
            self.table.set_table_routes(family, tables.routes.of(family).as_deref());
        }
        self.todo.tables.done(started, Instant::now());
        self.todo.publish.want_now(started);
        Ok(())
    }

    fn publish(&mut self) {
        let started = Instant::now();
        let snapshot = self.table.snapshot();
        self.snapshots.send_if_modified(|published| {
            let changed = **published != snapshot;
            if changed {
                *published = Arc::new(snapshot);
            }
            changed
        });
        self.schedule.update(&self.table.needs(), started);
        self.todo.publish.done(started, Instant::now());
        for waiting in self.waiting.drain(..) {
            // Who asked may have stopped waiting.
            let _ = waiting.send(Arc::clone(&self.snapshots.borrow()));
        }
    }

    async fn solicit(&mut self) -> Result<(), Error> {
        for key in self.schedule.take_due(Instant::now()) {
            self.work.solicitations.fetch_add(1, Ordering::Relaxed);
            match self.requests.solicit(key).await {
                Ok(entry) => {
                    self.refusal = None;
                    if entry.is_some_and(|entry| self.table.learn(entry)) {
                        self.todo.publish.want();
                    }
                }
                Err(Error::Refused { source, .. }) => self.complain(key, &source),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A refusal leaves the member unresolved and is repeated by the schedule; it is told once.
    fn complain(&mut self, key: NeighbourKey, error: &std::io::Error) {
        let hint = match error.raw_os_error() {
            Some(libc::ENOBUFS) => match Family::of(key.address) {
                Family::V4 => "; the neighbour table is full: raise net.ipv4.neigh.default.gc_thresh3",
                Family::V6 => "; the neighbour table is full: raise net.ipv6.neigh.default.gc_thresh3",
            },
            Some(libc::EPERM) => "; CAP_NET_ADMIN is needed",
            _ => "",
        };
        let refusal = format!("{error}{hint}");
        if self.refusal.as_ref() != Some(&refusal) {
            warn!("the kernel refused to resolve a neighbour: {refusal}");
        }
        self.refusal = Some(refusal);
    }
}
