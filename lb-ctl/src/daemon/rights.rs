//! Whether this process may do what a daemon does.

use std::fs;

use super::Error;

/// A capability (capabilities(7), linux/capability.h): the bits of `CapEff` any of which will do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right(&'static str, &'static [u32]);

/// `CAP_SYS_ADMIN` stands for the two that were split off from it in Linux 5.8.
const SYS_ADMIN: u32 = 21;
const BPF: Right = Right("CAP_BPF", &[39, SYS_ADMIN]);
const NET_ADMIN: Right = Right("CAP_NET_ADMIN", &[12]);
const NET_RAW: Right = Right("CAP_NET_RAW", &[13]);
const PERFMON: Right = Right("CAP_PERFMON", &[38, SYS_ADMIN]);

/// To load programs, to attach them, and to ask and tell links about frontends.
pub(super) const SERVE: &[Right] = &[BPF, NET_ADMIN, NET_RAW, PERFMON];
/// To take programs off.
pub(super) const DETACH: &[Right] = &[BPF, NET_ADMIN, PERFMON];

/// Refuses to go on without these rights.
pub(super) fn check(verb: &str, wanted: &[Right]) -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Error::Failed(format!("cannot read /proc/self/status: {error}\n  mount /proc")))?;
    let missing = effective(&status)
        .map_or_else(|| vec!["CapEff in /proc/self/status"], |effective| missing(effective, wanted));
    if missing.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = wanted.iter().map(|right| right.0).collect();
    Err(Error::Input(format!(
        "{verb} may not work on XDP programs here: missing {}\n  \
         run it as root, or give it {} (systemd: AmbientCapabilities=)",
        missing.join(", "),
        all.join(", ")
    )))
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64, wanted: &[Right]) -> Vec<&'static str> {
    let has = |Right(_, bits): &&Right| bits.iter().any(|bit| effective >> bit & 1 == 1);
    wanted.iter().filter(|right| !has(right)).map(|right| right.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let root = "Name:\tlbctl\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective(root).map(|all| missing(all, SERVE)), Some(vec![]));
        assert_eq!(missing(0, SERVE), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"]);
        assert_eq!(missing(0, DETACH), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(1 << SYS_ADMIN, DETACH), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(1 << 39 | 1 << 12, SERVE), ["CAP_NET_RAW", "CAP_PERFMON"]);
        assert_eq!(effective("Name:\tlbctl\n"), None);
    }
}
