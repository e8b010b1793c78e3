//! Ctrl-C and SIGTERM end the demonstration in order: the lab is taken down on the way out.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{SigSet, Signal};

static WANTED: AtomicBool = AtomicBool::new(false);

/// Has the signals noted instead of killing the process. To be called before any thread starts:
/// threads inherit the mask.
pub fn stop_on_signals() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("block signals")?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while signals.wait().is_ok() {
            WANTED.store(true, Relaxed);
        }
    })?;
    Ok(())
}

/// Whether somebody asked for the end.
#[must_use]
pub(super) fn wanted() -> bool {
    WANTED.load(Relaxed)
}

/// An error if somebody asked for the end.
pub(super) fn check() -> Result<()> {
    ensure!(!wanted(), "interrupted");
    Ok(())
}
