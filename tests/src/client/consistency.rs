//! Thousands of long connections, and whether each keeps its server.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use fastrand::Rng;
use tokio::sync::watch;

use super::{Fault, line::Line};
use crate::lab::{CLIENT, NetNs};

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
    /// Source address.
    pub from: Ipv4Addr,
    pub seed: u64,
}

/// Exchanges, or lines of a download, before a connection that ends by plan does so.
const EXCHANGES: std::ops::Range<u32> = 3..30;

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

/// One of the connections, over all its lives.
struct Client {
    id: usize,
    behaviour: Behaviour,
    load: Arc<Load>,
    log: Arc<Mutex<Log>>,
    stop: watch::Receiver<bool>,
    rng: Rng,
}

impl Client {
    async fn run(mut self) {
        let mut stop = self.stop.clone();
        let work = async {
            tokio::time::sleep(self.load.interval.mul_f64(self.rng.f64())).await;
            let mut port = 0;
            loop {
                port = self.live(port).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// One connection from its opening to its end; the port that the next one takes.
    async fn live(&mut self, port: u16) -> u16 {
        let started = Instant::now();
        let local = SocketAddrV4::new(self.load.from, port);
        let mut line = match Line::open(local, self.load.server, self.load.patience).await {
            Ok(line) => line,
            Err(fault) => return self.broke(None, local, fault).await,
        };
        let local = line.local();
        let result = match self.behaviour {
            Behaviour::HalfClosed => self.download(&mut line, started).await,
            Behaviour::Steady | Behaviour::Pausing => self.converse(&mut line, started, None).await,
            Behaviour::SamePort => {
                let exchanges = self.rng.u32(EXCHANGES);
                self.converse(&mut line, started, Some(exchanges)).await
            }
        };
        if let Err(fault) = result {
            let server = line.server().map(str::to_owned);
            return self.broke(server, local, fault).await;
        }
        self.closed();
        if self.behaviour != Behaviour::SamePort {
            return 0;
        }
        let server = line.server().map(str::to_owned);
        let end = if self.rng.bool() { line.quit().await } else { line.reset() };
        match end {
            Ok(()) => local.port(),
            Err(fault) => self.broke(server, local, fault).await,
        }
    }

    /// Exchanges for ever, or so many.
    async fn converse(
        &mut self,
        line: &mut Line,
        started: Instant,
        exchanges: Option<u32>,
    ) -> Result<(), Fault> {
        let mut number = 0;
        while exchanges.is_none_or(|most| number < most) {
            line.exchange(&number.to_string()).await?;
            self.answered(line, started, number);
            number += 1;
            let pause =
                if self.behaviour == Behaviour::Pausing { self.load.pause } else { self.load.interval };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn download(&mut self, line: &mut Line, started: Instant) -> Result<(), Fault> {
        let lines = self.rng.u32(EXCHANGES);
        line.send(&format!("download {lines} {}", self.load.interval.as_millis())).await?;
        line.half_close().await?;
        for number in 0..lines {
            line.expect(&number.to_string()).await?;
            self.answered(line, started, number);
        }
        line.expect_end().await
    }

    fn answered(&self, line: &Line, started: Instant, number: u32) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.exchanges += 1;
        if number == 0 {
            let server = line.server().unwrap_or_default().to_owned();
            log.current[self.id] = Some((line.local(), server.clone()));
            log.opened.push(Opened {
                connection: self.id,
                server,
                started,
                answered: Instant::now(),
                local: line.local(),
            });
        }
    }

    fn closed(&self) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).current[self.id] = None;
    }

    /// Records it, and waits an interval; the next connection takes any port.
    async fn broke(&self, server: Option<String>, local: SocketAddrV4, fault: Fault) -> u16 {
        {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.current[self.id] = None;
            log.breaks.push(Break {
                connection: self.id,
                behaviour: self.behaviour,
                server,
                fault,
                at: Instant::now(),
                local,
            });
        }
        tokio::time::sleep(self.load.interval).await;
        0
    }
}
