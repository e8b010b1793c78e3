//! Whether the kernel forwards what an interface receives: announced by itself, not with the interface.

use rtnetlink::packet_core::{NlaBuffer, NlasIterator};

use crate::neighbours::table::Fact;

/// Of include/uapi/linux/netconf.h; `rtnetlink` has no word for these messages.
pub(in crate::neighbours) const RTM_NEWNETCONF: u16 = 80;
pub(in crate::neighbours) const RTM_DELNETCONF: u16 = 81;
const IFINDEX: u16 = 1;
const FORWARDING: u16 = 2;
/// `struct netconfmsg` is one byte, and attributes begin at multiples of four.
const HEADER: usize = 4;

/// `None` if it is about another setting, or about all interfaces together.
pub(in crate::neighbours) fn forwarding(netconfmsg: &[u8]) -> Option<Fact> {
    let family = super::family((*netconfmsg.first()?).into())?;
    let (mut ifindex, mut forwards) = (None, None);
    for attribute in NlasIterator::new(netconfmsg.get(HEADER..)?) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            IFINDEX => ifindex = u32::try_from(number(&attribute)?).ok(),
            FORWARDING => forwards = Some(number(&attribute)? != 0),
            _ => {}
        }
    }
    Some(Fact::Forwarding(ifindex?, family, forwards?))
}

fn number(attribute: &NlaBuffer<&[u8]>) -> Option<i32> {
    attribute.value().try_into().ok().map(i32::from_ne_bytes)
}
