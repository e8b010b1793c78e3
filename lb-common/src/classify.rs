//! Which way a packet goes. Destination is a frontend > reply of a member > direct > not ours.

use crate::abi::sieve::Cell;
use crate::abi::{AddressFlags, Owner, Reverse, ReverseKey, Root, Rule, RuleKey};
use crate::parse::{self, Headers, Ip};
use crate::reason::Reason;
use crate::tables::Tables;
use crate::units::{Addr, Port};
use crate::window::Window;

/// A packet that a look at its addresses has not sent away.
pub enum Way<'t> {
    /// To a frontend port that a rule has.
    Inbound(Headers, &'t Rule),
    /// From a member's service port.
    Reply(Headers, &'t Owner, &'t Reverse),
    /// To a member's service port, past the frontend.
    Direct(Headers, &'t Reverse),
}

/// Finds the way by the destination's address first, before ports, options or fragments: nothing
/// that is to a frontend reaches the kernel unrewritten, whatever its shape, because the kernel
/// would send it back to where it came from.
#[inline(always)]
pub fn way<'t, F: Window, T: Tables>(
    frame: &F,
    ip: &Ip,
    root: &Root,
    tables: &'t T,
) -> Result<Way<'t>, Reason> {
    let to = tables.sieve(ip.destination);
    if to.has(Cell::FRONTEND) {
        let refusal = match parse::transport(frame, ip) {
            Ok(headers) => {
                match tables.rule(&rule_key(ip.destination, headers.destination_port, ip.protocol, root)) {
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
pub fn rule_key(address: Addr, port: Port, protocol: u8, root: &Root) -> RuleKey {
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
fn of_member<'t, F: Window, T: Tables>(
    frame: &F,
    ip: &Ip,
    from: Cell,
    to: Cell,
    tables: &'t T,
) -> Result<Way<'t>, Reason> {
    if to.has(Cell::OWN) && tables.address(ip.destination).has(AddressFlags::OWN) {
        return Err(Reason::ToHost);
    }
    let headers = parse::transport(frame, ip).map_err(|_| Reason::NotOurs)?;
    if from.has(Cell::MEMBER)
        && let Some((owner, reverse)) = service(ip.source, headers.source_port, ip.protocol, tables)
    {
        return Ok(Way::Reply(headers, owner, reverse));
    }
    if to.has(Cell::MEMBER)
        && let Some((_, reverse)) = service(ip.destination, headers.destination_port, ip.protocol, tables)
    {
        return Ok(Way::Direct(headers, reverse));
    }
    Err(Reason::NotOurs)
}

/// The service of a member at this port, if there is one.
#[inline(always)]
fn service<T: Tables>(address: Addr, port: Port, protocol: u8, tables: &T) -> Option<(&Owner, &Reverse)> {
    let owner = tables.owner(address)?;
    let key = ReverseKey { group: owner.group, port, protocol, reserved: 0 };
    Some((owner, tables.reverse(&key)?))
}
