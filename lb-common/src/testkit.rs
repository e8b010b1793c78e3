//! For tests: a full checksum.

/// The Internet checksum (RFC 1071) of some bytes, in host order, on top of a sum.
#[must_use]
pub fn checksum(bytes: &[u8], sum: u32) -> u16 {
    let mut sum = sum;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}
