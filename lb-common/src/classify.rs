//! Which way a packet goes. Destination is a frontend > reply of a member > direct > not ours.

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, Owner, RANGE, Range, RangeKey, Reverse, ReverseKey, Root, Rule, RuleKey};
use crate::family::Family;
use crate::fragment;
use crate::parse::{self, Headers, Ip};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::{Addr, Port};
use crate::window::Window;

/// A packet that a look at its addresses has not sent away.
pub enum Way<'t, A: Family = Addr> {
    /// To a frontend port that a rule has, so many ports behind its first. The port at the member is as many
    /// behind that of the view.
    Inbound(Headers<A>, &'t Rule, u16),
    /// From a member's service port. The frontend's port is as many behind that of the way back.
    Reply(Headers<A>, &'t Owner, &'t Reverse<A>, u16),
    /// To a member's service port, past the frontend.
    Direct(Headers<A>, &'t Reverse<A>),
}

/// What [`way`] answers where [`whole`] may find more: it knows no fragment, and so ends with this for no other
/// reason. A plain word, because what this takes is taken from every packet.
pub const FURTHER: Reason = Reason::Fragment;

/// How far a program looks for what a packet may be.
pub trait Look: Copy {
    /// Whether for ranges and fragments, too. A program that does not leaves these to another.
    const WIDE: bool;
    /// Whether entries of tracked flows have been looked for already.
    const AGAIN: bool = false;
}

/// Single ports of packets that are whole, which nearly all are.
#[derive(Debug, Clone, Copy)]
pub struct Exact;

/// An exact port, else a range of them, else all; and what later fragments are of.
#[derive(Debug, Clone, Copy)]
pub struct Wide;

/// The same, for a flow without an entry.
#[derive(Debug, Clone, Copy)]
pub struct Again;

impl Look for Again {
    const WIDE: bool = true;
    const AGAIN: bool = true;
}

impl Look for Exact {
    const WIDE: bool = false;
}

impl Look for Wide {
    const WIDE: bool = true;
}

/// Finds the way by the destination's address first, before ports, options or fragments: nothing
/// that is to a frontend reaches the kernel unrewritten, whatever its shape, because the kernel
/// would send it back to where it came from.
#[inline(always)]
pub fn way<'t, A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    ip: &Ip<A>,
    root: &Root,
    tables: &'t T,
) -> Result<Way<'t, A>, Reason> {
    by_address(&OnDemand(frame, ip), ip, root, tables, Exact)
}

/// The same with ranges of ports, rules of all ports, and fragments.
#[inline(always)]
pub fn whole<'t, A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    ip: &Ip<A>,
    root: &Root,
    tables: &'t T,
    now: u64,
) -> Result<Way<'t, A>, Reason> {
    match fragment::headers(frame, ip, root, tables, now) {
        Ok(headers) => by_address(&AtHand(headers), ip, root, tables, Wide),
        Err(refusal) => Err(refused(tables.address(ip.destination), refusal)),
    }
}

/// The end of a packet without the headers that would tell its way.
#[inline(always)]
fn refused(destination: AddressFlags, refusal: Reason) -> Reason {
    match (destination.has(AddressFlags::FRONTEND), destination.has(AddressFlags::OWN)) {
        (true, true) => Reason::OwnFrontend,
        (true, false) => refusal,
        (false, true) => Reason::ToHost,
        (false, false) => Reason::NotOurs,
    }
}

/// The headers of the packet, or what is wrong with them.
trait Source<A: Family> {
    fn headers(&self) -> Result<Headers<A>, Reason>;
}

/// Most packets are told by their addresses, and leave without.
struct OnDemand<'f, A: Family, F>(&'f F, &'f Ip<A>);

/// Where reading them takes more instructions, they are read in one place.
struct AtHand<A: Family>(Headers<A>);

impl<A: Family, F: Window> Source<A> for OnDemand<'_, A, F> {
    #[inline(always)]
    fn headers(&self) -> Result<Headers<A>, Reason> {
        parse::transport(self.0, self.1)
    }
}

impl<A: Family> Source<A> for AtHand<A> {
    #[inline(always)]
    fn headers(&self) -> Result<Headers<A>, Reason> {
        Ok(self.0)
    }
}

#[inline(always)]
fn by_address<'t, A: Family, T: Tables<A>, L: Look>(
    source: &impl Source<A>,
    ip: &Ip<A>,
    root: &Root,
    tables: &'t T,
    look: L,
) -> Result<Way<'t, A>, Reason> {
    let to = tables.sieve(ip.destination);
    if to.has(Cell::FRONTEND) {
        let refusal = match source.headers() {
            Ok(headers) => {
                let (port, protocol) = (headers.destination_port, headers.ip.protocol);
                match rule(ip.destination, port, protocol, root, tables, look) {
                    Some((rule, behind)) => return Ok(Way::Inbound(headers, rule, behind)),
                    None => Reason::NoRule,
                }
            }
            Err(reason) => reason,
        };
        unwanted::<L>(tables.address(ip.destination), refusal)?;
    }
    let from = tables.sieve(ip.source);
    if !from.has(Cell::MEMBER) && !to.has(Cell::MEMBER) {
        return Err(Reason::NotOurs);
    }
    if to.has(Cell::OWN) && tables.address(ip.destination).has(AddressFlags::OWN) {
        return Err(Reason::ToHost);
    }
    match source.headers() {
        Ok(headers) => of_member(headers, from, to, tables, look),
        Err(Reason::Fragment) if !L::WIDE => Err(FURTHER),
        Err(_) => Err(Reason::NotOurs),
    }
}

/// The rule in force for a frontend port, and how many ports this one is behind the rule's first.
#[inline(always)]
pub fn rule<'t, A: Family, T: Tables<A>, L: Look>(
    address: A,
    port: Port,
    protocol: u8,
    root: &Root,
    tables: &'t T,
    _look: L,
) -> Option<(&'t Rule, u16)> {
    #[allow(clippy::cast_possible_truncation, reason = "an epoch is 0..=255")]
    let epoch = root.epoch as u8;
    let key = RuleKey { address, port, protocol, epoch };
    if let Some(rule) = tables.rule(&key) {
        return Some((rule, 0));
    }
    if !L::WIDE {
        return None;
    }
    let (first, range) = first_of(&{ key }, tables).parts();
    let key = RuleKey { port: first, protocol: protocol | range, ..key };
    Some((tables.rule(&key)?, port.behind(first)))
}

/// The first port of a range (bits 0..16) and [`RANGE`] (16..24), or 0, by which a rule of all ports is
/// found: a plain word, see `choose::Answer`.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct First(u32);

impl First {
    #[inline(always)]
    fn of(range: Option<Range>) -> Self {
        Self(range.map_or(0, |range| u32::from(range.first.word()) | u32::from(RANGE) << 16))
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "fields of the word")]
    fn parts(self) -> (Port, u8) {
        (Port::from_word(self.0 as u16), (self.0 >> 16) as u8)
    }
}

/// The range that a frontend's port is in.
#[inline(never)]
fn first_of<A: Family, T: Tables<A>>(key: &RuleKey<A>, tables: &T) -> First {
    let &RuleKey { address, port, protocol, epoch } = key;
    First::of(tables.range(&RangeKey { of: address, protocol, epoch, port }))
}

/// The end of what is to a frontend and of no rule; `Ok` if the sieve was wrong about it.
#[inline(always)]
fn unwanted<L: Look>(address: AddressFlags, refusal: Reason) -> Result<(), Reason> {
    if !address.has(AddressFlags::FRONTEND) {
        return Ok(());
    }
    let wide = refusal == Reason::Fragment || refusal == Reason::NoRule && address.has(AddressFlags::WIDE);
    if wide && !L::WIDE {
        Err(FURTHER)
    } else if address.has(AddressFlags::OWN) {
        Err(Reason::OwnFrontend)
    } else {
        Err(refusal)
    }
}

#[inline(always)]
fn of_member<A: Family, T: Tables<A>, L: Look>(
    headers: Headers<A>,
    from: Cell,
    to: Cell,
    tables: &T,
    look: L,
) -> Result<Way<'_, A>, Reason> {
    let ip = &headers.ip;
    if from.has(Cell::MEMBER)
        && let Some(owner) = tables.owner(ip.source)
    {
        if let Some((reverse, behind)) = service(owner, headers.source_port, ip.protocol, tables, look) {
            return Ok(Way::Reply(headers, owner, reverse, behind));
        }
        further::<L>(owner)?;
    }
    if to.has(Cell::MEMBER)
        && let Some(owner) = tables.owner(ip.destination)
    {
        if let Some((reverse, _)) = service(owner, headers.destination_port, ip.protocol, tables, look) {
            return Ok(Way::Direct(headers, reverse));
        }
        further::<L>(owner)?;
    }
    Err(Reason::OfMember)
}

/// The service of a member at this port, if there is one, and how many ports this one is behind its first.
#[inline(always)]
pub(crate) fn service<'t, A: Family, T: Tables<A>, L: Look>(
    owner: &Owner,
    port: Port,
    protocol: u8,
    tables: &'t T,
    _look: L,
) -> Option<(&'t Reverse<A>, u16)> {
    let key = ReverseKey { group: owner.group, port, protocol, reserved: 0 };
    if let Some(reverse) = tables.reverse(&key) {
        return Some((reverse, 0));
    }
    if !L::WIDE || owner.flags & Owner::RANGES == 0 {
        return None;
    }
    let (first, range) = first_of_group(key, tables).parts();
    let reverse = tables.reverse(&ReverseKey { port: first, protocol: protocol | range, ..key })?;
    Some((reverse, port.behind(first)))
}

/// Leaves to another program what may be of a range of ports.
#[inline(always)]
fn further<L: Look>(owner: &Owner) -> Result<(), Reason> {
    if !L::WIDE && owner.flags & Owner::RANGES != 0 { Err(FURTHER) } else { Ok(()) }
}

/// The range that a port of a group's is in.
#[inline(always)]
fn first_of_group<A: Family, T: Tables<A>>(key: ReverseKey, tables: &T) -> First {
    let ReverseKey { group, port, protocol, .. } = key;
    First::of(tables.reverse_range(&RangeKey { of: group, protocol, epoch: 0, port }))
}
