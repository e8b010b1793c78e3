//! The TCP probe: a handshake and an orderly close (S-PRB-9).

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{Budget, CLOSE_GRACE, drain};
use crate::health::outcome::Outcome;

pub(super) async fn probe(address: SocketAddr, budget: Budget) -> Outcome {
    match connect_and_close(address, budget).await {
        Ok(()) => Outcome::Connected,
        Err(outcome) => outcome,
    }
}

/// Connects, says FIN, and waits a short while for the member's FIN. A reset before it is a
/// failure (S-PRB-16); a member that does not close is healthy all the same.
async fn connect_and_close(address: SocketAddr, budget: Budget) -> Result<(), Outcome> {
    let mut stream = budget.wait(TcpStream::connect(address)).await?;
    stream.shutdown().await?;
    let patience = budget.deadline.min(Instant::now() + CLOSE_GRACE);
    let closed = timeout_at(patience, drain(&mut stream)).await;
    closed.unwrap_or(Ok(())).map_err(Outcome::from)
}
