//! What new maps say before anything is applied.

use std::time::Duration;

use lb_common::abi::{ABI_VERSION, Root};

use crate::units;

/// A client sends its SYN for about two minutes, a member its SYN-ACK for one (RFC 6298, five
/// repetitions from a second on).
const HANDSHAKE: Duration = Duration::from_secs(64);
/// After RST or both FINs: repetitions of the last segments still find the entry.
const CLOSED: Duration = Duration::from_secs(10);
/// After one FIN: a half-closed download goes on, and each of its packets renews the entry.
const HALF_CLOSED: Duration = Duration::from_mins(5);
/// TCP keepalive asks after two hours, nine times in eleven minutes (tcp(7)).
const LONGEST: Duration = Duration::from_mins(2 * 60 + 15);

/// The first root of a set of maps: no rule is in force.
#[must_use]
pub fn root(hash_key: [u64; 2], hz: u32) -> Root {
    Root {
        hash_key,
        abi_version: ABI_VERSION,
        tick_shift: units::tick_shift(hz),
        // A mark is written in steps of four ticks, which may just have begun.
        mark_life: units::ticks(LONGEST, hz).div_ceil(4) + 1,
        handshake_life: units::ticks(HANDSHAKE, hz),
        closed_life: units::ticks(CLOSED, hz),
        half_closed_life: units::ticks(HALF_CLOSED, hz),
        ..Root::default()
    }
}
