//! What the maps hold: the result of compiling, and of reading them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use lb_common::abi::sieve::{self, Cell};
use lb_common::abi::{AddressFlags, Member, Owner, Reverse, ReverseKey, Root, Rule, RuleKey, View};
use lb_common::units::{Addr, MemberId};

/// Everything that user space writes into maps, flows and counters apart.
///
/// The same value describes what should be there (`compile`) and what is (`Dataplane::read`), so
/// that `plan` can tell the difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MapState {
    pub root: Root,
    pub rules: BTreeMap<RuleKey, Rule>,
    pub addresses: BTreeMap<Addr, AddressFlags>,
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
    pub owners: BTreeMap<Addr, Owner>,
    pub reverse: BTreeMap<ReverseKey, Reverse>,
}

/// A prefix in an access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessEntry {
    /// [`Rule::list`].
    pub list: u32,
    /// Network address.
    pub address: Addr,
    /// 0..=32.
    pub length: u8,
}

impl MapState {
    /// The sieve that these addresses and members ask for.
    #[must_use]
    pub fn sieve(&self) -> Box<[u64; sieve::WORDS]> {
        let mut words = Box::new([0; sieve::WORDS]);
        for (address, flags) in &self.addresses {
            if flags.has(AddressFlags::FRONTEND) {
                sieve::add(&mut words, *address, Cell::FRONTEND);
            }
            if flags.has(AddressFlags::OWN) {
                sieve::add(&mut words, *address, Cell::OWN);
            }
        }
        for address in self.owners.keys() {
            sieve::add(&mut words, *address, Cell::MEMBER);
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

    /// The rules of the epoch in force.
    pub fn rules_in_force(&self) -> impl Iterator<Item = (&RuleKey, &Rule)> {
        let epoch = self.root.epoch;
        self.rules.iter().filter(move |(key, _)| u32::from(key.epoch) == epoch)
    }
}
