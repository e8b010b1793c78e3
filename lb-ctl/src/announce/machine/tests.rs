use std::net::IpAddr;

use super::*;

const US: Mac = [2, 0, 0, 0, 0, 5];
const LOWER: Mac = [2, 0, 0, 0, 0, 1];
const HIGHER: Mac = [2, 0, 0, 0, 0, 9];

fn key(last: u8) -> AnnouncedKey {
    AnnouncedKey { ifindex: 3, address: [203, 0, 113, last].into() }
}

/// A machine with one claim, and a clock.
struct World {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl World {
    fn new(held: bool) -> Self {
        let start = Instant::now();
        let mut world = Self { machine: Machine::default(), start, now: start };
        world.claim(held);
        world
    }

    fn claim(&mut self, held: bool) {
        self.claims([(key(10), Claim { hardware: US, held })].into());
    }

    fn claims(&mut self, wanted: BTreeMap<AnnouncedKey, Claim>) {
        let number = self.machine.claims.number + 1;
        self.machine.claim(Claims { number, wanted, ours: [US].into() }, self.now);
    }

    /// Runs for a while: what was said, and at which tenth of a second.
    fn run(&mut self, tenths: u32) -> Vec<(u128, Says)> {
        let end = self.now + Duration::from_millis(100) * tenths;
        let mut said = Vec::new();
        while let Some(at) = self.machine.next().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            let at = (self.now - self.start).as_millis() / 100;
            said.extend(self.machine.take_due(self.now).into_iter().filter_map(|deed| match deed {
                Deed::Say(says, _, _) => Some((at, says)),
                Deed::Join(_) | Deed::Leave(_) => None,
            }));
        }
        self.now = end;
        said
    }

    fn hear(&mut self, hardware: Mac, what: What) {
        let heard = Heard { address: key(10).address, hardware, what };
        self.machine.hear(3, heard, self.now);
    }

    fn standing(&self) -> Standing {
        self.machine.standings().of[&key(10)]
    }
}

use Says::{Announcement, Probe};

#[test]
fn a_new_address_is_asked_for_three_times_and_announced_once_it_is_answered_for() {
    let mut world = World::new(false);
    assert_eq!(world.run(5), [(0, Probe), (2, Probe), (4, Probe)]);
    assert_eq!(world.standing(), Standing::Asking);
    assert_eq!(world.run(1), []);
    assert_eq!(world.standing(), Standing::Ours);
    assert_eq!(world.run(4), [], "not before the data plane answers");
    world.claim(true);
    assert_eq!(world.run(100), [(10, Announcement), (30, Announcement)]);
    assert_eq!(world.standing(), Standing::Ours);
}

#[test]
fn an_address_that_a_daemon_finds_answered_for_is_ours_and_announced_again() {
    let mut world = World::new(true);
    assert_eq!(world.standing(), Standing::Ours);
    let said = [(0, Probe), (2, Probe), (4, Probe), (6, Announcement), (26, Announcement)];
    assert_eq!(world.run(100), said);
}

#[test]
fn it_is_looked_each_minute_whether_somebody_has_it_who_never_said_so() {
    let mut world = World::new(true);
    world.run(600);
    assert_eq!(world.run(700), [(626, Probe), (1228, Probe)]);
    assert_eq!(world.standing(), Standing::Ours);
}

#[test]
fn an_address_that_somebody_has_is_not_taken_and_asked_for_again() {
    let mut world = World::new(false);
    world.run(1);
    world.hear(HIGHER, What::Has);
    assert_eq!(world.standing(), Standing::Taken(HIGHER));
    assert_eq!(world.run(101), [(101, Probe)]);
    assert_eq!(world.standing(), Standing::Taken(HIGHER), "while he is asked");
    world.hear(HIGHER, What::Has);
    // Now he is gone.
    assert_eq!(world.run(105), [(202, Probe), (204, Probe), (206, Probe)]);
    assert_eq!(world.standing(), Standing::Taken(HIGHER));
    world.run(2);
    assert_eq!(world.standing(), Standing::Ours);
    world.claim(true);
    assert_eq!(world.run(30).len(), 2);
}

#[test]
fn an_address_that_is_ours_stays_so_and_nothing_is_said_against_another() {
    let mut world = World::new(true);
    world.run(10);
    world.hear(HIGHER, What::Has);
    assert_eq!(world.standing(), Standing::Contested(HIGHER));
    assert!(world.standing().is_ours());
    // Instead of the second announcement.
    assert_eq!(world.run(105), [(110, Probe), (112, Probe), (114, Probe)]);
    world.hear(HIGHER, What::Has);
    assert_eq!(world.run(80), []);
    assert_eq!(world.standing(), Standing::Contested(HIGHER));
    // He falls silent, and those whom he has told otherwise hear it.
    let said = world.run(60);
    assert_eq!(
        said.iter().map(|(_, says)| *says).collect::<Vec<_>>(),
        [Probe, Probe, Probe, Announcement, Announcement]
    );
    assert_eq!(world.standing(), Standing::Ours);
}

#[test]
fn who_claims_it_under_many_names_is_heard_once_until_it_is_looked_again() {
    let mut world = World::new(true);
    world.run(10);
    let claim = |world: &mut World, last| {
        let hardware = [2, 0, 0, 0, 1, last];
        let heard = Heard { address: key(10).address, hardware, what: What::Has };
        world.machine.hear(3, heard, world.now)
    };
    assert!(claim(&mut world, 0));
    world.run(50);
    assert!((1..100).all(|last| !claim(&mut world, last)));
    assert_eq!(world.standing(), Standing::Contested([2, 0, 0, 0, 1, 0]));
    assert_eq!(world.run(51), [(110, Probe)], "not put off by it");
    assert!(claim(&mut world, 7));
    assert_eq!(world.standing(), Standing::Contested([2, 0, 0, 0, 1, 7]));
}

#[test]
fn of_two_that_want_it_at_once_the_lower_hardware_address_has_it() {
    let mut world = World::new(false);
    world.run(1);
    world.hear(HIGHER, What::Wants);
    assert_eq!(world.standing(), Standing::Asking);
    world.hear(LOWER, What::Wants);
    assert_eq!(world.standing(), Standing::Taken(LOWER));
    // Two that wait for a third to go.
    world.run(101);
    world.hear(HIGHER, What::Wants);
    assert_eq!(world.standing(), Standing::Taken(LOWER));
    world.run(6);
    assert_eq!(world.standing(), Standing::Ours);
}

#[test]
fn who_only_asks_for_what_is_ours_has_been_answered() {
    let mut world = World::new(true);
    world.run(10);
    world.hear(LOWER, What::Wants);
    assert_eq!(world.standing(), Standing::Ours);
}

#[test]
fn we_do_not_quarrel_with_ourselves() {
    let mut world = World::new(false);
    world.run(1);
    world.hear(US, What::Has);
    assert_eq!(world.standing(), Standing::Asking);
    let elsewhere = Heard { address: key(10).address, hardware: LOWER, what: What::Has };
    world.machine.hear(4, elsewhere, world.now);
    assert_eq!(world.standing(), Standing::Asking, "another link");
}

#[test]
fn another_card_and_a_link_that_was_down_begin_anew() {
    let mut world = World::new(true);
    world.run(100);
    world.claims([(key(10), Claim { hardware: HIGHER, held: true })].into());
    assert_eq!(world.run(10).last(), Some(&(106, Announcement)));
    assert_eq!(world.standing(), Standing::Ours);
    // Down: answers end. Even if both were heard of together, others are asked again.
    world.claim(false);
    assert_eq!(world.standing(), Standing::Asking);
    assert_eq!(world.run(5).len(), 3);
    world.claims(BTreeMap::new());
    assert_eq!(world.machine.next(), None);
    assert_eq!(world.machine.standings().of, BTreeMap::new());
}

#[test]
fn groups_are_joined_for_ipv6_addresses_that_are_answered_for() {
    let mut world = World::new(false);
    let six = AnnouncedKey { ifindex: 3, address: "2001:db8::10".parse::<IpAddr>().unwrap() };
    let deeds = |world: &mut World| {
        let deeds = world.machine.take_due(world.now).into_iter();
        deeds.filter(|deed| !matches!(deed, Deed::Say(..))).collect::<Vec<_>>()
    };
    let both = |held| [key(10), six].map(|key| (key, Claim { hardware: US, held })).into();
    world.claims(both(false));
    assert_eq!(deeds(&mut world), []);
    world.claims(both(true));
    assert_eq!(deeds(&mut world), [Deed::Join(six)]);
    world.claims(both(true));
    assert_eq!(deeds(&mut world), []);
    world.claims(BTreeMap::new());
    assert_eq!(deeds(&mut world), [Deed::Leave(six)]);
}

#[test]
fn a_thousand_addresses_are_asked_for_at_a_walk() {
    let mut world = World::new(false);
    let many = (0..1000_u32).map(|n| {
        let address = IpAddr::from(u32::to_be_bytes(0x0a00_0000 + n));
        (AnnouncedKey { ifindex: 3, address }, Claim { hardware: US, held: false })
    });
    world.claims(many.collect());
    let said = world.run(10);
    assert!((500..=550).contains(&said.len()), "{} in a second", said.len());
    world.run(70);
    assert!(world.machine.standings().of.values().all(|standing| *standing == Standing::Ours));
}
