//! Whether this process may do what a daemon does.

use std::fs;

use super::Error;

/// Bits of `CapEff` (capabilities(7), linux/capability.h).
const NET_ADMIN: u32 = 12;
const NET_RAW: u32 = 13;
const SYS_ADMIN: u32 = 21;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// Refuses to go on without the rights to load programs and to attach them.
pub(super) fn check(verb: &str) -> Result<(), Error> {
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| Error::Failed(format!("cannot read /proc/self/status: {error}\n  mount /proc")))?;
    let missing = effective(&status).map_or_else(|| vec!["CapEff in /proc/self/status"], missing);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{verb} may not work on XDP programs here: missing {}\n  \
         run it as root, or give it CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW and CAP_PERFMON (systemd: AmbientCapabilities=)",
        missing.join(", ")
    )))
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    // CAP_SYS_ADMIN stands for the two that were split off from it in Linux 5.8.
    let wanted = [
        (has(BPF) || has(SYS_ADMIN), "CAP_BPF"),
        (has(NET_ADMIN), "CAP_NET_ADMIN"),
        (has(NET_RAW), "CAP_NET_RAW"),
        (has(PERFMON) || has(SYS_ADMIN), "CAP_PERFMON"),
    ];
    wanted.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let root = "Name:\tlbctl\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n";
        assert_eq!(effective(root).map(missing), Some(vec![]));
        assert_eq!(missing(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"]);
        assert_eq!(missing(1 << SYS_ADMIN | 1 << NET_RAW), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(1 << BPF | 1 << NET_ADMIN | 1 << NET_RAW), ["CAP_PERFMON"]);
        assert_eq!(effective("Name:\tlbctl\n"), None);
    }
}
