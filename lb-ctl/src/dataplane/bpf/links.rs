//! Attaching to interfaces, by pinned links that outlive the daemon.

use std::error::Error as StdError;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode as Mode};
use aya::programs::{ProgramError, Xdp};
use nix::net::if_::if_indextoname;

use super::error::{self, errno};
use super::pins::{LinkPin, Pins};
use super::sys;
use crate::config::model::XdpMode;
use crate::dataplane::{Attachment, Error};

/// Has every pinned link run `program` from its next packet on; no packet is missed. Links whose
/// interface has gone are removed, and reported.
pub(super) fn replace(program: &mut Xdp, pins: &Pins) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    for pin in pins.links()? {
        match update(program, &pin) {
            Ok(()) => {}
            Err(cause) if errno(&*cause) == Some(libc::ENOLINK) => {
                unpin(&pin)?;
                notes
                    .push(format!("interface {} has gone since the program was attached to it", pin.ifindex));
            }
            Err(cause) => {
                let what = format!("cannot replace the program on {}", interface(pin.ifindex));
                return Err(error::setup(
                    what,
                    &*cause,
                    "`lbctl detach` and a new `lbctl serve` start afresh",
                ));
            }
        }
    }
    Ok(notes)
}

fn update(program: &mut Xdp, pin: &LinkPin) -> Result<(), Box<dyn StdError>> {
    let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(&pin.path)?))?;
    let id = program.attach_to_link(link)?;
    // Closes our descriptor; the pin holds the link.
    drop(program.take_link(id)?);
    Ok(())
}

/// Attaches, unless the program is attached in a mode that will do. A change of mode, which has the
/// interface without a program for a moment, is taken back if it fails.
pub(super) fn attach(
    program: &mut Xdp,
    pins: &Pins,
    ifindex: u32,
    mode: XdpMode,
) -> Result<Attachment, Error> {
    let mut before = None;
    for pin in pins.links()?.iter().filter(|pin| pin.ifindex == ifindex) {
        if is_alive(pin)? {
            if fits(mode, pin.attachment) {
                return Ok(pin.attachment);
            }
            before = Some(pin.attachment);
        }
        unpin(pin)?;
    }
    let attached = attach_anew(program, pins, ifindex, mode);
    if let (Err(_), Some(before)) = (&attached, before) {
        attach_as(program, pins, ifindex, before)?;
    }
    attached
}

fn attach_anew(program: &mut Xdp, pins: &Pins, ifindex: u32, mode: XdpMode) -> Result<Attachment, Error> {
    match mode {
        XdpMode::Native => attach_as(program, pins, ifindex, Attachment::Native),
        XdpMode::Generic => attach_as(program, pins, ifindex, Attachment::Generic),
        XdpMode::Auto => match link(program, ifindex, Attachment::Native) {
            Ok(native) => pin(native, pins, ifindex, Attachment::Native),
            Err(cause) if driver_cannot(&cause) => {
                let (name, cause) = (interface(ifindex), error::chain(&cause));
                tracing::warn!(interface = name, cause, "no native XDP here; attaching the generic one");
                attach_as(program, pins, ifindex, Attachment::Generic)
            }
            Err(cause) => Err(cannot_attach(ifindex, &cause)),
        },
    }
}

/// Detaches; nothing to do is fine.
pub(super) fn detach(pins: &Pins, ifindex: u32) -> Result<(), Error> {
    pins.links()?.iter().filter(|pin| pin.ifindex == ifindex).try_for_each(unpin)
}

/// Detaches everywhere.
pub(super) fn detach_all(pins: &Pins) -> Result<(), Error> {
    pins.links()?.iter().try_for_each(unpin)
}

/// Interfaces that run the program.
pub(super) fn attached(pins: &Pins) -> Result<Vec<(u32, Attachment)>, Error> {
    let mut attached = Vec::new();
    for pin in pins.links()? {
        if is_alive(&pin)? {
            attached.push((pin.ifindex, pin.attachment));
        }
    }
    Ok(attached)
}

fn fits(wanted: XdpMode, there: Attachment) -> bool {
    match wanted {
        XdpMode::Auto => true,
        XdpMode::Native => there == Attachment::Native,
        XdpMode::Generic => there == Attachment::Generic,
    }
}

fn attach_as(program: &mut Xdp, pins: &Pins, ifindex: u32, mode: Attachment) -> Result<Attachment, Error> {
    let link = link(program, ifindex, mode).map_err(|cause| cannot_attach(ifindex, &cause))?;
    pin(link, pins, ifindex, mode)
}

fn link(program: &mut Xdp, ifindex: u32, mode: Attachment) -> Result<XdpLink, ProgramError> {
    let mode = match mode {
        Attachment::Native => Mode::Driver,
        Attachment::Generic => Mode::Skb,
    };
    let id = program.attach_to_if_index(ifindex, mode)?;
    program.take_link(id)
}

fn pin(link: XdpLink, pins: &Pins, ifindex: u32, mode: Attachment) -> Result<Attachment, Error> {
    let path = pins.link(ifindex, mode);
    let what = || format!("cannot pin the link of {} at {}", interface(ifindex), path.display());
    let link = FdLink::try_from(link)
        .map_err(|cause| error::setup(what(), &cause, "this needs Linux 5.9 or later"))?;
    link.pin(&path).map_err(|cause| error::setup(what(), &cause, "see what is there already"))?;
    Ok(mode)
}

fn is_alive(pin: &LinkPin) -> Result<bool, Error> {
    match sys::link_ifindex(&pin.path) {
        Ok(ifindex) => Ok(ifindex == pin.ifindex),
        Err(cause) => {
            let what = format!("cannot read the pinned link {}", pin.path.display());
            Err(error::setup(what, &cause, "`lbctl detach` removes it"))
        }
    }
}

/// Detaches before it returns: the kernel lets go of a link at once when its last descriptor is
/// closed, but some time later when its last pin is removed (`bpf_link_put` in
/// kernel/bpf/syscall.c defers that).
fn unpin(pin: &LinkPin) -> Result<(), Error> {
    let trouble = |cause: &(dyn StdError + 'static)| {
        let what = format!("cannot remove the pinned link {}", pin.path.display());
        error::setup(what, cause, "remove it by hand; that detaches the program")
    };
    let link = PinnedLink::from_pin(&pin.path).map_err(|cause| trouble(&cause))?;
    link.unpin().map(drop).map_err(|cause| trouble(&cause))
}

/// What drivers say who cannot: no XDP at all, not with this MTU, not with so few queues.
fn driver_cannot(cause: &ProgramError) -> bool {
    let refusals = [libc::EOPNOTSUPP, libc::EINVAL, libc::ERANGE, libc::ENOMEM];
    errno(cause).is_some_and(|errno| refusals.contains(&errno))
}

fn cannot_attach(ifindex: u32, cause: &ProgramError) -> Error {
    let name = interface(ifindex);
    let what = format!("cannot attach to {name}");
    match errno(cause) {
        Some(libc::EBUSY | libc::EEXIST) => Error::Setup {
            cause: "another XDP program is attached there".to_owned(),
            cure: format!(
                "`ip link show dev {name}` names it; stop its owner, or take it off with \
                 `ip link set dev {name} xdp off`; another lbctl's is removed by its `lbctl detach`"
            ),
            what,
        },
        Some(libc::ENODEV) => Error::Setup {
            what,
            cause: "there is no such interface".to_owned(),
            cure: "`ip link` lists the interfaces of this network namespace".to_owned(),
        },
        _ if driver_cannot(cause) => error::setup(what, cause, "use `mode: auto` or `mode: generic` for it"),
        _ => error::setup(what, cause, "the kernel's log (`dmesg`) may say more"),
    }
}

/// Its name if it has one here, else its number.
fn interface(ifindex: u32) -> String {
    match if_indextoname(ifindex) {
        // nix 0.31 answers with an empty name for an index that nobody has.
        Ok(name) if !name.is_empty() => name.to_string_lossy().into_owned(),
        _ => format!("interface {ifindex}"),
    }
}
