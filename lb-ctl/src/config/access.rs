//! Access lists: what is written, first match first, and the same as longest-prefix verdicts.

use std::net::IpAddr;

use super::model::Prefix;

/// Who may use a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    entries: Vec<Entry>,
    applies_to: AppliesTo,
    flat: Flat,
}

/// What a list says without its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Flat {
    verdicts: Vec<(Prefix, Verdict)>,
    contradicted: Vec<(usize, usize)>,
}

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    pub verdict: Verdict,
    pub prefix: Prefix,
}

/// What becomes of a packet whose source is in a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Allow,
    Deny,
}

/// Which packets a list judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppliesTo {
    /// Each one: who loses access is cut off at once.
    #[default]
    AllPackets,
    /// Those that open a connection; what is open stays open (S-SEC-6).
    NewFlows,
}

impl Access {
    /// `entries` in their order: the first whose prefix has the source in it counts, and where none
    /// has, nobody gets in (S-SEC-1, S-SEC-3). Those of another family than the frontend's count
    /// for nothing, so that one list serves both frontends of a dual-stack service.
    #[must_use]
    pub fn new(entries: Vec<Entry>, applies_to: AppliesTo, frontend: IpAddr) -> Self {
        let flat = flatten(&entries, frontend);
        Self { entries, applies_to, flat }
    }

    /// What is written, in its order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    #[must_use]
    pub fn applies_to(&self) -> AppliesTo {
        self.applies_to
    }

    /// The same without an order, sorted by prefix: of all that have a source in them the longest
    /// decides, and where none has, nobody gets in. None says what the one around it says.
    #[must_use]
    pub fn verdicts(&self) -> &[(Prefix, Verdict)] {
        &self.flat.verdicts
    }

    /// Entries that never count although they say the opposite of the earlier one that covers
    /// them: (entry, the earlier one).
    #[must_use]
    pub fn contradicted(&self) -> &[(usize, usize)] {
        &self.flat.contradicted
    }

    /// Nobody may use the rule.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.flat.verdicts.is_empty()
    }

    /// Everybody may.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.flat.verdicts[..], [(Prefix { length: 0, .. }, Verdict::Allow)])
    }
}

/// Drops an entry that an earlier one covers, as it never counts. Of those that are left, the
/// narrower of two that overlap is the earlier one, so that the longest match is the first match.
/// Of these, one that says what would be said without it is left out as well.
fn flatten(entries: &[Entry], frontend: IpAddr) -> Flat {
    let concerned = |&index: &usize| entries[index].prefix.address.is_ipv4() == frontend.is_ipv4();
    let mut outermost_first: Vec<usize> = (0..entries.len()).filter(concerned).collect();
    outermost_first.sort_unstable_by_key(|&index| (entries[index].prefix, index));
    let mut flat = Flat::default();
    // The entries around the present one, each inside the one before it.
    let mut around = Vec::<usize>::new();
    for index in outermost_first {
        let Entry { verdict, prefix } = entries[index];
        while around.pop_if(|outer| !entries[*outer].prefix.covers(prefix)).is_some() {}
        let outer = around.last().copied();
        let otherwise = outer.map_or(Verdict::Deny, |outer| entries[outer].verdict);
        if let Some(outer) = outer.filter(|&outer| outer < index) {
            if verdict != otherwise {
                flat.contradicted.push((index, outer));
            }
            continue;
        }
        if verdict != otherwise {
            flat.verdicts.push((prefix, verdict));
        }
        around.push(index);
    }
    flat.contradicted.sort_unstable();
    flat
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says where it stopped")]

    use std::net::Ipv4Addr;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::Verdict::{Allow, Deny};
    use super::*;

    const FRONTEND: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

    fn ipv4(address: IpAddr) -> Ipv4Addr {
        let IpAddr::V4(address) = address else { unreachable!("prefixes here are IPv4") };
        address
    }

    fn prefix(text: &str) -> Prefix {
        let (address, length) = text.split_once('/').unwrap();
        Prefix { address: address.parse().unwrap(), length: length.parse().unwrap() }
    }

    fn access(entries: &[(Verdict, &str)]) -> Access {
        let entry = |&(verdict, text): &(Verdict, &str)| Entry { verdict, prefix: prefix(text) };
        Access::new(entries.iter().map(entry).collect(), AppliesTo::AllPackets, FRONTEND)
    }

    fn verdicts(entries: &[(Verdict, &str)]) -> Vec<(Verdict, String)> {
        let access = access(entries);
        let shown = |(p, v): &(Prefix, Verdict)| (*v, format!("{}/{}", p.address, p.length));
        access.verdicts().iter().map(shown).collect()
    }

    /// S-SEC-10.
    #[test]
    fn a_narrow_entry_before_a_wide_one_stays_s_sec_10() {
        let list = [(Deny, "175.1.0.0/24"), (Allow, "175.0.0.0/8")];
        assert_eq!(verdicts(&list), [(Allow, "175.0.0.0/8".to_owned()), (Deny, "175.1.0.0/24".to_owned())]);
        let access = access(&list);
        let may = |source: [u8; 4]| longest_match(access.verdicts(), source.into()) == Allow;
        assert_eq!([[175, 1, 0, 9], [175, 2, 0, 9], [8, 8, 8, 8]].map(may), [false, true, false]);
    }

    #[test]
    fn an_entry_behind_a_wider_one_is_dropped() {
        let list = [(Allow, "10.0.0.0/8"), (Deny, "10.1.0.0/16"), (Allow, "10.2.0.0/16")];
        assert_eq!(verdicts(&list), [(Allow, "10.0.0.0/8".to_owned())]);
        assert_eq!(access(&list).contradicted(), [(1, 0)], "the third says nothing else");
    }

    #[test]
    fn an_entry_that_is_dropped_because_of_another_still_hides_a_later_one() {
        let list = [(Allow, "10.1.0.0/16"), (Allow, "10.1.2.0/24"), (Deny, "10.1.2.3/32")];
        assert_eq!(verdicts(&list), [(Allow, "10.1.0.0/16".to_owned())]);
        let list = [(Allow, "10.1.2.0/24"), (Deny, "10.1.2.3/32"), (Allow, "10.1.0.0/16")];
        assert_eq!(verdicts(&list), [(Allow, "10.1.0.0/16".to_owned())]);
        assert_eq!(access(&list).contradicted(), [(1, 0)]);
    }

    /// S-SEC-9 would open a list that only denies.
    #[test]
    fn nobody_and_everybody_are_known_s_sec_9() {
        assert!(access(&[]).is_closed() && !access(&[]).is_open());
        assert!(access(&[(Deny, "10.0.0.0/8"), (Deny, "0.0.0.0/0")]).is_closed());
        assert!(access(&[(Deny, "0.0.0.0/0"), (Allow, "10.0.0.0/8")]).is_closed());
        let open = access(&[(Allow, "10.0.0.0/8"), (Allow, "0.0.0.0/0"), (Deny, "10.1.0.0/16")]);
        assert!(open.is_open() && !open.is_closed());
        let but_one = access(&[(Deny, "10.0.0.1/32"), (Allow, "0.0.0.0/0")]);
        assert!(!but_one.is_open() && !but_one.is_closed());
    }

    #[test]
    fn one_list_serves_both_families() {
        let list = [(Allow, "0.0.0.0/0"), (Deny, "2001:db8:1::/48"), (Allow, "2001:db8::/32")];
        let of = |frontend: &str| {
            let entry = |&(verdict, text): &(Verdict, &str)| Entry { verdict, prefix: prefix(text) };
            let entries = list.iter().map(entry).collect();
            Access::new(entries, AppliesTo::AllPackets, frontend.parse().unwrap())
        };
        assert!(of("203.0.113.10").is_open());
        let v6 = of("2001:db8::10");
        let verdicts = [(prefix("2001:db8::/32"), Allow), (prefix("2001:db8:1::/48"), Deny)];
        assert_eq!(v6.verdicts(), verdicts);
        assert_eq!(v6.entries().len(), 3);
    }

    #[test]
    fn a_long_list_is_flattened_at_once() {
        let entry = |number: u32| Entry {
            verdict: if number.is_multiple_of(3) { Deny } else { Allow },
            prefix: Prefix { address: Ipv4Addr::from_bits(number << 8).into(), length: 24 },
        };
        let begun = Instant::now();
        let access = Access::new((0..262_144).rev().map(entry).collect(), AppliesTo::AllPackets, FRONTEND);
        assert_eq!(access.verdicts().len(), 262_144 * 2 / 3);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }

    fn first_match(entries: &[Entry], source: Ipv4Addr) -> Verdict {
        entries.iter().find(|entry| covers(entry.prefix, source)).map_or(Deny, |entry| entry.verdict)
    }

    fn longest_match(verdicts: &[(Prefix, Verdict)], source: Ipv4Addr) -> Verdict {
        let covering = verdicts.iter().filter(|(prefix, _)| covers(*prefix, source));
        covering.max_by_key(|(prefix, _)| prefix.length).map_or(Deny, |(_, verdict)| *verdict)
    }

    fn covers(prefix: Prefix, source: Ipv4Addr) -> bool {
        let IpAddr::V4(network) = prefix.address else { return false };
        (0..prefix.length).all(|bit| (network.to_bits() ^ source.to_bits()) << bit >> 31 == 0)
    }

    /// Prefixes of 192.0.2.0/28 and of everything around it, so that most of them overlap.
    fn entry() -> impl Strategy<Value = Entry> {
        let length = prop_oneof![8 => 26..=32u8, 1 => 0..26u8];
        (any::<bool>(), length, 0..16u32).prop_map(|(allow, length, low)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            let address = Ipv4Addr::from_bits((0xc000_0200 | low) & mask);
            Entry {
                verdict: if allow { Allow } else { Deny },
                prefix: Prefix { address: address.into(), length },
            }
        })
    }

    proptest! {
        #[test]
        fn the_longest_match_is_the_first_match(entries in prop::collection::vec(entry(), 0..24)) {
            let access = Access::new(entries.clone(), AppliesTo::AllPackets, FRONTEND);
            let around = (0xc000_01f0..0xc000_0240).chain([0, u32::MAX, 0x8000_0000, 0xc000_0000]);
            for source in around.map(Ipv4Addr::from_bits) {
                prop_assert_eq!(
                    longest_match(access.verdicts(), source), first_match(&entries, source), "{}", source
                );
            }
        }

        #[test]
        fn no_verdict_says_what_the_one_around_it_says(entries in prop::collection::vec(entry(), 0..24)) {
            let access = Access::new(entries, AppliesTo::AllPackets, FRONTEND);
            for &(prefix, verdict) in access.verdicts() {
                let mut wider = access.verdicts().to_vec();
                wider.retain(|(other, _)| other.length < prefix.length);
                prop_assert_ne!(longest_match(&wider, ipv4(prefix.address)), verdict);
            }
        }
    }
}
