//! Which way a packet goes. Destination is a frontend > reply of a member > direct > not ours.

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, Owner, Reverse, ReverseKey, Root, Rule, RuleKey};
use crate::family::Family;
use crate::parse::{self, Headers, Ip};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::{Addr, Port};
use crate::window::Window;

/// A packet that a look at its addresses has not sent away.
pub enum Way<'t, A: Family = Addr> {
    /// To a frontend port that a rule has.
    Inbound(Headers<A>, &'t Rule),
    /// From a member's service port.
    Reply(Headers<A>, &'t Owner, &'t Reverse<A>),
    /// To a member's service port, past the frontend.
    Direct(Headers<A>, &'t Reverse<A>),
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
    let to = tables.sieve(ip.destination);
    if to.has(Cell::FRONTEND) {
        let refusal = match parse::transport(frame, ip) {
            Ok(headers) => {
                let key = rule_key(ip.destination, headers.destination_port, headers.ip.protocol, root);
                match tables.rule(&key) {
                    Some(rule) => return Ok(Way::Inbound(headers, rule)),
                    None => Reason::NoRule,
                }
            }
            Err(reason) => reason,
        };
        unwanted(tables.address(ip.destination), refusal)?;
    }
    let from = tables.sieve(ip.source);
    if !from.has(Cell::MEMBER) && !to.has(Cell::MEMBER) {
        return Err(Reason::NotOurs);
    }
    of_member(frame, ip, from, to, tables)
}

/// The key of the rule in force for a frontend port.
#[inline(always)]
#[must_use]
pub fn rule_key<A>(address: A, port: Port, protocol: u8, root: &Root) -> RuleKey<A> {
    #[allow(clippy::cast_possible_truncation, reason = "an epoch is 0..=255")]
    let epoch = root.epoch as u8;
    RuleKey { address, port, protocol, epoch }
}

/// The end of what is to a frontend and of no rule; `Ok` if the sieve was wrong about it.
#[inline(always)]
fn unwanted(address: AddressFlags, refusal: Reason) -> Result<(), Reason> {
    if !address.has(AddressFlags::FRONTEND) {
        Ok(())
    } else if address.has(AddressFlags::OWN) {
        Err(Reason::OwnFrontend)
    } else {
        Err(refusal)
    }
}

#[inline(always)]
fn of_member<'t, A: Family, F: Window, T: Tables<A>>(
    frame: &F,
    ip: &Ip<A>,
    from: Cell,
    to: Cell,
    tables: &'t T,
) -> Result<Way<'t, A>, Reason> {
    if to.has(Cell::OWN) && tables.address(ip.destination).has(AddressFlags::OWN) {
        return Err(Reason::ToHost);
    }
    let headers = parse::transport(frame, ip).map_err(|_| Reason::NotOurs)?;
    if from.has(Cell::MEMBER)
        && let Some((owner, reverse)) = service(ip.source, headers.source_port, headers.ip.protocol, tables)
    {
        return Ok(Way::Reply(headers, owner, reverse));
    }
    if to.has(Cell::MEMBER)
        && let Some((_, reverse)) =
            service(ip.destination, headers.destination_port, headers.ip.protocol, tables)
    {
        return Ok(Way::Direct(headers, reverse));
    }
    Err(Reason::OfMember)
}

/// The service of a member at this port, if there is one.
#[inline(always)]
pub(crate) fn service<A: Family, T: Tables<A>>(
    address: A,
    port: Port,
    protocol: u8,
    tables: &T,
) -> Option<(&Owner, &Reverse<A>)> {
    let owner = tables.owner(address)?;
    let key = ReverseKey { group: owner.group, port, protocol, reserved: 0 };
    Some((owner, tables.reverse(&key)?))
}
