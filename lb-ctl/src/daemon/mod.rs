//! `lbctl serve`: ties reconciler, probes, neighbours and API together, and keeps the configuration.

mod applier;
mod lock;
mod notify;
mod plane;
mod rights;
mod socket;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::server::{self, Limits};
use crate::config::{self, Source};

use applier::Applier;
use lock::{Busy, Lock};
use store::Store;

pub use crate::dataplane::Limits as Sizes;
pub use plane::remove;

/// What a daemon is told at its start.
#[derive(Debug, Clone)]
pub struct Options {
    pub instance: String,
    pub socket: PathBuf,
    pub state_dir: PathBuf,
    pub pin_dir: PathBuf,
    /// Puts this into force instead of what was applied last.
    pub configuration: Option<Vec<Source>>,
    pub sizes: Sizes,
    pub detach_on_exit: bool,
}

/// Why there is no daemon, or none any more; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be had here: the configuration, the rights, the host.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Configuration(#[from] config::Errors),
    /// It should have worked.
    #[error("{0}")]
    Failed(String),
}

/// Runs a daemon until it is asked to stop. The data plane goes on after it, unless
/// [`Options::detach_on_exit`].
pub async fn run(options: Options) -> Result<(), Error> {
    // Sockets, files and pins are root's alone from their first moment on.
    umask(Mode::from_bits_truncate(0o077));
    rights::check("lbctl serve", rights::SERVE)?;
    let mut stop = StopSignals::listen()?;
    let _lock = Lock::take(&options.state_dir).map_err(|busy| no_lock(&options, busy))?;
    let store = Store::in_folder(&options.state_dir);
    let wanted = applier::wanted(options.configuration.as_deref(), &store)?;
    let (listener, place) = socket::bind(&options.socket)?;
    let plane = plane::start(&options).await?;
    let applier = Arc::new(Applier::new(&options.instance, plane.reconciler.clone(), store));
    if let Err(error) = applier.begin_with(wanted).await {
        plane::give_up(plane, &options).await;
        return Err(error);
    }
    tracing::info!(instance = options.instance, socket = %options.socket.display(), "ready");
    notify::tell("READY=1");
    server::serve(listener, Arc::clone(&applier), Limits::default(), stop.wait()).await;
    notify::tell("STOPPING=1");
    drop(place);
    applier.finish().await;
    plane::end(plane, &options).await
}

fn no_lock(options: &Options, busy: Busy) -> Error {
    match busy {
        Busy::Held(holder) => Error::Input(format!(
            "instance {} has a daemon already ({holder}, which holds {})\n  \
             stop that one first, or start this one as another instance: --instance NAME",
            options.instance,
            options.state_dir.display()
        )),
        Busy::Unusable(error) => unusable(&options.state_dir, &error),
    }
}

fn unusable(state_dir: &Path, error: &io::Error) -> Error {
    Error::Input(format!(
        "cannot use {} as state directory: {error}\n  make it writable, or name another with --state-dir",
        state_dir.display()
    ))
}

/// SIGTERM and SIGINT.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::Failed(format!("cannot listen to signals: {error}\n  try again")))
        };
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: stopping");
    }
}
