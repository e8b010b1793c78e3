//! The solicited-node groups of IPv6 frontends, in which they are asked for (RFC 4861, section 7.2.1).
//!
//! A network card lets through what is sent to groups that the kernel has joined, and so do switches that
//! listen to MLD. A membership of a socket's would end with the daemon, while the data plane goes on. An
//! entry for a proxy stays: with it the kernel is a member (`pndisc_constructor` in net/ipv6/ndisc.c),
//! and it answers by itself only where `proxy_ndp` is on.

use std::net::IpAddr;

use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::state::AnnouncedKey;

pub(super) struct Groups(Handle);

impl Groups {
    pub(super) fn open() -> std::io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    pub(super) async fn join(&self, key: AnnouncedKey) -> Result<(), rtnetlink::Error> {
        let mut request = self.0.neighbours().add(key.ifindex, key.address).replace();
        *request.message_mut() = entry(key);
        request.execute().await
    }

    /// What is not there any more, perhaps with its link, is no error.
    pub(super) async fn leave(&self, key: AnnouncedKey) -> Result<(), rtnetlink::Error> {
        match self.0.neighbours().del(entry(key)).execute().await {
            Err(rtnetlink::Error::NetlinkError(error))
                if [libc::ENOENT, libc::ENODEV].contains(&-error.raw_code()) =>
            {
                Ok(())
            }
            done => done,
        }
    }
}

/// Permanent: it outlives a carrier that goes and comes.
fn entry(key: AnnouncedKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = match key.address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.ifindex = key.ifindex;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes.push(NeighbourAttribute::Destination(key.address.into()));
    message
}
