//! The bytes that both sides of the maps see.
//!
//! Everything here is written by one program and read by another of perhaps another age: fixed
//! layout, no implicit padding, and [`ABI_VERSION`] changes with any of it.

mod announced;
mod cell;
mod flow;
mod fragment;
mod icmp;
mod member;
mod range;
mod reverse;
mod root;
mod routes;
mod rule;
pub mod sieve;
mod stats;
mod tracked;

pub use announced::{Announced, AnnouncedKey};
pub use flow::{FlowEntry, FlowKey, FlowWord};
pub use fragment::{FragmentKey, FragmentWord};
pub use icmp::IcmpState;
pub use member::{AddressFlags, Forwarding, Member};
pub use range::{RANGE, RANGES, Range, RangeKey};
pub use reverse::{Owner, REVERSES, Reverse, ReverseKey, TRACKED_REPLIES};
pub use root::Root;
pub use routes::{ROUTE_TABLES, ROUTES, RoutePrefix, RouteTable};
pub use rule::{AccessKey, Mode, Rule, RuleKey, View, access};
pub use stats::{Counter, RuleStats};
pub use tracked::{NAT_SOURCES, NatSource, TrackEntry, Translation};

/// Changes whenever the layout or the meaning of a map changes. User space refuses pinned maps
/// of another version.
pub const ABI_VERSION: u32 = 7;

/// Members in one element of the slot map: an array map rounds its values up to 8 bytes
/// (`array_map_alloc` in kernel/bpf/arraymap.c), so four labels share one.
pub const SLOTS_PER_WORD: u32 = 4;

/// Marks in one element of the mark map, for the same reason.
pub const MARKS_PER_WORD: u32 = 4;

/// Bits of the client's hash that choose a mark: 2^18 marks of 2 bytes are 512 KiB.
pub const MARK_BITS: u32 = 18;

/// Member labels, 0 included, which names none.
pub const MEMBERS: u32 = 1 << 16;

/// Members in one word of a health set.
pub const HEALTH_BITS: u32 = 64;

/// Datagrams in flight whose fragments are told from others, in each family and direction.
pub const FRAGMENTS: u32 = 8_192;

/// Room for the programs of [`crate::pipeline::Stage`], some of which are yet to come.
pub const STAGES: u32 = 32;

/// Names of the maps; at most 15 characters, which is what the kernel keeps.
pub mod map {
    /// What every name begins with.
    pub const PREFIX: &str = "lb_";
    /// [`super::Root`], one element.
    pub const ROOT: &str = "lb_root";
    /// Words of [`super::sieve`].
    pub const SIEVE: &str = "lb_sieve";
    /// [`super::RuleKey`] -> [`super::Rule`].
    pub const RULES: &str = "lb_rules";
    /// Address -> [`super::AddressFlags`].
    pub const ADDRESSES: &str = "lb_addresses";
    /// [`super::AccessKey`] prefix -> [`super::access::ALLOW`] or [`super::access::DENY`].
    pub const ACCESS: &str = "lb_access";
    /// Rings: four member labels an element.
    pub const SLOTS: &str = "lb_slots";
    /// Health sets: 64 members an element.
    pub const HEALTH: &str = "lb_health";
    /// Label -> [`super::Member`].
    pub const MEMBERS: &str = "lb_members";
    /// Member address -> [`super::Owner`].
    pub const OWNERS: &str = "lb_owners";
    /// [`super::ReverseKey`] -> [`super::Reverse`].
    pub const REVERSE: &str = "lb_reverse";
    /// [`super::RouteTable`], two elements.
    pub const ROUTES: &str = "lb_routes";
    /// Marks: four an element.
    pub const MARKS: &str = "lb_marks";
    /// [`super::FlowKey`] -> [`super::FlowEntry`], least recently used go first.
    pub const PENDING: &str = "lb_pending";
    /// [`super::FlowKey`] -> [`super::FlowEntry`], proven flows only.
    pub const CONFIRMED: &str = "lb_confirmed";
    /// [`RULES`] for IPv6.
    pub const RULES6: &str = "lb_rules6";
    /// [`ADDRESSES`] for IPv6.
    pub const ADDRESSES6: &str = "lb_addresses6";
    /// [`ACCESS`] for IPv6.
    pub const ACCESS6: &str = "lb_access6";
    /// [`MEMBERS`] for IPv6.
    pub const MEMBERS6: &str = "lb_members6";
    /// [`OWNERS`] for IPv6.
    pub const OWNERS6: &str = "lb_owners6";
    /// [`REVERSE`] for IPv6.
    pub const REVERSE6: &str = "lb_reverse6";
    /// [`PENDING`] for IPv6.
    pub const PENDING6: &str = "lb_pending6";
    /// [`CONFIRMED`] for IPv6.
    pub const CONFIRMED6: &str = "lb_confirmed6";
    /// Array of [`super::NatSource`].
    pub const SOURCES: &str = "lb_sources";
    /// [`SOURCES`] for IPv6.
    pub const SOURCES6: &str = "lb_sources6";
    /// [`super::FlowKey`] -> [`super::TrackEntry`], least recently used go first.
    pub const OPENING: &str = "lb_opening";
    /// [`OPENING`] for IPv6.
    pub const OPENING6: &str = "lb_opening6";
    /// [`super::FlowKey`] -> [`super::TrackEntry`], proven flows only.
    pub const TRACKED: &str = "lb_flows";
    /// [`TRACKED`] for IPv6.
    pub const TRACKED6: &str = "lb_flows6";
    /// The program of each [`crate::pipeline::Stage`].
    pub const STAGES: &str = "lb_stages";
    /// [`super::IcmpState`] of each processor.
    pub const ICMP: &str = "lb_icmp_state";
    /// A [`super::Counter`] for each [`crate::reason::Reason`].
    pub const REASONS: &str = "lb_reasons";
    /// A count for each [`crate::reason::Event`].
    pub const EVENTS: &str = "lb_events";
    /// [`super::RuleStats`] by statistics number.
    pub const RULE_STATS: &str = "lb_rule_stats";
    /// New connections by member label.
    pub const MEMBER_STATS: &str = "lb_member_stats";
    /// [`super::RangeKey`] prefix of a frontend's ports -> [`super::Range`].
    pub const RANGES: &str = "lb_ranges";
    /// [`RANGES`] for IPv6.
    pub const RANGES6: &str = "lb_ranges6";
    /// [`super::RangeKey`] prefix of a group's ports -> [`super::Range`].
    pub const REVERSE_RANGES: &str = "lb_reverse_rng";
    /// [`super::FragmentKey`] -> [`super::FragmentWord`] of packets from clients, least recently used go first.
    pub const FRAGMENTS: &str = "lb_fragments";
    /// [`FRAGMENTS`] for IPv6.
    pub const FRAGMENTS6: &str = "lb_fragments6";
    /// [`FRAGMENTS`] of packets from members: whatever clients send, answers do not suffer from it.
    pub const REPLY_FRAGMENTS: &str = "lb_reply_frags";
    /// [`REPLY_FRAGMENTS`] for IPv6.
    pub const REPLY_FRAGMENTS6: &str = "lb_reply_frags6";
    /// [`super::AnnouncedKey`] -> [`super::Announced`].
    pub const ANNOUNCED: &str = "lb_announced";
    /// [`ANNOUNCED`] for IPv6.
    pub const ANNOUNCED6: &str = "lb_announced6";
    /// Every map, in the order in which a reader would ask for them.
    pub const ALL: [&str; 43] = [
        ROOT,
        SIEVE,
        RULES,
        ADDRESSES,
        ACCESS,
        SLOTS,
        HEALTH,
        MEMBERS,
        OWNERS,
        REVERSE,
        ROUTES,
        MARKS,
        PENDING,
        CONFIRMED,
        RULES6,
        ADDRESSES6,
        ACCESS6,
        MEMBERS6,
        OWNERS6,
        REVERSE6,
        PENDING6,
        CONFIRMED6,
        SOURCES,
        SOURCES6,
        OPENING,
        OPENING6,
        TRACKED,
        TRACKED6,
        STAGES,
        ICMP,
        REASONS,
        EVENTS,
        RULE_STATS,
        MEMBER_STATS,
        ANNOUNCED,
        ANNOUNCED6,
        RANGES,
        RANGES6,
        REVERSE_RANGES,
        FRAGMENTS,
        FRAGMENTS6,
        REPLY_FRAGMENTS,
        REPLY_FRAGMENTS6,
    ];
}
