//! The maps of one address family.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use aya::Pod;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData, MapError};
use lb_common::abi::{
    AccessKey, AddressFlags, Announced, AnnouncedKey, FlowEntry, FlowKey, FlowWord, Member, NatSource, Owner,
    RangeKey, Reverse, ReverseKey, Rule, RuleKey, TrackEntry, map,
};
use lb_common::tables::Tier;
use lb_common::units::{Addr, Addr6, MemberId};

use super::plain::{Plain, Wire};
use super::ranges::Ranges;
use super::tables::{Hash, absent_is_fine, cannot_read, entries, open, open_twice, put};
use super::{error, sys};
use crate::dataplane::{Change, Error, FlowTable};
use crate::state::{self, AccessEntry, MapState, Stored};

/// Names of a family's maps.
pub(super) struct Names {
    rules: &'static str,
    ranges: &'static str,
    addresses: &'static str,
    announced: &'static str,
    access: &'static str,
    members: &'static str,
    owners: &'static str,
    reverse: &'static str,
    pending: &'static str,
    confirmed: &'static str,
    sources: &'static str,
    opening: &'static str,
    tracked: &'static str,
}

/// An address whose family has maps in the kernel.
pub(super) trait Mapped: Stored + Plain {
    const NAMES: Names;
    /// Bits of an address.
    const BITS: u8;
    /// [`TrackEntry`] as the words that it consists of.
    type TrackWords: Pod + AsRef<[u64]>;
}

impl Mapped for Addr {
    const NAMES: Names = Names {
        rules: map::RULES,
        ranges: map::RANGES,
        addresses: map::ADDRESSES,
        announced: map::ANNOUNCED,
        access: map::ACCESS,
        members: map::MEMBERS,
        owners: map::OWNERS,
        reverse: map::REVERSE,
        pending: map::PENDING,
        confirmed: map::CONFIRMED,
        sources: map::SOURCES,
        opening: map::OPENING,
        tracked: map::TRACKED,
    };
    const BITS: u8 = 32;
    type TrackWords = [u64; size_of::<TrackEntry<Addr>>() / 8];
}

impl Mapped for Addr6 {
    const NAMES: Names = Names {
        rules: map::RULES6,
        ranges: map::RANGES6,
        addresses: map::ADDRESSES6,
        announced: map::ANNOUNCED6,
        access: map::ACCESS6,
        members: map::MEMBERS6,
        owners: map::OWNERS6,
        reverse: map::REVERSE6,
        pending: map::PENDING6,
        confirmed: map::CONFIRMED6,
        sources: map::SOURCES6,
        opening: map::OPENING6,
        tracked: map::TRACKED6,
    };
    const BITS: u8 = 128;
    type TrackWords = [u64; size_of::<TrackEntry<Addr6>>() / 8];
}

/// Entries are read in batches; here their size is all that matters.
type Flows<A> = HashMap<MapData, Wire<FlowKey<A>>, [u64; 2]>;

type Tracks<A> = HashMap<MapData, Wire<FlowKey<A>>, <A as Mapped>::TrackWords>;

pub(super) struct FamilyTables<A: Mapped>
where
    RuleKey<A>: Plain,
    RangeKey<A>: Plain,
    AccessKey<A>: Plain,
    AnnouncedKey<A>: Plain,
    Member<A>: Plain,
    Reverse<A>: Plain,
    FlowKey<A>: Plain,
    NatSource<A>: Plain,
    TrackEntry<A>: Plain,
{
    rules: Hash<RuleKey<A>, Rule>,
    ranges: Ranges<A>,
    addresses: Hash<A, AddressFlags>,
    announced: Hash<AnnouncedKey<A>, Announced>,
    access: LpmTrie<MapData, Wire<AccessKey<A>>, u32>,
    members: (OwnedFd, Array<MapData, Wire<Member<A>>>),
    owners: Hash<A, Owner>,
    reverse: Hash<ReverseKey, Reverse<A>>,
    pending: (OwnedFd, Flows<A>),
    confirmed: (OwnedFd, Flows<A>),
    sources: Array<MapData, Wire<NatSource<A>>>,
    opening: (OwnedFd, Tracks<A>),
    tracked: (OwnedFd, Tracks<A>),
}

impl<A: Mapped> FamilyTables<A>
where
    RuleKey<A>: Plain + Copy + Ord,
    RangeKey<A>: Plain + Copy,
    AccessKey<A>: Plain + Copy,
    AnnouncedKey<A>: Plain + Copy + Ord,
    Member<A>: Plain + Copy,
    Reverse<A>: Plain + Copy,
    FlowKey<A>: Plain + Copy,
    NatSource<A>: Plain + Copy,
    TrackEntry<A>: Plain,
{
    /// Opens the pinned maps; each must have the sizes of its types.
    pub(super) fn open(maps: &Path) -> Result<Self, Error> {
        Ok(Self {
            rules: open(maps, A::NAMES.rules)?,
            ranges: Ranges::open(maps, A::NAMES.ranges)?,
            addresses: open(maps, A::NAMES.addresses)?,
            announced: open(maps, A::NAMES.announced)?,
            access: open(maps, A::NAMES.access)?,
            members: open_twice(maps, A::NAMES.members)?,
            owners: open(maps, A::NAMES.owners)?,
            reverse: open(maps, A::NAMES.reverse)?,
            pending: open_twice(maps, A::NAMES.pending)?,
            confirmed: open_twice(maps, A::NAMES.confirmed)?,
            sources: open(maps, A::NAMES.sources)?,
            opening: open_twice(maps, A::NAMES.opening)?,
            tracked: open_twice(maps, A::NAMES.tracked)?,
        })
    }

    /// Writes what is of this family, and nothing else. Labels and groups are of both: where one
    /// goes, it goes here, too.
    pub(super) fn write(&mut self, change: &Change) -> Result<(), MapError> {
        match change {
            Change::Rule(key, rule) => match A::of(key.address) {
                Some(address) => put(&mut self.rules, key.at(address), *rule),
                None => Ok(()),
            },
            Change::Range(ports, range) => match A::of(ports.key.of) {
                Some(address) => self.ranges.put(&ports.of(address), *range),
                None => Ok(()),
            },
            Change::Address(address, flags) => match A::of(*address) {
                Some(address) => put(&mut self.addresses, address, *flags),
                None => Ok(()),
            },
            Change::Announced(at, announced) => match A::of(at.address) {
                Some(address) => put(&mut self.announced, at.of(address), *announced),
                None => Ok(()),
            },
            Change::Owner(address, owner) => match A::of(*address) {
                Some(address) => put(&mut self.owners, address, *owner),
                None => Ok(()),
            },
            Change::Access(entry, verdict) => match (trie_key(entry), verdict) {
                (Some(key), Some(verdict)) => self.access.insert(&key, verdict, 0),
                (Some(key), None) => absent_is_fine(self.access.remove(&key)),
                (None, _) => Ok(()),
            },
            Change::Member(id, member) => {
                let ours =
                    member.and_then(|member| Some(member.at(A::of(member.address)?, A::of(member.apart)?)));
                self.members.1.set(u32::from(id.0), Wire(ours.unwrap_or_default()), 0)
            }
            Change::Reverse(key, reverse) => {
                let ours = reverse.and_then(|reverse| Some(reverse.at(A::of(reverse.address)?)));
                put(&mut self.reverse, *key, ours)
            }
            Change::Source(index, source) => {
                let ours = source.and_then(|source| Some(source.at(A::of(source.address)?)));
                self.sources.set(*index, Wire(ours.unwrap_or_default()), 0)
            }
            Change::Root(_)
            | Change::Sieve(_)
            | Change::Ring(..)
            | Change::Health(..)
            | Change::ReverseRange(..)
            | Change::Routes(..)
            | Change::NewStats(_) => Ok(()),
        }
    }

    /// Adds what is there.
    pub(super) fn read(&self, state: &mut MapState) -> Result<(), Error> {
        let rules = entries(A::NAMES.rules, &self.rules)?;
        state.rules.extend(rules.into_iter().map(|(key, rule)| (key.at(key.address.ip()), rule)));
        let ranges = self.ranges.read()?.into_iter();
        state.ranges.extend(ranges.map(|(ports, range)| (ports.of(ports.key.of.ip()), range)));
        let addresses = entries(A::NAMES.addresses, &self.addresses)?;
        state.addresses.extend(addresses.into_iter().map(|(address, flags)| (address.ip(), flags)));
        let announced = entries(A::NAMES.announced, &self.announced)?;
        state.announced.extend(announced.into_iter().map(|(key, at)| (key.of(key.address.ip()), at)));
        let owners = entries(A::NAMES.owners, &self.owners)?;
        state.owners.extend(owners.into_iter().map(|(address, owner)| (address.ip(), owner)));
        let reverse = entries(A::NAMES.reverse, &self.reverse)?;
        let reverse = reverse.into_iter().map(|(key, reverse)| (key, reverse.at(reverse.address.ip())));
        state.reverse.extend(reverse);
        for entry in &self.access {
            let (key, verdict) = entry.map_err(cannot_read(A::NAMES.access, "lists"))?;
            state.access.insert(access_entry(&key), verdict);
        }
        state.members.extend(self.read_members()?);
        for (index, source) in (0..).zip(self.sources.iter()) {
            let Wire(source) = source.map_err(cannot_read(A::NAMES.sources, "sources"))?;
            if source.ports != 0 {
                state.sources.insert(index, source.at(source.address.ip()));
            }
        }
        Ok(())
    }

    fn read_members(&self) -> Result<BTreeMap<MemberId, state::Member>, Error> {
        let count = self.members.1.len() as usize;
        let members = sys::read_array::<Member<A>>(self.members.0.as_fd(), 0, count)
            .map_err(|cause| error::map(A::NAMES.members, "cannot read the members", &cause))?;
        let labelled = (0..=u16::MAX).map(MemberId).zip(members);
        let there = labelled.filter(|(_, member)| member.present != 0);
        Ok(there.map(|(label, member)| (label, member.at(member.address.ip(), member.apart.ip()))).collect())
    }

    pub(super) fn flows(
        &self,
        table: FlowTable,
        visit: &mut dyn FnMut(&state::FlowKey, FlowWord),
    ) -> Result<(), Error> {
        let (name, (fd, _)) = match table {
            FlowTable::Pending => (A::NAMES.pending, &self.pending),
            FlowTable::Confirmed => (A::NAMES.confirmed, &self.confirmed),
        };
        let visit = |key: &FlowKey<A>, entry: &FlowEntry| {
            visit(&key.between(key.peer.ip(), key.local.ip()), entry.word());
        };
        sys::walk(fd.as_fd(), visit).map_err(|cause| error::map(name, "cannot walk it", &cause))
    }

    pub(super) fn forget(
        &mut self,
        table: FlowTable,
        key: &state::FlowKey,
        seen: FlowWord,
    ) -> Result<(), Error> {
        let (Some(peer), Some(local)) = (A::of(key.peer), A::of(key.local)) else { return Ok(()) };
        let (name, (_, flows)) = match table {
            FlowTable::Pending => (A::NAMES.pending, &mut self.pending),
            FlowTable::Confirmed => (A::NAMES.confirmed, &mut self.confirmed),
        };
        delete(flows, &Wire(key.between(peer, local)), seen)
            .map_err(|cause| error::map(name, "cannot delete an entry", &cause))
    }

    pub(super) fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&state::FlowKey, FlowWord, &state::Translation),
    ) -> Result<(), Error> {
        let (name, (fd, _)) = match tier {
            Tier::Opening => (A::NAMES.opening, &self.opening),
            Tier::Tracked => (A::NAMES.tracked, &self.tracked),
        };
        let visit = |key: &FlowKey<A>, entry: &TrackEntry<A>| {
            let to = entry.to.between(entry.to.source.ip(), entry.to.destination.ip());
            visit(&key.between(key.peer.ip(), key.local.ip()), entry.flow.word(), &to);
        };
        sys::walk(fd.as_fd(), visit).map_err(|cause| error::map(name, "cannot walk it", &cause))
    }

    pub(super) fn untrack(&mut self, tier: Tier, key: &state::FlowKey, seen: FlowWord) -> Result<(), Error> {
        let (Some(peer), Some(local)) = (A::of(key.peer), A::of(key.local)) else { return Ok(()) };
        let (name, (_, tracks)) = match tier {
            Tier::Opening => (A::NAMES.opening, &mut self.opening),
            Tier::Tracked => (A::NAMES.tracked, &mut self.tracked),
        };
        delete(tracks, &Wire(key.between(peer, local)), seen)
            .map_err(|cause| error::map(name, "cannot delete an entry", &cause))
    }
}

/// Deletes an entry, whose first word is a [`FlowWord`], unless that has changed.
fn delete<K: Pod, V: Pod + AsRef<[u64]>>(
    flows: &mut HashMap<MapData, K, V>,
    key: &K,
    seen: FlowWord,
) -> Result<(), MapError> {
    match flows.get(key, 0) {
        Ok(words) if words.as_ref().first() != Some(&seen.0) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        Ok(_) => absent_is_fine(flows.remove(key)),
        Err(cause) => Err(cause),
    }
}

/// Bits of a list's number, which count as the first ones of the prefix.
const LIST_BITS: u32 = 32;

fn trie_key<A: Mapped>(entry: &AccessEntry) -> Option<Key<Wire<AccessKey<A>>>>
where
    AccessKey<A>: Plain + Copy,
{
    let data = AccessKey { list: entry.list.to_be_bytes(), address: A::of(entry.address)? };
    Some(Key::new(LIST_BITS + u32::from(entry.length), Wire(data)))
}

fn access_entry<A: Mapped>(key: &Key<Wire<AccessKey<A>>>) -> AccessEntry
where
    AccessKey<A>: Plain + Copy,
{
    let Wire(data) = key.data();
    let length = u8::try_from(key.prefix_len().saturating_sub(LIST_BITS)).unwrap_or(A::BITS);
    AccessEntry { list: u32::from_be_bytes(data.list), address: data.address.ip(), length }
}
