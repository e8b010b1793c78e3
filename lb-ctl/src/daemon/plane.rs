//! Opens the data plane and starts who works on it.

use std::path::Path;

use tokio::sync::mpsc;

use super::lock::{Busy, Lock};
use super::{Error, Options};
use crate::dataplane::bpf::{self, Bpf, Takeover};
use crate::dataplane::{self, Dataplane};
use crate::health::Prober;
use crate::neighbours::Neighbours;
use crate::reconcile::{self, Handle};

/// Changes of health that may wait for the reconciler; the prober merges what does not fit.
const EVENTS: usize = 256;

/// Takes over what is pinned or makes it, and starts the reconciler.
pub(super) async fn start(options: &Options) -> Result<Handle, Error> {
    let neighbours = Neighbours::start().await.map_err(|error| {
        Error::Failed(format!("cannot ask the kernel for routes and neighbours: {error}"))
    })?;
    let dataplane = open(options)?;
    let (events, probe_events) = mpsc::channel(EVENTS);
    let prober = Prober::start(events);
    let known = reconcile::Options { instance: options.instance.clone(), pin_dir: options.pin_dir.clone() };
    reconcile::start(dataplane, prober, probe_events, neighbours, known)
        .map_err(|error| Error::Failed(format!("cannot start: {error}")))
}

fn open(options: &Options) -> Result<Box<dyn Dataplane>, Error> {
    let place = bpf::Options { pin_dir: options.pin_dir.clone(), sizes: options.sizes };
    let (bpf, Takeover { taken_over, notes }) = Bpf::open(&place)?;
    let pin_dir = options.pin_dir.display();
    if taken_over {
        tracing::info!(%pin_dir, "took over the running data plane");
    } else {
        tracing::info!(%pin_dir, "made a new data plane");
    }
    for note in notes {
        tracing::warn!("{note}");
    }
    Ok(Box::new(bpf))
}

/// Leaves the data plane running, or removes it if that was asked for.
pub(super) async fn end(reconciler: Handle, options: &Options) -> Result<(), Error> {
    if !options.detach_on_exit {
        tracing::info!("stopped; the data plane goes on (lbctl detach would remove it)");
        return Ok(());
    }
    reconciler.detach().await.map_err(|error| Error::Failed(error.to_string()))?;
    Bpf::remove(&options.pin_dir)?;
    tracing::info!("stopped; the data plane is removed");
    Ok(())
}

/// Removes the data plane of an instance whose daemon does not run; whether there was one.
pub fn remove(state_dir: &Path, pin_dir: &Path) -> Result<bool, Error> {
    super::rights::check("lbctl detach")?;
    let _lock = Lock::take(state_dir).map_err(|busy| match busy {
        Busy::Held(holder) => Error::Failed(format!(
            "a daemon runs ({holder}) and works on this data plane\n  \
             stop it first: kill it, or systemctl stop; lbctl serve --detach-on-exit removes both at once"
        )),
        Busy::Unusable(error) => super::unusable(state_dir, &error),
    })?;
    let there = pin_dir.exists();
    Bpf::remove(pin_dir)?;
    Ok(there)
}

impl From<dataplane::Error> for Error {
    fn from(error: dataplane::Error) -> Self {
        match error {
            dataplane::Error::Setup { .. } => Self::Input(error.to_string()),
            dataplane::Error::Map { .. } | dataplane::Error::Clock(_) => Self::Failed(error.to_string()),
        }
    }
}
