//! One client: a connection after the other, each to its end.

use std::{
    net::SocketAddrV4,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use fastrand::Rng;
use tokio::sync::watch;

use super::{
    super::{Fault, line::Line},
    Behaviour, Break, Load, Log, Opened,
};

/// Exchanges, or lines of a download, before a connection that ends by plan does so.
const EXCHANGES: std::ops::Range<u32> = 3..30;

/// One of the connections, over all its lives.
pub(super) struct Client {
    pub(super) id: usize,
    pub(super) behaviour: Behaviour,
    pub(super) load: Arc<Load>,
    pub(super) log: Arc<Mutex<Log>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) rng: Rng,
}

impl Client {
    pub(super) async fn run(mut self) {
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
