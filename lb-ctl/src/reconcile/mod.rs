//! The only writer of maps. Everybody else sends it messages through a [`Handle`].

mod announce;
mod changes;
mod core;
mod desk;
mod flows;
mod frontends;
mod host;
mod nat;
mod network;
mod rates;
mod routes;
mod status;
mod tracks;

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};

use crate::announce::Announcer;
use crate::api::types::{Applied, Nat, Status};
use crate::config::model::Config;
use crate::dataplane::Dataplane;
use crate::health::{Event as ProbeEvent, Prober};
use crate::neighbours::Neighbours;

use self::core::Core;
use desk::Desk;

/// What a reconciler needs to be told once.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the instance, for status.
    pub instance: String,
    /// Where pins are, for messages.
    pub pin_dir: PathBuf,
}

/// Why a configuration is not in force.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It cannot be put into force here; nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// A step failed and was undone; the old configuration is in force.
    #[error("{0}")]
    Failed(String),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Sends messages to the reconciler.
#[derive(Debug, Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Apply(Box<Config>, oneshot::Sender<Result<Applied, ApplyError>>),
    Status(oneshot::Sender<Status>),
    Nat(oneshot::Sender<Nat>),
    Detach(oneshot::Sender<Result<(), ApplyError>>),
}

impl Handle {
    /// Puts a configuration into force, and returns once packets see it.
    pub async fn apply(&self, config: Config) -> Result<Applied, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.messages
            .send(Message::Apply(Box::new(config), reply))
            .await
            .map_err(|_| ApplyError::Stopping)?;
        answer.await.map_err(|_| ApplyError::Stopping)?
    }

    /// What there is and how it does.
    pub async fn status(&self) -> Result<Status, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Status(reply)).await.map_err(|_| ApplyError::Stopping)?;
        answer.await.map_err(|_| ApplyError::Stopping)
    }

    /// Which port of each NAT rule is whose.
    pub async fn nat(&self) -> Result<Nat, ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Nat(reply)).await.map_err(|_| ApplyError::Stopping)?;
        answer.await.map_err(|_| ApplyError::Stopping)
    }

    /// Takes the program off all interfaces; the maps stay.
    pub async fn detach(&self) -> Result<(), ApplyError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Detach(reply)).await.map_err(|_| ApplyError::Stopping)?;
        answer.await.map_err(|_| ApplyError::Stopping)?
    }
}

/// Starts the reconciler on a thread of its own: writing maps blocks. It ends, and leaves the
/// data plane as it is, when the last handle is gone.
pub fn start(
    dataplane: Box<dyn Dataplane>,
    prober: Prober,
    probe_events: mpsc::Receiver<ProbeEvent>,
    neighbours: Neighbours,
    announcer: Announcer,
    options: Options,
) -> Result<Handle, StartError> {
    let core = Core::new(dataplane)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (messages, inbox) = mpsc::channel(64);
    let desk = Desk::new(core, prober, neighbours, announcer, options);
    std::thread::Builder::new()
        .name("reconcile".to_owned())
        .spawn(move || runtime.block_on(desk.run(inbox, probe_events)))?;
    Ok(Handle { messages })
}

/// Why there is no reconciler.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("reading what the maps hold: {0}")]
    Dataplane(#[from] crate::dataplane::Error),
    #[error("starting a thread: {0}")]
    Thread(#[from] std::io::Error),
}
