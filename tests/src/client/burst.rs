//! Many short connections: open, one exchange, close.

use std::{
    cell::Cell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future::join_all;

use super::{Fault, line::Line};
use crate::lab::{CLIENT, NetNs};

/// What to open.
#[derive(Clone, Debug)]
pub struct Burst {
    pub server: SocketAddrV4,
    pub connections: u32,
    /// So many at once; the next one starts when one has ended.
    pub at_once: usize,
    /// New connections per second, at most.
    pub rate: Option<u32>,
    /// For opening, and again for the answer.
    pub patience: Duration,
    /// Source address.
    pub from: Ipv4Addr,
}

impl Burst {
    #[must_use]
    pub fn new(server: SocketAddrV4, connections: u32) -> Self {
        Self { server, connections, at_once: 32, rate: None, patience: Duration::from_secs(3), from: CLIENT }
    }

    /// Opens them all from inside `netns`, and waits until the last has ended.
    pub fn run(&self, netns: &NetNs) -> Result<Report> {
        netns.block_on(async || {
            let (started, next) = (Instant::now(), Cell::new(0));
            let worker = async || {
                let mut attempts = Vec::new();
                while next.get() < self.connections {
                    let number = next.replace(next.get() + 1);
                    if let Some(rate) = self.rate {
                        let due = started + Duration::from_secs(1) / rate * number;
                        tokio::time::sleep_until(due.into()).await;
                    }
                    attempts.push(self.attempt(number).await);
                }
                attempts
            };
            let mut attempts = join_all((0..self.at_once).map(|_| worker())).await.concat();
            attempts.sort_by_key(|attempt| attempt.started);
            Ok(Report { attempts })
        })
    }

    async fn attempt(&self, number: u32) -> Attempt {
        let started = Instant::now();
        let mut local = SocketAddrV4::new(self.from, 0);
        let result = async {
            let mut line = Line::open(local, self.server, self.patience).await?;
            local = line.local();
            line.exchange(&number.to_string()).await?;
            Ok(line.server().unwrap_or_default().to_owned())
        };
        let result = result.await;
        Attempt { started, took: started.elapsed(), local, result }
    }
}

/// One connection of a burst.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub started: Instant,
    /// From the first SYN to the answer, or to the failure.
    pub took: Duration,
    /// Port 0 if it was not opened.
    pub local: SocketAddrV4,
    /// Who answered.
    pub result: Result<String, Fault>,
}

#[derive(Debug)]
pub struct Report {
    /// In order of their start.
    pub attempts: Vec<Attempt>,
}

impl Report {
    /// How many had their answer in this time.
    #[must_use]
    pub fn succeeded_within(&self, time: Duration) -> usize {
        self.attempts.iter().filter(|attempt| attempt.result.is_ok() && attempt.took <= time).count()
    }

    #[must_use]
    pub fn by_server(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for server in self.attempts.iter().filter_map(|attempt| attempt.result.as_deref().ok()) {
            *counts.entry(server).or_insert(0) += 1;
        }
        counts
    }

    pub fn failures(&self) -> impl Iterator<Item = (&Attempt, &Fault)> {
        self.attempts.iter().filter_map(|attempt| Some((attempt, attempt.result.as_ref().err()?)))
    }
}
