//! What a case's packets are for.

use lb_common::abi::{AddressFlags, Mode, ReverseKey, Rule, View, access};
use lb_common::parse::{TCP, UDP};
use lb_common::units::Port;
use lb_ctl::state::{MapState, Reverse, RuleKey};

use super::world::{GROUP, HEALTH_BASE, LIFE, address, put_ring, socket};

/// A frontend port, and where its members listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) frontend: &'static str,
    pub(crate) protocol: u8,
    /// Port at the members.
    pub(crate) port: u16,
    /// Index of the rule's statistics.
    pub(crate) stats: u32,
    /// First slot of the current view; the old one's is 100 on.
    pub(crate) ring_base: u32,
}

pub(crate) const WEB: Service =
    Service { frontend: "203.0.113.10:80", protocol: TCP, port: 8080, stats: 1, ring_base: 1000 };
pub(crate) const DNS: Service =
    Service { frontend: "203.0.113.10:53", protocol: UDP, port: 5353, stats: 2, ring_base: 2000 };
/// On an address of the host's own.
pub(crate) const ADMIN: Service =
    Service { frontend: "198.51.100.1:443", protocol: TCP, port: 8443, stats: 3, ring_base: 3001 };
pub(crate) const SERVICES: [Service; 3] = [WEB, DNS, ADMIN];

impl Service {
    pub(crate) fn key(self, epoch: u32) -> RuleKey {
        let frontend = socket(self.frontend);
        RuleKey {
            address: address(self.frontend),
            port: Port::new(frontend.port()),
            protocol: self.protocol,
            epoch: epoch.try_into().unwrap(),
        }
    }

    pub(crate) fn enter(self, map: &mut MapState) {
        let key = self.key(map.root.epoch);
        let current = View {
            ring_base: self.ring_base,
            ring_size: 1,
            health_base: HEALTH_BASE,
            health_skip: 0,
            health_words: 1,
            port: Port::new(self.port),
            mode: Mode::FiveTuple as u8,
            present: 1,
        };
        put_ring(map, self.ring_base, &[1]);
        map.rules.insert(
            key,
            Rule {
                current,
                old: View::default(),
                life: LIFE,
                stats: self.stats,
                access: access::OPEN,
                flags: 0,
            },
        );
        map.addresses.insert(key.address, AddressFlags::FRONTEND);
        let reverse_key =
            ReverseKey { group: GROUP, port: Port::new(self.port), protocol: self.protocol, reserved: 0 };
        let reverse = Reverse {
            address: key.address,
            port: key.port,
            last: key.port,
            flags: 0,
            reserved: 0,
            stats: self.stats,
            life: LIFE,
        };
        map.reverse.insert(reverse_key, reverse);
    }
}
