//! What the running kernel can do, and our right to ask it.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::shell;

/// The oldest kernel on which the program is known to load.
pub(crate) const OLDEST: (u32, u32) = (6, 1);

const BPFFS: &str = "/sys/fs/bpf";

/// Options without which something fails later and less clearly.
pub(crate) const OPTIONS: [(&str, &str); 4] = [
    ("CONFIG_BPF_SYSCALL", "loads programs and maps"),
    ("CONFIG_DEBUG_INFO_BTF", "describes the kernel's types to the loader"),
    ("CONFIG_NET_NS", "lets the lab have hosts of its own"),
    ("CONFIG_VETH", "wires the lab's hosts"),
];

/// Linux capabilities by number, see capability.h.
pub(crate) const CAPABILITIES: [(u32, &str); 4] =
    [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// `6.18.44-cloud`
    pub(crate) release: String,
    pub(crate) version: Option<(u32, u32)>,
    /// Those of [`OPTIONS`] that its configuration says are off; none when it cannot be read.
    pub(crate) lacks: Vec<(&'static str, &'static str)>,
    pub(crate) btf: bool,
    pub(crate) bpffs: bool,
    /// Those of [`CAPABILITIES`] that this process does not have.
    pub(crate) lacks_capabilities: Vec<&'static str>,
}

pub(crate) fn observe() -> Result<Kernel> {
    let release = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
    let config = config(&release).unwrap_or_default();
    Ok(Kernel {
        version: version(&release),
        lacks: lacks(&config),
        btf: Path::new("/sys/kernel/btf/vmlinux").is_file(),
        bpffs: is_bpffs(&read("/proc/self/mounts")?),
        lacks_capabilities: lacks_capabilities(&read("/proc/self/status")?),
        release,
    })
}

/// Gives pinned maps their file system.
pub(crate) fn mount_bpffs() -> Result<()> {
    let mut mount = Command::new("mount");
    mount.args(["-t", "bpf", "bpf", BPFFS]);
    shell::capture(&mut mount)?;
    println!("mounted a bpf file system at {BPFFS}, for pinned maps");
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path}"))
}

/// The kernel's build configuration, where it is kept.
fn config(release: &str) -> Option<String> {
    let unpacked = Command::new("gzip").args(["-dc", "/proc/config.gz"]).output();
    match unpacked {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(_) | Err(_) => fs::read_to_string(format!("/boot/config-{release}")).ok(),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn lacks(config: &str) -> Vec<(&'static str, &'static str)> {
    let on = |option: &str| {
        config
            .lines()
            .any(|line| line.strip_prefix(option).is_some_and(|value| value == "=y" || value == "=m"))
    };
    OPTIONS.into_iter().filter(|(option, _)| !config.is_empty() && !on(option)).collect()
}

fn is_bpffs(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(BPFFS) && words.next() == Some("bpf")
    })
}

fn lacks_capabilities(status: &str) -> Vec<&'static str> {
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    CAPABILITIES
        .into_iter()
        .filter(|(number, _)| effective & (1 << number) == 0)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_all_kinds_have_a_version() {
        assert_eq!(version("6.18.44-fc-v657"), Some((6, 18)));
        assert_eq!(version("7.0-rc3"), Some((7, 0)));
        assert_eq!(version("strange"), None);
    }

    #[test]
    fn an_option_may_be_a_module_but_not_off() {
        let config =
            "CONFIG_BPF_SYSCALL=y\nCONFIG_DEBUG_INFO_BTF=y\n# CONFIG_NET_NS is not set\nCONFIG_VETH=m\n";
        assert_eq!(lacks(config), vec![OPTIONS[2]]);
    }

    #[test]
    fn a_configuration_that_is_kept_nowhere_accuses_nobody() {
        assert!(lacks("").is_empty());
    }

    #[test]
    fn bpffs_is_told_from_an_empty_folder() {
        assert!(is_bpffs("bpf /sys/fs/bpf bpf rw,nosuid 0 0\n"));
        assert!(!is_bpffs("sysfs /sys sysfs rw 0 0\n"));
        assert!(!is_bpffs("tmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }

    #[test]
    fn capabilities_come_from_the_effective_mask() {
        assert!(lacks_capabilities("CapEff:\t000001ffffffffff\n").is_empty());
        assert_eq!(lacks_capabilities("CapEff:\t0000000000201000\n"), vec!["CAP_PERFMON", "CAP_BPF"]);
    }
}
