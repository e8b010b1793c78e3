//! The host's routes as the maps have them.

use lb_common::abi::{RoutePrefix, RouteTable};

use crate::neighbours::RouteWay;
use crate::state::Stored;

/// Of at most as many ways of one family as there is room for.
pub(super) fn table<A: Stored + Default>(ways: &[RouteWay]) -> RouteTable<A> {
    let mut table = RouteTable::default();
    for (prefix, compiled) in table.prefixes.iter_mut().zip(ways.iter().filter_map(compiled)) {
        *prefix = RoutePrefix { place: table.used, ..compiled };
        table.used += 1;
    }
    table
}

fn compiled<A: Stored + Default>(way: &RouteWay) -> Option<RoutePrefix<A>> {
    let (network, mask) = (A::of(way.prefix.network())?, A::of(way.prefix.mask())?);
    let prefix = RoutePrefix { network, mask, ..RoutePrefix::default() };
    Some(match way.hop {
        None => prefix,
        Some(hop) => RoutePrefix {
            ifindex: hop.ifindex,
            mtu: hop.mtu,
            destination: hop.destination_mac,
            source: hop.source_mac,
            ..prefix
        },
    })
}

#[cfg(test)]
mod tests {
    use lb_common::units::{Addr, Addr6};

    use super::*;
    use crate::neighbours::{NextHop, Prefix};

    #[test]
    fn networks_and_masks_are_in_wire_order() {
        let hop = NextHop {
            ifindex: 3,
            source_mac: [2, 0, 0, 0, 0, 1],
            destination_mac: [2, 0, 0, 0, 0, 2],
            mtu: 1400,
        };
        let way = |address: &str, length, hop| RouteWay {
            prefix: Prefix { address: address.parse().unwrap(), length },
            hop,
        };
        let ways =
            [way("192.0.2.7", 32, Some(hop)), way("10.1.255.9", 17, None), way("0.0.0.0", 0, Some(hop))];
        let ipv4 = table::<Addr>(&ways);
        assert_eq!(ipv4.used, 3);
        let [host, network, default, ..] = ipv4.prefixes;
        let words = |prefix: RoutePrefix| (prefix.network.wire(), prefix.mask.wire());
        assert_eq!(words(host), ([192, 0, 2, 7], [255; 4]));
        assert_eq!(words(network), ([10, 1, 128, 0], [255, 255, 128, 0]));
        assert_eq!(words(default), ([0; 4], [0; 4]));
        assert_eq!((host.ifindex, host.mtu, network.ifindex), (3, 1400, 0));
        assert_eq!((host.source[5], host.destination[5]), (1, 2));
        let ipv6 = table::<Addr6>(&[way("2001:db8::1", 33, Some(hop)), way("::", 0, None)]);
        let [network, default, ..] = ipv6.prefixes;
        assert_eq!((ipv6.used, network.place, default.place), (2, 0, 1));
        assert_eq!(network.network.wire()[..5], [0x20, 1, 0x0d, 0xb8, 0]);
        assert_eq!((network.network.wire()[15], network.mask.wire()[4], network.mask.wire()[5]), (0, 128, 0));
        assert_eq!((network.mtu, default.mask.wire()), (1400, [0; 16]));
    }
}
