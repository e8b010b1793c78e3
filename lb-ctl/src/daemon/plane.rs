//! Opens the data plane and starts who works on it.

use std::path::Path;

use tokio::sync::mpsc;

use super::lock::{Busy, Lock};
use super::{Error, Options, rights};
use crate::announce::{self, Announcer};
use crate::dataplane;
use crate::dataplane::bpf::{self, Bpf, Takeover};
use crate::health::Prober;
use crate::neighbours::Neighbours;
use crate::reconcile::{self, Handle};

/// Changes of health that may wait for the reconciler; the prober merges what does not fit.
const EVENTS: usize = 256;

/// A data plane that this daemon works on.
pub(super) struct Plane {
    pub(super) reconciler: Handle,
    /// It was there before this daemon.
    taken_over: bool,
    /// No other daemon works on it.
    _alone: Lock,
}

/// Takes over what is pinned or makes it, and starts the reconciler.
pub(super) async fn start(options: &Options) -> Result<Plane, Error> {
    let neighbours = Neighbours::start().await.map_err(|error| {
        Error::Failed(format!(
            "cannot ask the kernel for routes and neighbours: {error}\n  see dmesg, then try again"
        ))
    })?;
    let announcer = Announcer::start().map_err(|error| {
        Error::Failed(format!("cannot tell links where frontends are: {error}\n  see dmesg, then try again"))
    })?;
    let (bpf, taken_over, alone) = open(options)?;
    let (events, probe_events) = mpsc::channel(EVENTS);
    let prober = Prober::start(events);
    let known = reconcile::Options { instance: options.instance.clone(), pin_dir: options.pin_dir.clone() };
    let reconciler = reconcile::start(Box::new(bpf), prober, probe_events, neighbours, announcer, known)
        .map_err(|error| Error::Failed(format!("cannot start: {error}\n  try again")))?;
    Ok(Plane { reconciler, taken_over, _alone: alone })
}

fn open(options: &Options) -> Result<(Bpf, bool, Lock), Error> {
    let pin_dir = &options.pin_dir;
    // Opening may replace a folder that an interrupted start left, and its lock with it.
    drop(alone_if_there(pin_dir)?);
    let place = bpf::Options { pin_dir: pin_dir.clone(), sizes: options.sizes };
    let (bpf, Takeover { taken_over, notes }) = Bpf::open(&place)?;
    let alone = alone(pin_dir)?;
    let pin_dir = pin_dir.display();
    if taken_over {
        tracing::info!(%pin_dir, "took over the running data plane");
    } else {
        tracing::info!(%pin_dir, "made a new data plane");
    }
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok((bpf, taken_over, alone))
}

fn alone_if_there(pin_dir: &Path) -> Result<Option<Lock>, Error> {
    if pin_dir.exists() { alone(pin_dir).map(Some) } else { Ok(None) }
}

fn alone(pin_dir: &Path) -> Result<Lock, Error> {
    let place = pin_dir.display();
    match Lock::of_pins(pin_dir) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Error::Input(format!(
            "a daemon with another state directory works on the data plane at {place}\n  \
             stop that one first, or name another instance (--instance) or place (--pin-dir)"
        ))),
        Err(error) => {
            Err(Error::Input(format!("cannot lock {place}: {error}\n  name another place with --pin-dir")))
        }
    }
}

/// Leaves the data plane running, or removes it if that was asked for.
pub(super) async fn end(plane: Plane, options: &Options) -> Result<(), Error> {
    if !options.detach_on_exit {
        tracing::info!("stopped; the data plane goes on (lbctl detach would remove it)");
        return Ok(());
    }
    take_away(&plane, options).await?;
    tracing::info!("stopped; the data plane is removed");
    Ok(())
}

/// After a start that failed: what it made goes, what was there before goes on.
pub(super) async fn give_up(plane: Plane, options: &Options) {
    if plane.taken_over {
        return;
    }
    if let Err(error) = take_away(&plane, options).await {
        tracing::warn!(%error, "what the failed start made stays; `lbctl detach` removes it");
    }
}

async fn take_away(plane: &Plane, options: &Options) -> Result<(), Error> {
    plane.reconciler.detach().await.map_err(|error| Error::Failed(error.to_string()))?;
    take_apart(&options.pin_dir).await
}

/// Removes maps, program, links, and the memberships that the maps account for.
async fn take_apart(pin_dir: &Path) -> Result<(), Error> {
    let announced = Bpf::announced6(pin_dir);
    Bpf::remove(pin_dir)?;
    if !announced.is_empty() {
        announce::leave(&announced).await.map_err(|error| {
            Error::Failed(format!("{error}\n  all else is removed; `ip -6 neigh show proxy` lists them"))
        })?;
    }
    Ok(())
}

/// Removes the data plane of an instance whose daemon does not run; whether there was one.
pub fn remove(state_dir: &Path, pin_dir: &Path) -> Result<bool, Error> {
    rights::check("lbctl detach", rights::DETACH)?;
    let _lock = Lock::take(state_dir).map_err(|busy| match busy {
        Busy::Held(holder) => Error::Failed(format!(
            "a daemon runs ({holder}) and works on this data plane\n  \
             stop it first: kill it, or systemctl stop; lbctl serve --detach-on-exit removes both at once"
        )),
        Busy::Unusable(error) => super::unusable(state_dir, &error),
    })?;
    let there = alone_if_there(pin_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Failed(format!("cannot start: {error}\n  try again")))?;
    runtime.block_on(take_apart(pin_dir))?;
    Ok(there.is_some())
}

impl From<dataplane::Error> for Error {
    fn from(error: dataplane::Error) -> Self {
        match error {
            dataplane::Error::Setup { .. } => Self::Input(error.to_string()),
            dataplane::Error::Map { .. } | dataplane::Error::Clock(_) => Self::Failed(error.to_string()),
        }
    }
}
