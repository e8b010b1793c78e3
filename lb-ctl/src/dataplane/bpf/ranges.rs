//! Maps of port ranges.

use std::path::Path;

use aya::maps::lpm_trie::Key;
use aya::maps::{LpmTrie, MapData, MapError};
use lb_common::abi::{Range, RangeKey};

use super::plain::{Plain, Wire};
use super::tables::{absent_is_fine, cannot_read, open};
use crate::dataplane::Error;
use crate::state::PortPrefix;

/// Ranges of whatever has ports: a frontend's address, or a group.
pub(super) struct Ranges<O>
where
    RangeKey<O>: Plain,
{
    name: &'static str,
    trie: LpmTrie<MapData, Wire<RangeKey<O>>, Wire<Range>>,
}

impl<O: Copy + 'static> Ranges<O>
where
    RangeKey<O>: Plain + Copy,
{
    pub(super) fn open(maps: &Path, name: &'static str) -> Result<Self, Error> {
        Ok(Self { name, trie: open(maps, name)? })
    }

    pub(super) fn put(&mut self, ports: &PortPrefix<O>, range: Option<Range>) -> Result<(), MapError> {
        let length = RangeKey::<O>::BEFORE_PORT + u32::from(ports.length);
        let key = Key::new(length, Wire(ports.key));
        match range {
            Some(range) => self.trie.insert(&key, Wire(range), 0),
            None => absent_is_fine(self.trie.remove(&key)),
        }
    }

    pub(super) fn read(&self) -> Result<Vec<(PortPrefix<O>, Range)>, Error> {
        let ports = |key: &Key<Wire<RangeKey<O>>>| {
            let length = key.prefix_len().saturating_sub(RangeKey::<O>::BEFORE_PORT);
            let Wire(data) = key.data();
            PortPrefix { key: data, length: u8::try_from(length).unwrap_or(u8::MAX) }
        };
        self.trie
            .iter()
            .map(|entry| entry.map(|(key, range)| (ports(&key), range.0)))
            .collect::<Result<_, _>>()
            .map_err(cannot_read(self.name, "ranges"))
    }
}
