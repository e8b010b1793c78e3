//! Packet sockets (packet(7)) for all links: one hears ARP, one neighbour discovery. Neither sees what we
//! send, nor any other packet.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind, recvfrom, sendto, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Error;

pub(super) const ETH_P_ARP: u16 = 0x0806;
pub(super) const ETH_P_IPV6: u16 = 0x86dd;

/// Bytes of a frame that are looked at.
const LONGEST: usize = 1514;

pub(super) struct PacketSocket(AsyncFd<OwnedFd>);

impl PacketSocket {
    pub(super) fn open(protocol: u16) -> Result<Self, Error> {
        let failed = |doing| move |error: Errno| Error { doing, source: error.into() };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol, so that no frame comes before the filter is there; binding sets it.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None);
        let socket = socket.map_err(failed("open a packet socket"))?;
        if protocol == ETH_P_IPV6 {
            neighbour_discovery_only(&socket).map_err(failed("filter a packet socket"))?;
        }
        bind(socket.as_raw_fd(), &link(0, protocol)).map_err(failed("bind a packet socket"))?;
        // SAFETY: an `OwnedFd` has one open descriptor from its making to its end, and always tells that one.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        let failed = |source| Error { doing: "wait for a packet socket", source };
        Ok(Self(socket.map_err(|error| failed(error.into()))?))
    }

    /// The next frame, and the interface that it came by. Can be cancelled at any time.
    pub(super) async fn receive(&self) -> io::Result<(u32, Vec<u8>)> {
        let mut frame = vec![0; LONGEST];
        let received = self
            .0
            .async_io(Interest::READABLE, |socket| Ok(recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame)?));
        let (length, from) = received.await?;
        frame.truncate(length);
        let ifindex = from.and_then(|from| u32::try_from(from.ifindex()).ok());
        Ok((ifindex.unwrap_or(0), frame))
    }

    /// Sends without waiting: a link that takes nothing now has nobody to hear it.
    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), frame, &link(ifindex, 0), MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn link(ifindex: u32, protocol: u16) -> LinkAddr {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET.unsigned_abs().try_into().unwrap_or(0),
        sll_protocol: protocol.to_be(),
        sll_ifindex: ifindex.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).ok();
    // SAFETY: `address` lives on this stack frame, is a whole `sockaddr_ll`, and is copied.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), length) };
    address.unwrap_or_else(|| unreachable!("its family is AF_PACKET"))
}

/// Of all that comes by IPv6 only solicitations and advertisements are copied to us.
fn neighbour_discovery_only(socket: &OwnedFd) -> nix::Result<()> {
    // linux/bpf_common.h: BPF_LD | BPF_B | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K.
    const LOAD_BYTE: u16 = 0x30;
    const IF_EQUAL: u16 = 0x15;
    const ANSWER: u16 = 0x06;
    let code = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        code(LOAD_BYTE, 0, 0, 20),
        code(IF_EQUAL, 0, 4, 58),
        code(LOAD_BYTE, 0, 0, 54),
        code(IF_EQUAL, 1, 0, 135),
        code(IF_EQUAL, 0, 1, 136),
        code(ANSWER, 0, 0, 0xffff),
        code(ANSWER, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: 7, filter: program.as_mut_ptr() };
    let length = libc::socklen_t::try_from(size_of_val(&program)).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the program and its seven instructions live on this stack frame, and the kernel copies both.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length,
        )
    })?;
    Ok(())
}
