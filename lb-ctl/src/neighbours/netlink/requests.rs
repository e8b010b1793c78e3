//! Questions to the kernel.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer,
    NetlinkMessage,
};
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage};
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::{AsyncSocketExt, SocketAddr, TokioSocket};
use tracing::debug;

use super::{DATAGRAM, Error, decode_message, messages, open_socket};
use crate::neighbours::decode;
use crate::neighbours::routes::TableRoute;
use crate::neighbours::table::{Fact, Family, InterfaceRoute, NeighbourKey, PerFamily, Route};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A host has three for each address and link. With more there is no compiling them into a few anyway.
const MOST_ROUTES: usize = 1024;

/// What the routing tables say.
pub(in crate::neighbours) struct Tables {
    pub(in crate::neighbours) interface_routes: BTreeSet<InterfaceRoute>,
    /// `None` if there are policy rules, or more than are looked at.
    pub(in crate::neighbours) routes: PerFamily<Option<Vec<TableRoute>>>,
}

/// Asks, one question at a time.
pub(in crate::neighbours) struct Requests {
    socket: TokioSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(in crate::neighbours) fn open() -> Result<Self, Error> {
        Ok(Self { socket: open_socket()?, sequence: 0, buffer: Vec::with_capacity(DATAGRAM) })
    }

    /// All links, addresses and neighbours.
    pub(in crate::neighbours) async fn facts(&mut self) -> Result<Vec<Fact>, Error> {
        let mut dumps = vec![("list interfaces", RouteNetlinkMessage::GetLink(LinkMessage::default()))];
        for family in Family::BOTH {
            let mut address = AddressMessage::default();
            address.header.family = number(family);
            let mut neighbour = NeighbourMessage::default();
            neighbour.header.family = number(family);
            dumps.push(("list addresses", RouteNetlinkMessage::GetAddress(address)));
            dumps.push(("list neighbours", RouteNetlinkMessage::GetNeighbour(neighbour)));
        }
        let mut facts = Vec::new();
        for (doing, message) in dumps {
            let all = self.dump(doing, message, |_, _| true).await?;
            facts.extend(all.iter().filter_map(decode::fact));
        }
        Ok(facts)
    }

    /// All connected and default routes, and those that everybody is routed by.
    pub(in crate::neighbours) async fn tables(&mut self) -> Result<Tables, Error> {
        let mut tables = Tables { interface_routes: BTreeSet::new(), routes: PerFamily::default() };
        for family in Family::BOTH {
            *tables.routes.of_mut(family) = self.tables_of(family, &mut tables.interface_routes).await?;
        }
        Ok(tables)
    }

    async fn tables_of(
        &mut self,
        family: Family,
        interface_routes: &mut BTreeSet<InterfaceRoute>,
    ) -> Result<Option<Vec<TableRoute>>, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = number(family);
        let message = RouteNetlinkMessage::GetRoute(message);
        let mut complete = true;
        let keep = |kept, rtmsg: &[u8]| {
            let room = kept < MOST_ROUTES;
            // A kernel without IPv6 answers with routes of the other family.
            let wanted = decode::table_route_family(rtmsg) == Some(family);
            complete &= room || !wanted;
            (wanted && room) || decode::may_be_interface_route(rtmsg)
        };
        let routes = self.dump("list routes", message, keep).await?;
        let routes: Vec<_> = routes.iter().filter_map(as_route).collect();
        interface_routes.extend(routes.iter().copied().flat_map(decode::interface_routes));
        let certain = complete && self.has_default_rules(family).await?;
        let of_family = |route: &TableRoute| Family::of(route.prefix.address) == family;
        Ok(certain.then(|| routes.into_iter().filter_map(decode::table_route).filter(of_family).collect()))
    }

    /// Whether everybody is routed by the tables local and main.
    async fn has_default_rules(&mut self, family: Family) -> Result<bool, Error> {
        let mut message = RuleMessage::default();
        message.header.family = number(family);
        let asked = self.dump("list policy rules", RouteNetlinkMessage::GetRule(message), |_, _| true).await;
        match asked {
            Ok(rules) => {
                let rules: Vec<_> = rules.into_iter().filter_map(as_rule).collect();
                Ok(decode::are_default_rules(family, &rules))
            }
            // A kernel without policy routing.
            Err(Error::Refused { source, .. }) => {
                debug!("each reply asks the kernel for its route: policy rules cannot be listed: {source}");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// What `ip route get ADDRESS` says.
    pub(in crate::neighbours) async fn route(&mut self, address: IpAddr) -> Result<Route, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = number(Family::of(address));
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(address.into()));
        let message = RouteNetlinkMessage::GetRoute(message);
        let mut answers = Vec::new();
        let asked = self
            .exchange("look up a route", message, NLM_F_ACK, |bytes| {
                answers.extend(decode_message(bytes));
            })
            .await;
        match asked {
            Ok(_) => Ok(answers.iter().find_map(as_route).map_or(Route::Unreachable, decode::route)),
            Err(Error::Refused { source, .. }) if means_unreachable(&source) => Ok(Route::Unreachable),
            Err(error) => Err(error),
        }
    }

    /// Asks the kernel to resolve a neighbour that is missing or failed, or to check a stale one,
    /// as if it had a packet for it (`NTF_USE`). Returns the entry as it was before, if any.
    ///
    /// `NTF_USE` makes a permanent entry a common one and takes the marks of learned and managed
    /// ones away (`__neigh_update` in net/core/neighbour.c), so the entry is looked at first: an
    /// announcement of such an entry may still be waiting to be heard.
    pub(in crate::neighbours) async fn solicit(&mut self, key: NeighbourKey) -> Result<Option<Fact>, Error> {
        let entry = self.neighbour(key).await?;
        let flags = match entry {
            None => NLM_F_CREATE | NLM_F_EXCL,
            Some(Fact::Neighbour(_, entry)) if entry.ours_to_refresh => 0,
            Some(_) => return Ok(entry),
        };
        let mut message = neighbour_message(key);
        message.header.flags = NeighbourFlags::Use;
        let message = RouteNetlinkMessage::NewNeighbour(message);
        let asked = self.exchange("resolve a neighbour", message, NLM_F_ACK | flags, |_| {}).await;
        match asked {
            // In the meantime it was made or forgotten, which is announced.
            Err(Error::Refused { source, .. }) if is_race(&source) => Ok(entry),
            asked => asked.map(|_| entry),
        }
    }

    async fn neighbour(&mut self, key: NeighbourKey) -> Result<Option<Fact>, Error> {
        let message = RouteNetlinkMessage::GetNeighbour(neighbour_message(key));
        let mut answers = Vec::new();
        let asked = self
            .exchange("show a neighbour", message, NLM_F_ACK, |bytes| {
                answers.extend(decode_message(bytes));
            })
            .await;
        match asked {
            Err(Error::Refused { source, .. }) if is_race(&source) => Ok(None),
            asked => asked.map(|_| answers.iter().find_map(decode::fact)),
        }
    }

    /// A table as a whole, of which `keep` chooses by the number of those that it has chosen and by the
    /// payload, before it is decoded.
    async fn dump(
        &mut self,
        doing: &'static str,
        message: RouteNetlinkMessage,
        mut keep: impl FnMut(usize, &[u8]) -> bool,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let mut all = Vec::new();
        // A table that changes while it is read may be shown with gaps. After three times what
        // was seen has to do; the next regular read repairs it.
        for _ in 0..3 {
            all.clear();
            let interrupted = self
                .exchange(doing, message.clone(), NLM_F_DUMP, |bytes| {
                    if keep(all.len(), NetlinkBuffer::new(bytes).payload()) {
                        all.extend(decode_message(bytes));
                    }
                })
                .await?;
            if !interrupted {
                break;
            }
            debug!("the table changed when asked to {doing}");
        }
        Ok(all)
    }

    /// Sends one request and hands each message of the answer to `each`, until the kernel says
    /// that it is complete. True if the kernel warned that a dump is not consistent.
    async fn exchange(
        &mut self,
        doing: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
        each: impl FnMut(&[u8]),
    ) -> Result<bool, Error> {
        let answered = tokio::time::timeout(TIMEOUT, async {
            self.send(message, flags).await?;
            self.receive(each).await
        });
        match answered.await {
            Err(_) => Err(Error::Silent { doing }),
            Ok(Err(Failure::Socket(source))) => Err(Error::Socket { doing: "use", source }),
            Ok(Err(Failure::Refused(source))) => Err(Error::Refused { doing, source }),
            Ok(Ok(interrupted)) => Ok(interrupted),
        }
    }

    async fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Failure> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&bytes, &kernel).await;
        sent.map(|_| ()).map_err(Failure::Socket)
    }

    async fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<bool, Failure> {
        let mut interrupted = false;
        loop {
            self.buffer.clear();
            let received = self.socket.recv(&mut self.buffer).await;
            received.map_err(Failure::Socket)?;
            for bytes in messages(&self.buffer) {
                let header = NetlinkBuffer::new(bytes);
                if header.sequence_number() != self.sequence {
                    continue; // The rest of an answer that came too late.
                }
                interrupted |= header.flags() & NLM_F_DUMP_INTR != 0;
                match i32::from(header.message_type()) {
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => {
                        return verdict(header.payload()).map(|()| interrupted);
                    }
                    libc::NLMSG_NOOP => {}
                    _ => each(bytes),
                }
            }
        }
    }
}

enum Failure {
    Socket(io::Error),
    Refused(io::Error),
}

fn as_route(message: &RouteNetlinkMessage) -> Option<&RouteMessage> {
    if let RouteNetlinkMessage::NewRoute(route) = message { Some(route) } else { None }
}

fn as_rule(message: RouteNetlinkMessage) -> Option<RuleMessage> {
    if let RouteNetlinkMessage::NewRule(rule) = message { Some(rule) } else { None }
}

/// Both the acknowledgement and the end of a dump start with zero or a negative error number.
fn verdict(payload: &[u8]) -> Result<(), Failure> {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    if code == 0 { Ok(()) } else { Err(Failure::Refused(io::Error::from_raw_os_error(-code))) }
}

fn number(family: Family) -> AddressFamily {
    match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    }
}

/// No route, the error numbers that routes of type unreachable, prohibit and blackhole give, and that of a
/// kernel without IPv6.
fn means_unreachable(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP)
    )
}

fn neighbour_message(key: NeighbourKey) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = number(Family::of(key.address));
    message.header.ifindex = key.ifindex;
    message.attributes.push(NeighbourAttribute::Destination(key.address.into()));
    message
}

/// The entry is not there, or is there already.
fn is_race(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST))
}
