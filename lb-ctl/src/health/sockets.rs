//! How many sockets probes may hold at one time.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are left to the rest of the daemon: maps, links, API clients, netlink.
const RESERVED: u64 = 512;

/// More than that is not of use: 8,192 probes in flight.
const MOST: u64 = 8_192;

/// If the limit cannot be read, what the smallest usual limit (1,024) leaves.
const FALLBACK: u64 = 1_024;

/// Raises this process's limit of open files to what it may have, and returns the number of
/// sockets that this leaves to probes.
pub(super) fn allowance() -> usize {
    let files = raise_limit().unwrap_or_else(|error| {
        tracing::warn!(
            error = error.desc(),
            "cannot raise the limit of open files; probes may wait for a free socket"
        );
        getrlimit(Resource::RLIMIT_NOFILE).map_or(FALLBACK, |(soft, _hard)| soft)
    });
    let sockets = files.saturating_sub(RESERVED).clamp(1, MOST);
    usize::try_from(sockets).unwrap_or(usize::MAX)
}

fn raise_limit() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}
