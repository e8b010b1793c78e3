//! What a packet must lead to, and what an executor has seen.

use std::collections::BTreeMap;
use std::fmt;

use lb_common::abi::{Counter, RuleStats};
use lb_common::reason::{Action, Event, Reason};
use lb_common::testkit::Frame;

use super::case::of;
use super::world::{CLIENT_LINK, Family, SENDER, Service, US, WEB, member, member_socket};

/// What the driver is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop,
    Pass,
    Redirect,
}

/// Everything that one packet leads to: its bytes, and exactly the counters that it moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) verdict: Verdict,
    pub(crate) reasons: BTreeMap<Reason, Counter>,
    pub(crate) events: BTreeMap<Event, u64>,
    pub(crate) rules: BTreeMap<u32, RuleStats>,
    pub(crate) opened: BTreeMap<u16, u64>,
    pub(crate) frame: Vec<u8>,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, reasons, events, rules, opened, frame } = self;
        write!(f, "{verdict:?} {reasons:?} {events:?} {rules:?} opened {opened:?}\n          ")?;
        frame.iter().take(64).try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// What must be seen, in terms of the frame that goes in.
#[derive(Debug, Clone)]
pub(crate) struct Expect {
    reason: Reason,
    service: Service,
    end: End,
    opens: bool,
    events: Vec<Event>,
    port: u16,
    address: Option<&'static str>,
    /// The other end, where it changes, too: the source that a member sees, or the client that a reply is for.
    other: Option<&'static str>,
    /// The reply goes by the gateway on this member's link, rather than straight to the client.
    gateway: Option<u16>,
    /// Leaves in place of what came in, but for the link and a hop.
    instead: Option<Box<Frame>>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Untouched,
    Member(u16),
    Client,
    /// To whoever has sent it.
    Sender,
}

/// Rewritten and sent to a member.
pub(crate) fn to_member(label: u16) -> Expect {
    Expect::new(Reason::ToMember, End::Member(label))
}

/// The same, as the first packet of a connection.
pub(crate) fn opens(label: u16) -> Expect {
    Expect { opens: true, ..to_member(label) }
}

/// A reply, rewritten and sent to the client.
pub(crate) fn to_client() -> Expect {
    Expect::new(Reason::ReplyToClient, End::Client)
}

/// Rewritten for a member, and left to the kernel.
pub(crate) fn to_member_by_kernel(label: u16) -> Expect {
    Expect::new(Reason::ToMemberByKernel, End::Member(label))
}

/// The same, as the first packet of a connection.
pub(crate) fn opens_by_kernel(label: u16) -> Expect {
    Expect { opens: true, ..to_member_by_kernel(label) }
}

/// A reply, rewritten and left to the kernel.
pub(crate) fn to_client_by_kernel() -> Expect {
    Expect::new(Reason::ReplyByKernel, End::Client)
}

/// Answered to whoever has sent it.
pub(crate) fn answered(reason: Reason, answer: Frame) -> Expect {
    Expect { instead: Some(Box::new(answer)), ..Expect::new(reason, End::Sender) }
}

/// Answered by exactly this frame.
pub(crate) fn answered_by(reason: Reason, answer: Frame) -> Expect {
    Expect { instead: Some(Box::new(answer)), ..Expect::new(reason, End::Untouched) }
}

/// An ICMP error for a member, and what becomes of it.
pub(crate) fn error_to_member(label: u16, error: Frame) -> Expect {
    Expect { instead: Some(Box::new(error)), ..Expect::new(Reason::ErrorToMember, End::Member(label)) }
}

/// An ICMP error for the client, and what becomes of it.
pub(crate) fn error_to_client(error: Frame) -> Expect {
    Expect { instead: Some(Box::new(error)), ..Expect::new(Reason::ErrorToClient, End::Client) }
}

/// Passed or dropped, and not a byte changed.
pub(crate) fn untouched(reason: Reason) -> Expect {
    Expect::new(reason, End::Untouched)
}

impl Expect {
    fn new(reason: Reason, end: End) -> Self {
        Self {
            reason,
            service: WEB,
            end,
            opens: false,
            events: Vec::new(),
            port: WEB.port,
            address: None,
            other: None,
            gateway: None,
            instead: None,
        }
    }

    /// Also from another source, or to another destination.
    pub(crate) fn with_other(mut self, socket: &'static str) -> Self {
        self.other = Some(socket);
        self
    }

    /// Of another service than web.
    pub(crate) fn of(mut self, service: Service) -> Self {
        self.service = service;
        self.port = service.port;
        self
    }

    /// At another port of the member than the current view's.
    pub(crate) fn at_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// At another socket than the lab's.
    pub(crate) fn at(mut self, socket: &'static str) -> Self {
        self.address = Some(socket);
        self
    }

    /// By the gateway on this member's link.
    pub(crate) fn by(mut self, label: u16) -> Self {
        self.gateway = Some(label);
        self
    }

    /// The kernel sends it.
    pub(crate) fn by_kernel(mut self, reason: Reason) -> Self {
        self.reason = reason;
        self
    }

    /// This happens beside.
    pub(crate) fn and(mut self, event: Event) -> Self {
        self.events.push(event);
        self
    }

    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    /// All of it, for this frame.
    pub(crate) fn seen(&self, input: &Frame, family: Family) -> Seen {
        let bytes = of(family, input.clone()).bytes();
        let counter = Counter { packets: 1, bytes: bytes.len() as u64 };
        let mut events = BTreeMap::new();
        for event in &self.events {
            *events.entry(*event).or_default() += 1;
        }
        let mut stats = RuleStats::default();
        let mut opened = BTreeMap::new();
        match self.end {
            // Errors are in no rule's statistics.
            _ if self.instead.is_some() => {}
            End::Untouched | End::Sender => {}
            End::Member(label) => {
                stats.inbound = counter;
                if self.opens {
                    stats.opened = 1;
                    opened.insert(label, 1);
                }
            }
            End::Client => stats.replies = counter,
        }
        let rules = [(self.service.stats, stats)].into_iter().filter(|(_, s)| *s != RuleStats::default());
        Seen {
            verdict: self.verdict(),
            reasons: BTreeMap::from([(self.reason, counter)]),
            events,
            rules: rules.collect(),
            opened,
            frame: of(family, self.output(input)).bytes(),
        }
    }

    fn verdict(&self) -> Verdict {
        match self.reason.action() {
            Action::Drop => Verdict::Drop,
            Action::Pass => Verdict::Pass,
            Action::Forward | Action::Answer => Verdict::Redirect,
        }
    }

    fn egress(&self) -> u32 {
        match self.end {
            End::Member(label) => CLIENT_LINK + u32::from(self.gateway.unwrap_or(label)),
            End::Client | End::Sender | End::Untouched => CLIENT_LINK + u32::from(self.gateway.unwrap_or(0)),
        }
    }

    fn output(&self, input: &Frame) -> Frame {
        let frame = self.instead.as_deref().unwrap_or(input).clone();
        let rewritten = match self.end {
            End::Untouched => return frame,
            End::Sender => return frame.link(US, SENDER),
            End::Member(_) | End::Client if self.instead.is_some() => frame,
            End::Member(label) => match self.address {
                Some(socket) => frame.to(socket),
                None => frame.to(&member_socket(label, self.port)),
            },
            End::Client => frame.from(self.service.frontend),
        };
        let rewritten = match (self.other, self.end) {
            (Some(source), End::Member(_)) => rewritten.from(source),
            (Some(client), End::Client) => rewritten.to(client),
            (Some(_) | None, _) => rewritten,
        };
        if self.reason.action() != Action::Forward {
            // The kernel routes it, and counts the hop.
            return rewritten;
        }
        let (source, destination) = match (self.gateway, self.end) {
            (Some(label), _) | (None, End::Member(label)) => {
                (member(label).source, member(label).destination)
            }
            (None, End::Client | End::Sender | End::Untouched) => (US, SENDER),
        };
        rewritten.one_hop_on().link(source, destination)
    }
}
