//! The host's routes as the maps have them.

use lb_common::abi::{RoutePrefix, RouteTable};
use lb_common::units::Addr;

use crate::neighbours::{Prefix, RouteWay};

/// Of at most as many ways as there is room for.
pub(super) fn table(ways: &[RouteWay]) -> RouteTable {
    let mut table = RouteTable::default();
    for (prefix, way) in table.prefixes.iter_mut().zip(ways) {
        *prefix = RoutePrefix { place: table.used, ..compiled(way) };
        table.used += 1;
    }
    table
}

fn compiled(way: &RouteWay) -> RoutePrefix {
    let Prefix { address, length } = way.prefix;
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let prefix = RoutePrefix {
        network: Addr::from_wire((address.to_bits() & mask).to_be_bytes()),
        mask: Addr::from_wire(mask.to_be_bytes()),
        ..RoutePrefix::default()
    };
    match way.hop {
        None => prefix,
        Some(hop) => RoutePrefix {
            ifindex: hop.ifindex,
            mtu: hop.mtu,
            destination: hop.destination_mac,
            source: hop.source_mac,
            ..prefix
        },
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::neighbours::NextHop;

    #[test]
    fn networks_and_masks_are_in_wire_order() {
        let hop = NextHop {
            ifindex: 3,
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            mtu: 1400,
        };
        let way = |address: [u8; 4], length, hop| RouteWay {
            prefix: Prefix { address: Ipv4Addr::from(address), length },
            hop,
        };
        let ways = [
            way([192, 0, 2, 7], 32, Some(hop)),
            way([10, 1, 255, 9], 17, None),
            way([0, 0, 0, 0], 0, Some(hop)),
        ];
        let table = table(&ways);
        assert_eq!(table.used, 3);
        let [host, network, default, ..] = table.prefixes;
        let words = |prefix: RoutePrefix| (prefix.network.wire(), prefix.mask.wire());
        assert_eq!(words(host), ([192, 0, 2, 7], [255; 4]));
        assert_eq!(words(network), ([10, 1, 128, 0], [255, 255, 128, 0]));
        assert_eq!(words(default), ([0; 4], [0; 4]));
        assert_eq!((host.ifindex, host.mtu, network.ifindex), (3, 1400, 0));
        assert_eq!((host.source[5], host.destination[5]), (1, 2));
    }
}
