//! Ranges of ports, and what is known of fragments.

use std::collections::BTreeMap;

use aya::maps::{LpmTrie, MapData, lpm_trie};
use lb_common::abi::{FragmentKey, FragmentWord, Range, RangeKey, map};
use lb_common::units::{Addr, Addr6};
use lb_ctl::state::PortPrefix;

use super::super::native::aged;
use super::{Kernel, Wire};

const OF_V4: [&str; 2] = [map::FRAGMENTS, map::REPLY_FRAGMENTS];
const OF_V6: [&str; 2] = [map::FRAGMENTS6, map::REPLY_FRAGMENTS6];

impl Kernel {
    /// Makes a map of ranges hold exactly this.
    pub(super) fn write_ranges<O: Copy + 'static>(
        &mut self,
        name: &str,
        ranges: &BTreeMap<PortPrefix<O>, Range>,
    ) {
        let mut trie: LpmTrie<&mut MapData, Wire<RangeKey<O>>, Wire<Range>> =
            self.ebpf.map_mut(name).unwrap().try_into().unwrap();
        let there: Vec<_> = trie.iter().map(|entry| entry.unwrap().0).collect();
        for prefix in there {
            trie.remove(&prefix).unwrap();
        }
        for (PortPrefix { key, length }, range) in ranges {
            let length = RangeKey::<O>::BEFORE_PORT + u32::from(*length);
            trie.insert(&lpm_trie::Key::new(length, Wire(*key)), Wire(*range), 0).unwrap();
        }
    }

    /// Nothing is known of any fragment.
    pub(super) fn forget_fragments(&mut self) {
        for name in OF_V4 {
            self.write_hash::<FragmentKey<Addr>, u64>(name, &BTreeMap::new());
        }
        for name in OF_V6 {
            self.write_hash::<FragmentKey<Addr6>, u64>(name, &BTreeMap::new());
        }
    }

    /// So many ticks go by for what is known of them.
    pub(super) fn age_fragments(&mut self, ticks: u32) {
        for name in OF_V4 {
            self.age_family::<Addr>(name, ticks);
        }
        for name in OF_V6 {
            self.age_family::<Addr6>(name, ticks);
        }
    }

    fn age_family<A: Copy + Ord + 'static>(&mut self, name: &str, ticks: u32) {
        let hash = self.hash::<FragmentKey<A>, u64>(name);
        let known: BTreeMap<_, _> =
            hash.iter().map(Result::unwrap).map(|(key, word)| (key.0, word.0)).collect();
        let older = known.into_iter().map(|(key, word)| (key, aged(FragmentWord(word), ticks).0));
        self.write_hash(name, &older.collect());
    }
}
