//! Addresses of ours that clients' packets leave from, where members must not see the client.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_common::abi::{Forwarding, NAT_SOURCES};

use super::{Input, Labels, Refusal};
use crate::config::model::Prefix;
use crate::state::{MapState, NatSource};

/// Below the ports that hosts open connections of their own from by default (`net.ipv4.ip_local_port_range`), so
/// that none of ours meets one of the host's between the same two ends.
pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 1024..=32_767;

/// The addresses for one set of members, in the order in which they lie in the map.
type Run = Vec<IpAddr>;

/// Where the sources of members are.
pub(super) struct Sources {
    runs: BTreeMap<Run, u32>,
    of_pools: BTreeMap<(IpAddr, Forwarding), Run>,
    frontends: BTreeSet<IpAddr>,
}

impl Sources {
    /// Gives each set of addresses its place: the one that it has, else a free one.
    pub(super) fn place(input: &Input<'_>, labels: &Labels, state: &mut MapState) -> Result<Self, Refusal> {
        let mut sources = Self {
            runs: BTreeMap::new(),
            of_pools: of_pools(input),
            frontends: input.config.frontends().iter().map(|frontend| frontend.address).collect(),
        };
        let there = runs(input.observed);
        let mut taken: BTreeSet<u32> = input.observed.sources.keys().copied().collect();
        let members =
            labels.keys().copied().chain(input.observed.members.values().map(super::backends::kind));
        let wanted: BTreeSet<Run> = members.map(|member| sources.run(member, input)).collect();
        for run in wanted.into_iter().filter(|run| !run.is_empty()) {
            let length = u32::try_from(run.len()).unwrap_or(u32::MAX);
            let first = match there.get(&run) {
                Some(first) => *first,
                None => free(&taken, length).ok_or_else(|| no_room(taken.len() + run.len()))?,
            };
            taken.extend(first..first + length);
            state.sources.extend((first..).zip(entries(&run)));
            sources.runs.insert(run, first);
        }
        Ok(sources)
    }

    /// The place of a member's sources; 0 if it has none.
    pub(super) fn first(&self, member: (IpAddr, Forwarding), input: &Input<'_>) -> u16 {
        let first = self.runs.get(&self.run(member, input)).copied().unwrap_or(0);
        u16::try_from(first).unwrap_or(0)
    }

    /// What the file says, else the host's own address on the way to the member. A frontend's is none: what comes
    /// back to it would be taken for a client's.
    fn run(&self, member: (IpAddr, Forwarding), input: &Input<'_>) -> Run {
        let (address, forwarding) = member;
        if let Some(run) = self.of_pools.get(&member) {
            return run.clone();
        }
        match forwarding {
            Forwarding::Nat | Forwarding::FullNat => {
                let near = input.host.near.get(&address);
                let own = near.into_iter().flat_map(|near| &near.own);
                own.copied().filter(|own| !self.frontends.contains(own)).take(1).collect()
            }
            Forwarding::DsrL2 | Forwarding::DsrIpip => Run::new(),
        }
    }
}

/// The bits of a client's address that may differ from the member's where it is plainly forwarded.
pub(super) fn apart((address, forwarding): (IpAddr, Forwarding), first: u16, input: &Input<'_>) -> IpAddr {
    match forwarding {
        Forwarding::Nat => {
            let near = input.host.near.get(&address).and_then(|near| near.network);
            near.filter(|_| first != 0).unwrap_or_else(|| Prefix::host(address)).mask()
        }
        Forwarding::FullNat | Forwarding::DsrL2 | Forwarding::DsrIpip => Prefix { address, length: 0 }.mask(),
    }
}

/// The sources that the file gives the members of each pool.
fn of_pools(input: &Input<'_>) -> BTreeMap<(IpAddr, Forwarding), Run> {
    let mut all = BTreeMap::<_, BTreeSet<IpAddr>>::new();
    for pool in input.config.pools().iter().filter(|pool| !pool.sources.is_empty()) {
        for backend in &pool.backends {
            let ours = pool.sources.iter().filter(|source| source.is_ipv4() == backend.address.is_ipv4());
            all.entry((backend.address, pool.forwarding)).or_default().extend(ours);
        }
    }
    all.into_iter().map(|(member, run)| (member, run.into_iter().collect())).collect()
}

fn entries(run: &Run) -> impl Iterator<Item = NatSource> + '_ {
    let lengths = (1..=u16::try_from(run.len()).unwrap_or(u16::MAX)).rev();
    run.iter().zip(lengths).map(|(&address, run)| NatSource {
        address,
        first: *PORTS.start(),
        ports: PORTS.end() - PORTS.start() + 1,
        run,
        reserved: 0,
    })
}

/// The sets of addresses that the maps hold, and their places.
fn runs(maps: &MapState) -> BTreeMap<Run, u32> {
    let mut runs = BTreeMap::new();
    let mut next = 0;
    for (&first, source) in &maps.sources {
        if first >= next {
            next = first + u32::from(source.run);
            let run = maps.sources.range(first..next).map(|(_, source)| source.address).collect();
            runs.insert(run, first);
        }
    }
    runs
}

/// The first of so many places that nobody has; the place 0 is no source.
fn free(taken: &BTreeSet<u32>, length: u32) -> Option<u32> {
    let mut first = 1;
    for &place in taken {
        if place >= first + length {
            break;
        }
        first = first.max(place + 1);
    }
    (first + length <= NAT_SOURCES).then_some(first)
}

fn no_room(needed: usize) -> Refusal {
    Refusal::NoRoom {
        what: "source addresses",
        needed: needed as u64,
        room: u64::from(NAT_SOURCES) - 1,
        option: "number of nodes; there is no option for this",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_takes_the_first_gap_that_is_long_enough() {
        let taken = BTreeSet::from([1, 2, 5, 8]);
        assert_eq!([1, 2, 3].map(|length| free(&taken, length)), [Some(3), Some(3), Some(9)]);
        assert_eq!(free(&BTreeSet::new(), 2), Some(1));
        assert_eq!(free(&(1..NAT_SOURCES).collect(), 1), None);
    }

    #[test]
    fn runs_are_read_back_as_they_were_written() {
        let (one, two) =
            (Run::from([[10, 0, 0, 1].into()]), vec![[10, 0, 0, 2].into(), [10, 0, 0, 3].into()]);
        let mut maps = MapState::default();
        maps.sources.extend((1..).zip(entries(&one)));
        maps.sources.extend((2..).zip(entries(&two)));
        assert_eq!(runs(&maps), BTreeMap::from([(one, 1), (two, 2)]));
    }
}
