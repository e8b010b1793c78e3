//! Networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A prefix. Bits of `address` beyond `length` say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

impl Prefix {
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let shared = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(address)) => (ours.to_bits() ^ address.to_bits()).leading_zeros(),
            (IpAddr::V6(ours), IpAddr::V6(address)) => (ours.to_bits() ^ address.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        shared >= u32::from(self.length)
    }

    /// Its first address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        match (self.address, self.mask()) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => (address & mask).into(),
            (IpAddr::V6(address), IpAddr::V6(mask)) => (address & mask).into(),
            (address, _) => address,
        }
    }

    /// Ones for the bits that count.
    #[must_use]
    pub fn mask(self) -> IpAddr {
        let beyond = |bits: u32| bits.saturating_sub(u32::from(self.length));
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(u32::MAX.checked_shl(beyond(32)).unwrap_or(0)).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(u128::MAX.checked_shl(beyond(128)).unwrap_or(0)).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_what_shares_its_bits() {
        let rows = [
            ("10.0.1.0", 24, "10.0.1.255", true),
            ("10.0.1.0", 24, "10.0.2.0", false),
            ("10.0.1.0", 32, "10.0.1.0", true),
            ("10.0.1.0", 32, "10.0.1.1", false),
            ("10.0.1.0", 0, "255.1.2.3", true),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::", false),
            ("2001:db8::", 128, "2001:db8::", true),
            ("2001:db8::", 128, "2001:db8::1", false),
            ("::", 0, "fe80::1", true),
            ("::", 0, "10.0.1.1", false),
            ("0.0.0.0", 0, "::1", false),
        ];
        for (network, length, address, expected) in rows {
            let prefix = Prefix { address: network.parse().unwrap(), length };
            assert_eq!(prefix.contains(address.parse().unwrap()), expected, "{prefix:?} {address}");
        }
    }

    #[test]
    fn a_prefix_has_a_mask_and_begins_with_its_network() {
        let rows = [
            ("10.1.255.9", 17, "10.1.128.0", "255.255.128.0"),
            ("192.0.2.7", 32, "192.0.2.7", "255.255.255.255"),
            ("192.0.2.7", 0, "0.0.0.0", "0.0.0.0"),
            ("2001:db8::ffff:1", 113, "2001:db8::ffff:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:8000"),
            ("fd00::1", 128, "fd00::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("fd00::1", 0, "::", "::"),
        ];
        for (address, length, network, mask) in rows {
            let prefix = Prefix { address: address.parse().unwrap(), length };
            assert_eq!(prefix.network().to_string(), network);
            assert_eq!(prefix.mask().to_string(), mask);
        }
    }
}
