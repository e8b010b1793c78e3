//! Announcements of the kernel.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkBuffer;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use tracing::debug;

use super::{DATAGRAM, Error, decode_message, messages, open_socket};
use crate::neighbours::decode;
use crate::neighbours::table::{Fact, PerFamily};

/// Room for some 30,000 announcements; the default holds a few hundred.
const ANNOUNCEMENTS: usize = 16 * 1024 * 1024;

/// Listens to announcements.
pub(in crate::neighbours) struct Events {
    socket: TokioSocket,
    buffer: Vec<u8>,
    overflown: bool,
}

/// What was announced.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "a set of things to ask again")]
pub(in crate::neighbours) struct News {
    pub(in crate::neighbours) facts: Vec<Fact>,
    /// Routes, rules or next-hop objects changed.
    pub(in crate::neighbours) routes: bool,
    /// Among them connected or default routes.
    pub(in crate::neighbours) interface_routes: bool,
    /// Among them routes of the tables that everybody is routed by.
    pub(in crate::neighbours) table_routes: PerFamily<bool>,
    /// Anything may have changed.
    pub(in crate::neighbours) everything: bool,
    /// How often the kernel dropped announcements because our buffer was full.
    pub(in crate::neighbours) overflows: u64,
}

impl Events {
    pub(in crate::neighbours) fn open() -> Result<Self, Error> {
        let socket = open_socket()?;
        for group in [
            MulticastGroup::Link,
            MulticastGroup::Neigh,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
            MulticastGroup::Nexthop,
            MulticastGroup::Ipv4Netconf,
            MulticastGroup::Ipv6Netconf,
        ] {
            let joined = socket.socket_ref().add_membership(group as u32);
            joined.map_err(|source| Error::Socket { doing: "listen on", source })?;
        }
        enlarge(&socket);
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM), overflown: false })
    }

    /// Waits for announcements and takes those that are there. Can be cancelled at any time.
    ///
    /// After an overflow the kernel says so once, at the head of the queue, and then drops what
    /// comes without another word until the queue is empty (`netlink_overrun` in
    /// `net/netlink/af_netlink.c`). Only what is read after that moment is sure to be complete.
    pub(in crate::neighbours) async fn next(&mut self) -> Result<News, Error> {
        /// Others want to run as well.
        const AT_ONCE: usize = 256;
        let mut news = News::default();
        if self.overflown {
            tokio::task::yield_now().await;
        } else {
            self.buffer.clear();
            let received = self.socket.recv(&mut self.buffer).await;
            self.note(received, &mut news)?;
        }
        for _ in 0..AT_ONCE {
            self.buffer.clear();
            let socket = self.socket.socket_ref();
            match socket.recv(&mut self.buffer, libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    news.everything |= std::mem::take(&mut self.overflown);
                    break;
                }
                received => self.note(received.map(|_| ()), &mut news)?,
            }
        }
        Ok(news)
    }

    fn note(&mut self, received: io::Result<()>, news: &mut News) -> Result<(), Error> {
        match received {
            Ok(()) => {
                for bytes in messages(&self.buffer) {
                    news.add(bytes);
                }
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                news.everything = true;
                news.overflows += 1;
                self.overflown = true;
                Ok(())
            }
            Err(source) => Err(Error::Socket { doing: "listen on", source }),
        }
    }
}

impl News {
    fn add(&mut self, bytes: &[u8]) {
        let header = NetlinkBuffer::new(bytes);
        match header.message_type() {
            libc::RTM_NEWLINK | libc::RTM_DELLINK | libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                // Routes that go with a link or an address go without announcement.
                self.routes = true;
                self.interface_routes = true;
                self.add_fact(bytes);
            }
            libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => self.add_fact(bytes),
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => {
                self.routes = true;
                self.interface_routes |= decode::may_be_interface_route(header.payload());
                if let Some(family) = decode::table_route_family(header.payload()) {
                    *self.table_routes.of_mut(family) = true;
                }
            }
            decode::RTM_NEWNETCONF => {
                self.facts.extend(decode::forwarding(header.payload()));
            }
            decode::RTM_DELNETCONF => {}
            // Rules and next-hop objects.
            _ => {
                self.routes = true;
                self.interface_routes = true;
            }
        }
    }

    fn add_fact(&mut self, bytes: &[u8]) {
        let message = decode_message(bytes);
        self.facts.extend(message.as_ref().and_then(decode::fact));
    }
}

/// With less room more is lost and read again: slower, not wrong.
fn enlarge(socket: &TokioSocket) {
    let raw = socket.socket_ref();
    if let Err(error) = setsockopt(raw, sockopt::RcvBufForce, &ANNOUNCEMENTS) {
        debug!("rtnetlink announcements get the default buffer only: {error}");
    }
}
