//! The few ioctls that a lab needs, so that it needs no ethtool.

use std::{collections::BTreeMap, mem, net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;

use super::NetNs;

// linux/ethtool.h
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETH_SS_STATS: u32 = 1;
const ETH_GSTRING_LEN: usize = 32;

/// Transmit checksum offload; segmentation offload goes off with it.
pub(super) fn set_tx_checksums(interface: &str, on: bool) -> Result<()> {
    let mut request = [ETHTOOL_STXCSUM, on.into()];
    ethtool(interface, &mut request).with_context(|| format!("set transmit checksum offload of {interface}"))
}

/// Generic receive offload, and with it receive polling (NAPI) of a veth.
pub(super) fn set_gro(interface: &str, on: bool) -> Result<()> {
    let mut request = [ETHTOOL_SGRO, on.into()];
    ethtool(interface, &mut request).with_context(|| format!("set generic receive offload of {interface}"))
}

/// Up, and the other end too.
pub(super) fn is_running(interface: &str) -> Result<bool> {
    let mut request = request(interface)?;
    ioctl(libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: after SIOCGIFFLAGS the flags are the member of the union that the kernel wrote.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    Ok(i32::from(flags) & libc::IFF_RUNNING != 0)
}

/// Driver statistics of an interface by name, for example `rx_queue_0_xdp_redirect`.
pub fn statistics(netns: &NetNs, interface: &str) -> Result<BTreeMap<String, u64>> {
    netns
        .run(|| statistics_here(interface))
        .with_context(|| format!("read statistics of {interface} in {}", netns.name()))
}

/// The same in the namespace of the calling thread.
pub(crate) fn statistics_here(interface: &str) -> Result<BTreeMap<String, u64>> {
    // Command, reserved, mask of sets (64 bits), count.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_STATS, 0, 0];
    ethtool(interface, &mut info)?;
    let count = info[4];
    let len = usize::try_from(count)?;

    let mut names = vec![0_u32; 3 + len * ETH_GSTRING_LEN / 4];
    names[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_STATS, count]);
    ethtool(interface, &mut names)?;
    let mut values = vec![0_u32; 2 + 2 * len];
    values[..2].copy_from_slice(&[ETHTOOL_GSTATS, count]);
    ethtool(interface, &mut values)?;
    ensure!(names[2] == count && values[1] == count, "the number of statistics changed between two calls");

    let names = names[3..].chunks_exact(ETH_GSTRING_LEN / 4).map(|words| {
        let bytes: Vec<u8> =
            words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let values = values[2..].chunks_exact(2).map(|half| {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&half[0].to_ne_bytes());
        bytes[4..].copy_from_slice(&half[1].to_ne_bytes());
        u64::from_ne_bytes(bytes)
    });
    Ok(names.zip(values).collect())
}

/// One SIOCETHTOOL call; `data` starts with the command and is as long as that command asks.
fn ethtool(interface: &str, data: &mut [u32]) -> Result<()> {
    let mut request = request(interface)?;
    request.ifr_ifru.ifru_data = data.as_mut_ptr().cast();
    ioctl(libc::SIOCETHTOOL, &mut request)
}

fn request(interface: &str) -> Result<libc::ifreq> {
    // SAFETY: ifreq is a name and a union of numbers and pointers; all zeros is a valid value of each.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    ensure!(interface.len() < request.ifr_name.len(), "interface name {interface} is too long");
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn ioctl(code: libc::c_ulong, request: &mut libc::ifreq) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: the request outlives the call, and where it points to data, that was sized by the caller
    // for the command in its first word. SIOC* codes fit the type that the C library's ioctl takes.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), code as _, &raw mut *request) })?;
    Ok(())
}
