//! The two rtnetlink sockets: one to ask, one to listen.
//!
//! Plain sockets instead of `rtnetlink`'s connection task, for one reason: that task queues
//! without bound and decodes everything, and a router may announce or dump a million routes.
//! Here the kernel's socket buffer is the queue; when it overflows the kernel says so.

mod events;
mod requests;

use std::io;

use rtnetlink::packet_core::{NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, TokioSocket};
use tracing::warn;

pub(super) use events::{Events, News};
pub(super) use requests::Requests;

/// What went wrong between us and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing} an rtnetlink socket: {source}")]
    Socket { doing: &'static str, source: io::Error },
    #[error("the kernel refused to {doing}: {source}")]
    Refused { doing: &'static str, source: io::Error },
    #[error("the kernel did not answer in time when asked to {doing}")]
    Silent { doing: &'static str },
    #[error("the task that watches routes and neighbours has ended")]
    Stopped,
}

/// The kernel's messages are at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;

fn open_socket() -> Result<TokioSocket, Error> {
    let failed = |doing| move |source| Error::Socket { doing, source };
    let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(failed("open"))?;
    let bound = socket.socket_mut().bind_auto();
    bound.map_err(failed("bind"))?;
    Ok(socket)
}

/// The messages of a datagram, each with its header.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let length = match NetlinkBuffer::new_checked(datagram) {
            Ok(header) => header.length() as usize,
            Err(error) => {
                warn!("malformed rtnetlink message: {error}");
                return None;
            }
        };
        let (message, _) = datagram.split_at(length);
        let aligned = length.next_multiple_of(4).min(datagram.len());
        datagram = &datagram[aligned..];
        Some(message)
    })
}

fn decode_message(bytes: &[u8]) -> Option<RouteNetlinkMessage> {
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
        Ok(message) => {
            if let NetlinkPayload::InnerMessage(message) = message.payload {
                Some(message)
            } else {
                None
            }
        }
        Err(error) => {
            warn!("an rtnetlink message is not understood and left out: {error}");
            None
        }
    }
}
