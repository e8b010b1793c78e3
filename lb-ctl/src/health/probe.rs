//! One probe of one member.
//!
//! Every wait, for the handshake, each byte of an answer and the close, ends at one deadline, and
//! what a probe reads is bounded, so that no member can hold a probe for longer or make it large.
//!
//! Local ports: no source address is bound, so the kernel picks a port when it connects, for this
//! destination alone; a port in use towards one member is free towards every other, and
//! `IP_BIND_ADDRESS_NO_PORT` has nothing to do. The side that closes first keeps the pair of ports
//! in `TIME_WAIT` for a minute. HTTP members are asked to close first (`Connection: close`). TCP
//! probes close first by nature; a probe each second holds some 60 of the 28,000 ports (as long as
//! `ip_local_port_range` has its default) towards its member.

mod http;
mod tcp;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::ProbeKey;
use super::outcome::{LocalFailure, Outcome};
use crate::config::model::Check;

/// How long a member may take to close its side once the probe has its result.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// What is read and thrown away after the result, at most.
const DRAIN_LIMIT: usize = 256 * 1024;

/// A timer that fires this late says that the prober was held up, not that the member is silent.
const HELD_UP: Duration = Duration::from_millis(250);

/// A result and the connection that it came by.
#[derive(Debug)]
pub struct Probed {
    pub outcome: Outcome,
    /// Still to be closed in order.
    pub closing: Option<Closing>,
}

/// A connection whose result is known, and which the member is to close first.
#[derive(Debug)]
pub struct Closing(TcpStream);

/// Probes a member once.
pub async fn run(key: &ProbeKey) -> Probed {
    let address = SocketAddr::new(key.address, key.port);
    let budget = Budget::starting_now(key.time_limit());
    match &key.check {
        Check::Tcp => tcp::probe(address, budget).await.into(),
        Check::Http { path } => http::probe(address, path, budget).await,
    }
}

/// The time that a probe may take.
#[derive(Clone, Copy)]
struct Budget {
    limit: Duration,
    deadline: Instant,
}

impl Budget {
    fn starting_now(limit: Duration) -> Self {
        Self { limit, deadline: Instant::now() + limit }
    }

    /// Waits for `work` until the time is over.
    async fn wait<T, E: Into<Outcome>>(self, work: impl Future<Output = Result<T, E>>) -> Result<T, Outcome> {
        match timeout_at(self.deadline, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_elapsed) => Err(self.overdrawn(self.deadline.elapsed())),
        }
    }

    fn overdrawn(self, late: Duration) -> Outcome {
        if late < HELD_UP {
            Outcome::TimedOut(self.limit)
        } else {
            Outcome::LocalFailure(LocalFailure::HeldUp(late))
        }
    }
}

impl Closing {
    /// Waits a short while for the member to close first, so that the close is orderly (no unread
    /// bytes, which would make it a reset) and `TIME_WAIT` is on its side.
    pub async fn finish(self) {
        let Self(mut stream) = self;
        // Whatever happens now comes after the result and does not change it.
        let _ = timeout(CLOSE_GRACE, drain(&mut stream)).await;
    }
}

/// Reads until the member closes, or until it has sent more than anyone reads.
async fn drain(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = [0; 2048];
    let mut left = DRAIN_LIMIT;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

impl From<Outcome> for Probed {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, closing: None }
    }
}
