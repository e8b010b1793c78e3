//! Flows that all have entries.

use crate::icmp::Icmp;
use crate::pipeline::End;
use crate::reason::Reason;
use crate::tables::Tables;
use crate::window::Window;

/// Decides about a packet whose flow has an entry.
#[inline(always)]
pub fn ingress<A: Icmp, F: Window, T: Tables<A>>(frame: &mut F, _tables: &T, _jiffies: u64) -> End {
    End::of::<A, F>(Err(Reason::MemberUnknown.into()), frame)
}
