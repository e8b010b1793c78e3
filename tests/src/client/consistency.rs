//! Thousands of long connections, and whether each keeps its server.

mod lives;

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio::sync::watch;

use super::Fault;
use crate::lab::{CLIENT, NetNs};
use lives::Client;

/// How one connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// An exchange every interval.
    Steady,
    /// Exchanges with long pauses between.
    Pausing,
    /// Asks for lines, one an interval, shuts down its own side and reads until the end; then another one.
    HalfClosed,
    /// A few exchanges, an end (by the server, or by a reset), and at once another connection from the same port.
    SamePort,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct Load {
    pub server: SocketAddrV4,
    /// Connections of each behaviour.
    pub steady: usize,
    pub pausing: usize,
    pub half_closed: usize,
    pub same_port: usize,
    pub interval: Duration,
    /// Of the pausing ones.
    pub pause: Duration,
    /// Without an answer for so long, a connection counts as broken.
    pub patience: Duration,
    /// Source address. Loads at the same time need different ones, else one may take the port that another
    /// is about to use again.
    pub from: Ipv4Addr,
    pub seed: u64,
}

impl Load {
    #[must_use]
    pub fn new(server: SocketAddrV4, steady: usize) -> Self {
        let (interval, pause, patience) =
            (Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(5));
        Self {
            server,
            steady,
            pausing: 0,
            half_closed: 0,
            same_port: 0,
            interval,
            pause,
            patience,
            from: CLIENT,
            seed: 1,
        }
    }

    #[must_use]
    pub fn connections(&self) -> usize {
        self.steady + self.pausing + self.half_closed + self.same_port
    }

    /// Opens them from inside `netns`, spread over one interval; each that breaks is recorded and opened again.
    #[must_use]
    pub fn start(self, netns: &NetNs) -> Running {
        let (stop, stopped) = watch::channel(false);
        let log = Arc::new(Mutex::new(Log {
            breaks: Vec::new(),
            opened: Vec::new(),
            current: vec![None; self.connections()],
            exchanges: 0,
        }));
        let (netns, shared) = (netns.clone(), log.clone());
        let thread = thread::spawn(move || {
            netns.block_on(async || {
                let mut rng = Rng::with_seed(self.seed);
                let load = Arc::new(self);
                let mut clients = tokio::task::JoinSet::new();
                for (id, behaviour) in load.behaviours().enumerate() {
                    let client = Client {
                        id,
                        behaviour,
                        load: load.clone(),
                        log: shared.clone(),
                        stop: stopped.clone(),
                        rng: rng.fork(),
                    };
                    clients.spawn(client.run());
                }
                clients.join_all().await;
                Ok(())
            })
        });
        Running { stop, log, thread }
    }

    fn behaviours(&self) -> impl Iterator<Item = Behaviour> {
        [
            (Behaviour::Steady, self.steady),
            (Behaviour::Pausing, self.pausing),
            (Behaviour::HalfClosed, self.half_closed),
            (Behaviour::SamePort, self.same_port),
        ]
        .into_iter()
        .flat_map(|(behaviour, count)| std::iter::repeat_n(behaviour, count))
    }
}

/// A connection that broke: everything that is not an end by plan.
#[derive(Clone, Debug)]
pub struct Break {
    pub connection: usize,
    pub behaviour: Behaviour,
    /// Its server, if one had answered.
    pub server: Option<String>,
    pub fault: Fault,
    pub at: Instant,
    /// Our end; port 0 if it was not opened.
    pub local: SocketAddrV4,
}

/// A connection whose first answer came.
#[derive(Clone, Debug)]
pub struct Opened {
    pub connection: usize,
    pub server: String,
    /// When its SYN was sent.
    pub started: Instant,
    /// When the answer came: it was established between the two.
    pub answered: Instant,
    pub local: SocketAddrV4,
}

/// What has happened so far.
#[derive(Clone, Debug)]
pub struct Log {
    pub breaks: Vec<Break>,
    pub opened: Vec<Opened>,
    /// Per connection: our end and the server, while it is open.
    pub current: Vec<Option<(SocketAddrV4, String)>>,
    pub exchanges: u64,
}

impl Log {
    #[must_use]
    pub fn open(&self) -> usize {
        self.current.iter().flatten().count()
    }

    /// Our ends of the connections that are open.
    #[must_use]
    pub fn sources(&self) -> Vec<SocketAddrV4> {
        self.current.iter().flatten().map(|(local, _)| *local).collect()
    }
}

/// Connections at work; dropping it lets them go on until the process ends, so [`Running::finish`] it.
pub struct Running {
    stop: watch::Sender<bool>,
    log: Arc<Mutex<Log>>,
    thread: JoinHandle<Result<()>>,
}

impl Running {
    /// Waits until all of them are open.
    pub fn wait_until_open(&self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let log = self.log();
            if log.open() == log.current.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let last = log
                    .breaks
                    .last()
                    .map(|broken| format!("; last fault: {}", broken.fault))
                    .unwrap_or_default();
                bail!(
                    "{} of {} connections are open after {patience:?}{last}",
                    log.open(),
                    log.current.len()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A copy of what has happened so far.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Closes all connections and tells what happened.
    pub fn finish(self) -> Result<Log> {
        self.stop.send_replace(true);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(self.log.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}
