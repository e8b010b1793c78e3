//! The program under test: loaded as shipped, its maps filled, its counters read.

use std::{collections::BTreeMap, ops::Deref, path::Path};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, LpmTrie, PerCpuArray, PerCpuValues, lpm_trie::Key},
    programs::Xdp,
};
use lb_common::{
    abi::{AccessKey, Counter, Range, RangeKey, SLOTS_PER_WORD, map},
    reason::Reason,
};

use lb_common::units::Addr;
use lb_ctl::{
    dataplane::bpf::load_stages,
    state::{FamilyState, PortPrefix},
};

use crate::scene::Scene;

/// A map's value or key: any of the plain structs of `lb_common::abi`.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: used for the types of `lb_common::abi` alone, which have no implicit padding and are
// valid for any bytes.
unsafe impl<T: Copy + 'static> Pod for Plain<T> {}

pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) verified_insns: u32,
    ebpf: Ebpf,
}

impl Subject {
    pub(crate) fn load(object: &Path, scene: &Scene) -> Result<Self> {
        let loading = || format!("cannot load {}", object.display());
        let mut ebpf = Ebpf::load_file(object).with_context(loading)?;
        let program = program(&mut ebpf)?;
        program.load().with_context(loading)?;
        let verified_insns = program
            .info()?
            .verified_instruction_count()
            .context("this kernel does not tell the verified instructions")?;
        // An object to compare with may have others.
        if ebpf.map(map::RANGES).is_some() {
            load_stages(&mut ebpf).with_context(loading)?;
        }
        let name = object.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut subject = Self { name, verified_insns, ebpf };
        subject.fill(scene).with_context(|| format!("cannot fill the maps of {}", object.display()))?;
        Ok(subject)
    }

    pub(crate) fn program(&mut self) -> Result<&mut Xdp> {
        program(&mut self.ebpf)
    }

    /// Packets by reason so far.
    pub(crate) fn reasons(&self) -> Result<Vec<u64>> {
        let map = self.ebpf.map(map::REASONS).context("no map of reasons")?;
        let counters: PerCpuArray<_, Plain<Counter>> = PerCpuArray::try_from(map)?;
        let total = |index: usize| -> Result<u64> {
            let values: PerCpuValues<Plain<Counter>> = counters.get(&u32::try_from(index)?, 0)?;
            Ok(values.deref().iter().map(|counter| counter.0.packets).sum())
        };
        // An older program knows fewer.
        let known = counters.len() as usize;
        (0..Reason::ALL.len()).map(|index| if index < known { total(index) } else { Ok(0) }).collect()
    }
}

impl Subject {
    fn fill(&mut self, scene: &Scene) -> Result<()> {
        let state = &scene.state;
        self.array(map::ROOT, [(0, state.root)])?;
        self.array(map::SIEVE, std::iter::once((0, *state.sieve())))?;
        let FamilyState { rules, ranges, addresses, access, members, owners, reverse, .. } =
            state.of_family::<Addr>();
        self.hash(map::RULES, rules)?;
        self.hash(map::ADDRESSES, addresses)?;
        self.hash(map::OWNERS, owners)?;
        self.hash(map::REVERSE, reverse)?;
        self.array(map::MEMBERS, members.into_iter().map(|(id, member)| (u32::from(id.0), member)))?;
        self.array(map::HEALTH, state.health.iter().map(|(index, word)| (*index, *word)))?;
        // An object to compare with may be from before them.
        if self.ebpf.map(map::ROUTES).is_some() {
            self.array(map::ROUTES, (0..).zip(state.routes))?;
        }
        if self.ebpf.map(map::RANGES).is_some() {
            self.ranges(map::RANGES, ranges)?;
            self.ranges(map::REVERSE_RANGES, state.reverse_ranges.clone())?;
        }
        for (base, ring) in &state.rings {
            let words = ring.chunks(SLOTS_PER_WORD as usize).map(|chunk| {
                let mut word = [0u16; SLOTS_PER_WORD as usize];
                word.iter_mut().zip(chunk).for_each(|(slot, member)| *slot = member.0);
                word
            });
            self.array(map::SLOTS, (base / SLOTS_PER_WORD..).zip(words))?;
        }
        let mut trie: LpmTrie<_, Plain<AccessKey>, u32> =
            LpmTrie::try_from(self.ebpf.map_mut(map::ACCESS).context("no map of access lists")?)?;
        for (list, address, length, verdict) in access {
            let key = AccessKey { list: list.to_be_bytes(), address };
            trie.insert(&Key::new(32 + u32::from(length), Plain(key)), verdict, 0)?;
        }
        Ok(())
    }

    fn ranges<O: Copy + 'static>(
        &mut self,
        name: &str,
        ranges: BTreeMap<PortPrefix<O>, Range>,
    ) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut trie: LpmTrie<_, Plain<RangeKey<O>>, Plain<Range>> = LpmTrie::try_from(map)?;
        ranges.into_iter().try_for_each(|(PortPrefix { key, length }, range)| {
            let key = Key::new(RangeKey::<O>::BEFORE_PORT + u32::from(length), Plain(key));
            Ok(trie.insert(&key, Plain(range), 0)?)
        })
    }

    fn array<V: Copy + 'static>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (u32, V)>,
    ) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut array: Array<_, Plain<V>> = Array::try_from(map)?;
        entries.into_iter().try_for_each(|(index, value)| Ok(array.set(index, Plain(value), 0)?))
    }

    fn hash<K: Copy + 'static, V: Copy + 'static>(
        &mut self,
        name: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut hash: HashMap<_, Plain<K>, Plain<V>> = HashMap::try_from(map)?;
        entries.into_iter().try_for_each(|(key, value)| Ok(hash.insert(Plain(key), Plain(value), 0)?))
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    let program = ebpf.program_mut("lb_ingress").context("the object has no program lb_ingress")?;
    Ok(program.try_into()?)
}
