//! The real data plane against the kernel: what it holds, what outlives it, and how fast it is.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod agreement;
mod links;
mod speed;
mod takeover;

use std::path::{Path, PathBuf};
use std::process;

use lb_ctl::dataplane::Limits;
use lb_ctl::dataplane::bpf::{Bpf, Options, Takeover};

/// Room enough for tests, and quick to make.
const SMALL: Limits = Limits {
    slots: 1 << 12,
    health_words: 64,
    rules: 64,
    confirmed: 1 << 12,
    pending: 1 << 12,
    access: 64,
    tracked: 1 << 12,
};

/// A pin folder of one test, removed with everything in it.
struct PinDir(PathBuf);

impl PinDir {
    fn new(test: &str) -> Self {
        Self(format!("/sys/fs/bpf/lbt-test-{}/{test}", process::id()).into())
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn open(&self) -> (Bpf, Takeover) {
        self.open_with(SMALL).unwrap()
    }

    fn open_with(&self, sizes: Limits) -> Result<(Bpf, Takeover), lb_ctl::dataplane::Error> {
        Bpf::open(&Options { pin_dir: self.0.clone(), sizes })
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if let Err(error) = Bpf::remove(&self.0) {
            eprintln!("{error}");
        }
        // Another test of this process may still use the folder above; the last one removes it.
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}
