//! What the maps hold: the result of compiling, and of reading them back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::abi::sieve::{self, Cell};
use lb_common::abi::{
    self, AddressFlags, Announced, Owner, ROUTE_TABLES, Range, RangeKey, ReverseKey, Root, RouteTable, Rule,
    View,
};
use lb_common::family::Family;
use lb_common::units::{Addr, Addr6, MemberId};

/// [`abi::RuleKey`] of either family.
pub type RuleKey = abi::RuleKey<IpAddr>;
/// [`abi::Member`] of either family.
pub type Member = abi::Member<IpAddr>;
/// [`abi::Reverse`] of either family.
pub type Reverse = abi::Reverse<IpAddr>;
/// [`abi::FlowKey`] of either family.
pub type FlowKey = abi::FlowKey<IpAddr>;
/// [`abi::NatSource`] of either family.
pub type NatSource = abi::NatSource<IpAddr>;
/// [`abi::Translation`] of either family.
pub type Translation = abi::Translation<IpAddr>;

/// [`abi::AnnouncedKey`] of either family.
pub type AnnouncedKey = abi::AnnouncedKey<IpAddr>;

/// Everything that user space writes into maps, flows and counters apart.
///
/// The same value describes what should be there (`compile`) and what is (`Dataplane::read`), so
/// that `plan` can tell the difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapState {
    pub root: Root,
    pub rules: BTreeMap<RuleKey, Rule>,
    /// Frontend ports that are in ranges.
    pub ranges: BTreeMap<PortPrefix<IpAddr>, Range>,
    pub addresses: BTreeMap<IpAddr, AddressFlags>,
    /// Frontends that are answered for, by link.
    pub announced: BTreeMap<AnnouncedKey, Announced>,
    /// What each prefix of the access lists says, [`access::ALLOW`] or [`access::DENY`].
    ///
    /// [`access::ALLOW`]: lb_common::abi::access::ALLOW
    /// [`access::DENY`]: lb_common::abi::access::DENY
    pub access: BTreeMap<AccessEntry, u32>,
    /// Rings by their first slot.
    pub rings: BTreeMap<u32, Arc<Vec<MemberId>>>,
    /// Words of health sets by their index.
    pub health: BTreeMap<u32, u64>,
    pub members: BTreeMap<MemberId, Member>,
    pub owners: BTreeMap<IpAddr, Owner>,
    pub reverse: BTreeMap<ReverseKey, Reverse>,
    /// Ports of groups that are in ranges.
    pub reverse_ranges: BTreeMap<PortPrefix<u32>, Range>,
    /// Addresses of ours that clients' packets may leave from, by their index.
    pub sources: BTreeMap<u32, NatSource>,
    /// Both tables of IPv4 routes; [`Root::routes`] names the one in force.
    pub routes: [RouteTable; ROUTE_TABLES],
}

/// Ports that share their first bits: as much of a range as one look-up compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortPrefix<O> {
    /// With the first of the ports.
    pub key: RangeKey<O>,
    /// Bits that count, 0..=16.
    pub length: u8,
}

/// A prefix in an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessEntry {
    /// [`Rule::list`].
    pub list: u32,
    /// Network address.
    pub address: IpAddr,
    /// 0..=32, or 0..=128.
    pub length: u8,
}

impl<O> PortPrefix<O> {
    /// The same of another owner, or of this one in another form.
    #[must_use]
    pub fn of<P>(self, of: P) -> PortPrefix<P> {
        PortPrefix { key: self.key.at(of), length: self.length }
    }
}

/// An address as the maps of its family have it.
pub trait Stored: Family {
    /// `None` for an address of the other family.
    fn of(address: IpAddr) -> Option<Self>;
    /// As people have it.
    fn ip(self) -> IpAddr;
}

impl Stored for Addr {
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(Self::from_wire(address.octets())),
            IpAddr::V6(_) => None,
        }
    }

    fn ip(self) -> IpAddr {
        self.wire().into()
    }
}

impl Stored for Addr6 {
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(Self::from_wire(address.octets())),
        }
    }

    fn ip(self) -> IpAddr {
        self.wire().into()
    }
}

/// What the maps of one family hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyState<A> {
    pub rules: BTreeMap<abi::RuleKey<A>, Rule>,
    pub ranges: BTreeMap<PortPrefix<A>, Range>,
    pub addresses: BTreeMap<A, AddressFlags>,
    pub announced: BTreeMap<abi::AnnouncedKey<A>, Announced>,
    /// List, network address, length of the prefix, and verdict.
    pub access: Vec<(u32, A, u8, u32)>,
    pub members: BTreeMap<MemberId, abi::Member<A>>,
    pub owners: BTreeMap<A, Owner>,
    pub reverse: BTreeMap<ReverseKey, abi::Reverse<A>>,
    pub sources: BTreeMap<u32, abi::NatSource<A>>,
}

impl MapState {
    /// The part that is of one family.
    #[must_use]
    pub fn of_family<A: Stored>(&self) -> FamilyState<A> {
        let (members, reverse, sources) = (self.members.iter(), self.reverse.iter(), self.sources.iter());
        FamilyState {
            rules: self
                .rules
                .iter()
                .filter_map(|(key, rule)| Some((key.at(A::of(key.address)?), *rule)))
                .collect(),
            ranges: self
                .ranges
                .iter()
                .filter_map(|(at, range)| Some((at.of(A::of(at.key.of)?), *range)))
                .collect(),
            addresses: self.addresses.iter().filter_map(|(at, flags)| Some((A::of(*at)?, *flags))).collect(),
            announced: self
                .announced
                .iter()
                .filter_map(|(key, at)| Some((key.of(A::of(key.address)?), *at)))
                .collect(),
            access: self
                .access
                .iter()
                .filter_map(|(at, verdict)| Some((at.list, A::of(at.address)?, at.length, *verdict)))
                .collect(),
            members: members
                .filter_map(|(id, it)| Some((*id, it.at(A::of(it.address)?, A::of(it.apart)?))))
                .collect(),
            owners: self.owners.iter().filter_map(|(at, owner)| Some((A::of(*at)?, *owner))).collect(),
            reverse: reverse.filter_map(|(key, it)| Some((*key, it.at(A::of(it.address)?)))).collect(),
            sources: sources.filter_map(|(at, it)| Some((*at, it.at(A::of(it.address)?)))).collect(),
        }
    }

    /// The sieve that these addresses and members ask for.
    #[must_use]
    pub fn sieve(&self) -> Box<[u64; sieve::WORDS]> {
        let mut words = Box::new([0; sieve::WORDS]);
        let mut add = |address: IpAddr, cell| match address {
            IpAddr::V4(address) => sieve::add(&mut words, Addr::from_wire(address.octets()), cell),
            IpAddr::V6(address) => sieve::add(&mut words, Addr6::from_wire(address.octets()), cell),
        };
        for (address, flags) in &self.addresses {
            if flags.has(AddressFlags::FRONTEND) {
                add(*address, Cell::FRONTEND);
            }
            if flags.has(AddressFlags::OWN) {
                add(*address, Cell::OWN);
            }
        }
        for member in self.members.values() {
            add(member.address, Cell::MEMBER);
        }
        words
    }

    /// Whether a member accepts new connections of a view's rule.
    #[must_use]
    pub fn accepts(&self, view: &View, member: MemberId) -> bool {
        let (word, bit) = member.health_place();
        let Some(word) = word.checked_sub(view.health_skip).filter(|word| *word < view.health_words) else {
            return false;
        };
        self.health.get(&(view.health_base + u32::from(word))).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// The compiled routes in force.
    #[must_use]
    pub fn routes_in_force(&self) -> &RouteTable {
        &self.routes[routes_place(self.root.routes)]
    }

    /// The rules of the epoch in force.
    pub fn rules_in_force(&self) -> impl Iterator<Item = (&RuleKey, &Rule)> {
        let epoch = self.root.epoch;
        self.rules.iter().filter(move |(key, _)| u32::from(key.epoch) == epoch)
    }
}

/// Which of the two tables a generation of compiled routes is in.
#[must_use]
pub fn routes_place(generation: u32) -> usize {
    generation as usize % ROUTE_TABLES
}
