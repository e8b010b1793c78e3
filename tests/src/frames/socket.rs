//! Packet sockets (packet(7)).

use std::{
    io, mem,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::{
    errno::Errno,
    net::if_::if_nametoindex,
    sys::{
        socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socket, sockopt},
        time::TimeVal,
    },
};

use crate::lab::NetNs;

/// Room for what arrives while the reader is not scheduled.
const RECEIVE_BUFFER: usize = 64 << 20;

pub(super) struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket that only sends: it asks for no protocol.
    pub(super) fn sending(netns: &NetNs, interface: &str) -> Result<Self> {
        Self::open(netns, interface, 0)
    }

    /// A socket that receives what `interface` receives, each frame behind a [`super::capture::VNET_HEADER_LEN`] header.
    pub(super) fn receiving(netns: &NetNs, interface: &str, ethertype: u16) -> Result<Self> {
        let socket = Self::open(netns, interface, ethertype)?;
        socket.switch_on(libc::PACKET_VNET_HDR)?;
        socket.switch_on(libc::PACKET_IGNORE_OUTGOING)?;
        setsockopt(&socket.0, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        setsockopt(&socket.0, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000))?;
        Ok(socket)
    }

    /// Opened without a protocol, which binding then sets: so no frame of another interface slips in.
    fn open(netns: &NetNs, interface: &str, protocol: u16) -> Result<Self> {
        netns
            .run(|| {
                let socket =
                    Self(socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?);
                socket.bind(if_nametoindex(interface)?, protocol)?;
                Ok(socket)
            })
            .with_context(|| format!("open a packet socket on {interface} in {}", netns.name()))
    }

    fn bind(&self, interface: u32, protocol: u16) -> Result<()> {
        // SAFETY: sockaddr_ll consists of integers only.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET)?;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = interface.try_into()?;
        let len = libc::socklen_t::try_from(size_of_val(&address))?;
        // SAFETY: the address lives on this stack frame and len is its size.
        Errno::result(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), len) })?;
        Ok(())
    }

    fn switch_on(&self, option: libc::c_int) -> Result<()> {
        let on: libc::c_int = 1;
        let len = libc::socklen_t::try_from(size_of_val(&on))?;
        // SAFETY: the value is a C int on this stack frame and len is its size.
        Errno::result(unsafe {
            libc::setsockopt(self.0.as_raw_fd(), libc::SOL_PACKET, option, (&raw const on).cast(), len)
        })?;
        Ok(())
    }

    /// Frames that the kernel had no room for since the last call.
    pub(super) fn lost(&self) -> Result<u32> {
        // struct tpacket_stats: received, dropped.
        let mut stats = [0_u32; 2];
        let mut len = libc::socklen_t::try_from(size_of_val(&stats))?;
        // SAFETY: the kernel writes at most len bytes, the size of the array.
        Errno::result(unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                stats.as_mut_ptr().cast(),
                &raw mut len,
            )
        })?;
        Ok(stats[1])
    }

    /// Waits while the device refuses.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::ENOBUFS | Errno::EINTR) => std::thread::sleep(Duration::from_micros(100)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// `None` when nothing came for a while.
    pub(super) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
            Ok(len) => Ok(Some(&buffer[..len])),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
