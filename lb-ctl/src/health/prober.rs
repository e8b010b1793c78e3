//! Runs the probes: a task for each target, and one that tells what changed.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, mpsc};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{sleep_until, timeout, timeout_at};

use super::machine::Health;
use super::outcome::{Evidence, LocalFailure, Outcome};
use super::schedule::Schedule;
use super::table::{Event, Incarnation, Report, Table};
use super::{ProbeKey, probe, sockets};

/// Faults of this host are said at most this often.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// A member and how it is to be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    pub key: ProbeKey,
    /// The health that an earlier daemon left; `None` for a member that is new. Only read when
    /// the target is added.
    pub initial: Option<Health>,
}

/// How late probes start. Counted since the prober started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Probes that have started.
    pub started: u64,
    /// Mean time from due to start.
    pub mean: Duration,
    /// Longest time from due to start.
    pub worst: Duration,
    /// Probes left out because the next one was due before they could start.
    pub missed: u64,
}

/// Probes a set of targets until it is dropped.
pub struct Prober {
    shared: Arc<Shared>,
    running: Mutex<Running>,
    runtime: Handle,
}

struct Running {
    tasks: JoinSet<()>,
    targets: HashMap<ProbeKey, AbortHandle>,
}

struct Shared {
    table: Mutex<Table>,
    changed: Notify,
    sockets: Semaphore,
    lag: LagCounters,
    warned: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct LagCounters {
    started: AtomicU64,
    total_micros: AtomicU64,
    worst_micros: AtomicU64,
    missed: AtomicU64,
}

impl Prober {
    /// Starts without targets; changes of health will be sent to `events`. A receiver that is slow
    /// delays nothing but itself, and finds the latest change of each target when it is back.
    ///
    /// Raises the process's limit of open files.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn start(events: mpsc::Sender<Event>) -> Self {
        let shared = Arc::new(Shared {
            table: Mutex::default(),
            changed: Notify::new(),
            sockets: Semaphore::new(sockets::allowance()),
            lag: LagCounters::default(),
            warned: Mutex::default(),
        });
        let runtime = Handle::current();
        let mut tasks = JoinSet::new();
        tasks.spawn_on(tell_changes(Arc::clone(&shared), events), &runtime);
        let running = Mutex::new(Running { tasks, targets: HashMap::new() });
        Self { shared, running, runtime }
    }

    /// Makes `targets` the set that is probed. Targets that stay keep their state and their times;
    /// those that are gone send no more events. Equal keys are one target.
    pub fn set_targets(&self, targets: Vec<ProbeTarget>) {
        let mut running = lock(&self.running);
        running.reap();
        let wanted: HashSet<&ProbeKey> = targets.iter().map(|target| &target.key).collect();
        running.stop_all_but(&wanted, &self.shared);
        for target in targets {
            if !running.targets.contains_key(&target.key) {
                self.add(&mut running, target);
            }
        }
    }

    fn add(&self, running: &mut Running, target: ProbeTarget) {
        let ProbeTarget { key, initial } = target;
        let health = initial.unwrap_or(Health::Unknown);
        let incarnation = lock(&self.shared.table).add(key.clone(), health, SystemTime::now());
        let schedule = Schedule::starting(&key, Instant::now());
        let task = keep_probing(Arc::clone(&self.shared), key.clone(), incarnation, schedule);
        let handle = running.tasks.spawn_on(task, &self.runtime);
        running.targets.insert(key, handle);
    }

    /// What is known of every target, in no order.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(ProbeKey, Report)> {
        lock(&self.shared.table).snapshot()
    }

    /// How late probes start.
    #[must_use]
    pub fn lag(&self) -> Lag {
        self.shared.lag.read()
    }

    /// Ends all probes, and returns when the last has ended.
    pub async fn stop(self) {
        let mut running = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        running.tasks.abort_all();
        while let Some(ended) = running.tasks.join_next().await {
            tell_panic(ended);
        }
    }
}

impl Running {
    fn stop_all_but(&mut self, wanted: &HashSet<&ProbeKey>, shared: &Shared) {
        let mut table = lock(&shared.table);
        self.targets.retain(|key, task| {
            let stays = wanted.contains(key);
            if !stays {
                task.abort();
                table.remove(key);
            }
            stays
        });
    }

    /// Forgets tasks that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            tell_panic(ended);
        }
    }
}

fn tell_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a probe's task has failed; please report this");
    }
}

/// Sends one event after the other. While the receiver is busy, newer events of a target replace
/// older ones in the table.
async fn tell_changes(shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    loop {
        let next = lock(&shared.table).next_event();
        let Some(event) = next else {
            shared.changed.notified().await;
            continue;
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn keep_probing(shared: Arc<Shared>, key: ProbeKey, incarnation: Incarnation, mut schedule: Schedule) {
    loop {
        let due = schedule.due();
        sleep_until(due.into()).await;
        let socket = shared.socket(&key).await;
        shared.lag.note(due.elapsed());
        let probed = match socket {
            Some(_) => probe::run(&key).await,
            None => Outcome::LocalFailure(LocalFailure::NoFreeSocket).into(),
        };
        shared.record(&key, incarnation, probed.outcome);
        shared.lag.note_missed(schedule.advance(Instant::now()));
        if let Some(closing) = probed.closing {
            // Cut short, the close is less orderly; the next probe is not late for it.
            let _ = timeout_at(schedule.due().into(), closing.finish()).await;
        }
    }
}

impl Shared {
    /// Waits for a socket as long as the probe may take.
    async fn socket(&self, key: &ProbeKey) -> Option<SemaphorePermit<'_>> {
        if let Ok(socket) = self.sockets.try_acquire() {
            return Some(socket);
        }
        self.warn(key, "probes wait for a free socket: raise the limit of open files");
        timeout(key.time_limit(), self.sockets.acquire()).await.ok()?.ok()
    }

    fn record(&self, key: &ProbeKey, incarnation: Incarnation, outcome: Outcome) {
        if outcome.evidence() == Evidence::None {
            self.warn(key, &format!("{outcome}; it keeps its state"));
        }
        if lock(&self.table).record(key, incarnation, outcome, SystemTime::now()) {
            self.changed.notify_one();
        }
    }

    fn warn(&self, key: &ProbeKey, message: &str) {
        let mut warned = lock(&self.warned);
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!("probe of {}: {message}", SocketAddr::new(key.address, key.port));
        }
    }
}

impl LagCounters {
    fn note(&self, late: Duration) {
        let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.started.fetch_add(1, Ordering::Relaxed);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
        self.worst_micros.fetch_max(micros, Ordering::Relaxed);
    }

    fn note_missed(&self, missed: u64) {
        self.missed.fetch_add(missed, Ordering::Relaxed);
    }

    fn read(&self) -> Lag {
        let started = self.started.load(Ordering::Relaxed);
        let total = self.total_micros.load(Ordering::Relaxed);
        Lag {
            started,
            mean: Duration::from_micros(total.checked_div(started).unwrap_or(0)),
            worst: Duration::from_micros(self.worst_micros.load(Ordering::Relaxed)),
            missed: self.missed.load(Ordering::Relaxed),
        }
    }
}

/// A panic elsewhere leaves the data whole: nothing is half done while a lock is held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
