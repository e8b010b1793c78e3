#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests count and compare"
)]

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const KEY: RingKey = RingKey(*b"key of the tests");

fn member(number: u16, weight: u16) -> Member {
    Member { address: address(number), weight, id: number + 1 }
}

fn address(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

fn equal_members(count: u16) -> Vec<Member> {
    (0..count).map(|number| member(number, 1)).collect()
}

/// Slots of each member, in the order given.
fn slots_of(ring: &[u16], members: &[Member]) -> Vec<usize> {
    let mut counts = vec![0_usize; usize::from(u16::MAX) + 1];
    for &id in ring {
        counts[usize::from(id)] += 1;
    }
    members.iter().map(|member| counts[usize::from(member.id)]).collect()
}

fn share_of(member: &Member, members: &[Member], slots: u32) -> f64 {
    let total: u32 = members.iter().map(|member| u32::from(member.weight)).sum();
    f64::from(slots) * f64::from(member.weight) / f64::from(total)
}

/// A fingerprint that needs no library: FNV-1a over the ids in little-endian order.
fn fnv1a(ring: &[u16]) -> u64 {
    ring.iter()
        .flat_map(|id| id.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Share of the ring that belongs to another member once `removed` is gone.
fn moved_without(members: &[Member], ring: &[u16], removed: usize) -> f64 {
    let mut rest = members.to_vec();
    rest.remove(removed);
    let after = build(KEY, &rest, ring.len() as u32);
    let moved = ring.iter().zip(&after).filter(|(before, after)| before != after).count();
    moved as f64 / ring.len() as f64
}

/// SipHash-2-4 with 128 bits of output, from the reference implementation's vectors: the hash of
/// no input under the key 00 01 .. 0f.
#[test]
fn hash_is_siphash_2_4_128() {
    let key: [u8; 16] = std::array::from_fn(|index| index as u8);
    let hash = SipHasher24::new_with_key(&key).hash(&[]);
    let expected =
        [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93];
    assert_eq!([hash.h1.to_le_bytes(), hash.h2.to_le_bytes()].concat(), expected);
}

struct Golden {
    name: &'static str,
    members: Vec<Member>,
    slots: u32,
    first: [u16; 16],
    fingerprint: u64,
}

/// The expected values come from an implementation of its own, written in another language from
/// the description at the top of `ring.rs`. Other numbers here mean that nodes of two versions
/// disagree and that an upgrade moves connections.
#[test]
fn golden_rings() {
    let rows = [
        Golden {
            name: "one member",
            members: equal_members(1),
            slots: 4_099,
            first: [1; 16],
            fingerprint: 0xf01c_3541_d075_c46c,
        },
        Golden {
            name: "three equal members",
            members: equal_members(3),
            slots: 4_099,
            first: [2, 2, 1, 3, 1, 3, 1, 3, 2, 2, 2, 1, 3, 3, 1, 1],
            fingerprint: 0x5fda_e716_83c8_686c,
        },
        Golden {
            name: "weights 1..10",
            members: (0..10).map(|number| member(number, number + 1)).collect(),
            slots: 4_099,
            first: [6, 2, 9, 7, 7, 8, 10, 10, 9, 7, 2, 6, 5, 9, 9, 7],
            fingerprint: 0xf617_8845_1a6f_799c,
        },
        Golden {
            name: "1,000 members",
            members: equal_members(1_000),
            slots: 100_003,
            first: [675, 979, 205, 196, 970, 804, 918, 959, 990, 785, 944, 994, 12, 690, 55, 454],
            fingerprint: 0xa8ab_024f_b785_6cd5,
        },
    ];
    for row in rows {
        let ring = build(KEY, &row.members, row.slots);
        assert_eq!(ring[..16], row.first, "{}", row.name);
        assert_eq!(fnv1a(&ring), row.fingerprint, "{}", row.name);
    }
}

#[test]
fn ring_without_members_names_nobody() {
    assert_eq!(build(KEY, &[], 4_099), vec![NO_MEMBER; 4_099]);
    assert_eq!(build(KEY, &[member(1, 0), member(2, 0)], 4_099), vec![NO_MEMBER; 4_099]);
}

#[test]
fn weight_zero_has_no_slot_and_changes_nothing_for_others() {
    let with = [member(1, 3), member(2, 0), member(3, 5)];
    let without = [member(1, 3), member(3, 5)];
    assert_eq!(build(KEY, &with, 4_099), build(KEY, &without, 4_099));
}

#[test]
fn another_key_gives_another_ring() {
    let members = equal_members(10);
    let other = RingKey([7; 16]);
    let same = build(KEY, &members, 4_099)
        .iter()
        .zip(build(other, &members, 4_099))
        .filter(|(ours, theirs)| **ours == *theirs)
        .count();
    assert!(same < 4_099 / 5, "{same} slots agree, a tenth is chance");
}

#[test]
fn ipv4_address_and_its_mapped_form_have_the_same_place() {
    let mapped = |member: &Member| Member { address: IpAddr::V6(hashed_address(member.address)), ..*member };
    let members = equal_members(5);
    let in_ipv6: Vec<Member> = members.iter().map(mapped).collect();
    assert_eq!(build(KEY, &members, 4_099), build(KEY, &in_ipv6, 4_099));
}

#[test]
fn sizes_are_prime_and_hold_a_hundred_slots_for_each_member() {
    assert!(SIZES.into_iter().all(is_prime));
    assert!(SIZES.is_sorted());
    assert_eq!(SIZES.last(), Some(&LARGEST));
    for members in 0..=1_310 {
        assert!(size_for(members) >= 4_099.max(100 * members), "{members} members");
    }
    for members in [1_311, 65_535, u32::MAX] {
        assert_eq!(size_for(members), LARGEST);
    }
}

#[test]
#[should_panic(expected = "not prime")]
fn size_that_is_not_prime_is_refused() {
    let _ = build(KEY, &equal_members(2), 4_096);
}

/// S-DIST-9.
#[test]
fn equal_members_have_equal_shares() {
    for count in [1, 2, 3, 7, 10, 40, 41, 100, 327, 1_000, 1_310] {
        let members = equal_members(count);
        let slots = size_for(u32::from(count));
        let share = f64::from(slots) / f64::from(count);
        for has in slots_of(&build(KEY, &members, slots), &members) {
            let error = (has as f64 - share).abs();
            assert!(error <= (share / 100.0).max(1.0), "{has} slots, share {share}, N = {count}");
        }
    }
}

/// The hardest case: the smallest shares that weights 1..10 can have in a ring of full size.
#[test]
fn light_member_among_heavy_ones_has_its_share() {
    let mut members: Vec<Member> = (0..1_000).map(|number| member(number, 10)).collect();
    members[500].weight = 1;
    assert_weighted_shares(&members, 100_003);
}

fn assert_weighted_shares(members: &[Member], slots: u32) {
    let ring = build(KEY, members, slots);
    for (has, member) in slots_of(&ring, members).into_iter().zip(members) {
        let share = share_of(member, members, slots);
        let error = (has as f64 - share).abs() / share;
        assert!(error <= 0.05, "{has} slots, share {share}, of {} members", members.len());
    }
}

/// Run with `--nocapture` to see the figures.
/// S-POOL-11.
#[test]
fn removing_a_member_moves_little_more_than_its_share() {
    for (count, removals) in [(2_u16, 2), (3, 3), (10, 10), (100, 100), (1_000, 12)] {
        for weight_of in [|_| 1, |number: u16| 1 + number % 10] {
            let members: Vec<Member> = (0..count).map(|number| member(number, weight_of(number))).collect();
            let slots = size_for(u32::from(count));
            let ring = build(KEY, &members, slots);
            let removed: Vec<usize> =
                (0..usize::from(count)).step_by(usize::from(count) / removals).collect();
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            let moved = mean(removed.iter().map(|&one| moved_without(&members, &ring, one)).collect());
            let share = mean(
                removed
                    .iter()
                    .map(|&one| share_of(&members[one], &members, slots) / f64::from(slots))
                    .collect(),
            );
            let weights = if weight_of(1) == 1 { "equal" } else { "1..10" };
            println!(
                "N = {count}, weights {weights}: {:.2} % moved, share {:.2} %, surplus {:.2} %",
                100.0 * moved,
                100.0 * share,
                100.0 * (moved - share)
            );
            assert!(moved <= share + 0.025, "N = {count}, weights {weights}");
        }
    }
}

/// Run in release mode with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn time_to_build_the_ring_of_a_thousand_members() {
    for weight_of in [|_| 1, |number: u16| 1 + number % 10] {
        let members: Vec<Member> = (0..1_000).map(|number| member(number, weight_of(number))).collect();
        let start = std::time::Instant::now();
        let ring = build(KEY, &members, 100_003);
        println!("{:?}, fingerprint {:x}", start.elapsed(), fnv1a(&ring));
    }
}

fn any_members(most: usize) -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(any::<u32>(), 1_u16..=10, 1..=most).prop_map(|members| {
        let with_id = |(index, (address, weight)): (usize, (u32, u16))| Member {
            address: IpAddr::V4(Ipv4Addr::from_bits(address)),
            weight,
            id: index as u16 + 1,
        };
        members.into_iter().enumerate().map(with_id).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn order_does_not_matter(
        (members, shuffled) in any_members(60)
            .prop_flat_map(|members| (Just(members.clone()), Just(members).prop_shuffle())),
    ) {
        prop_assert_eq!(build(KEY, &members, 8_209), build(KEY, &shuffled, 8_209));
    }

    /// Ids are labels: other ids are the same ring under other names.
    #[test]
    fn ids_do_not_matter(members in any_members(60), shift in 1_u16..1_000) {
        let renamed: Vec<Member> =
            members.iter().map(|member| Member { id: member.id + shift, ..*member }).collect();
        let expected: Vec<u16> =
            build(KEY, &members, 8_209).into_iter().map(|id| id + shift).collect();
        prop_assert_eq!(build(KEY, &renamed, 8_209), expected);
    }

    /// S-POOL-6, S-DIST-8: Azure has no weights.
    #[test]
    fn weights_are_kept(members in any_members(400)) {
        assert_weighted_shares(&members, size_for(members.len() as u32));
    }
}
