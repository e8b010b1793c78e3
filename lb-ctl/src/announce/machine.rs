//! What is said to whom and when, and what follows from what is heard. No input or output, no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::wire::{Heard, Says, What};
use super::{Claim, Claims, Mac, Standing, Standings};
use crate::state::AnnouncedKey;

/// Questions before an address that is new is taken up, and the time for an answer to each. RFC 5227
/// (section 1.1) waits for a second or two, for links of any kind and hosts that are asleep; on an
/// Ethernet hosts answer within milliseconds, and this is all the time that a new frontend is not found.
const QUESTIONS: u8 = 3;
const ANSWER: Duration = Duration::from_millis(200);
/// RFC 5227 (section 1.1: two, two seconds apart), and not more than RFC 4861 (section 10) has.
const ANNOUNCEMENTS: u8 = 2;
const BETWEEN: Duration = Duration::from_secs(2);
/// Whether somebody who has an address of ours has it still.
const AGAIN: Duration = Duration::from_secs(10);
/// Whether somebody has it who never said so.
const WATCH: Duration = Duration::from_mins(1);
/// At most this many frames at once, and a pause between: 500 per second.
const BATCH: usize = 50;
const BATCH_PAUSE: Duration = Duration::from_millis(100);

/// What has to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    Say(Says, AnnouncedKey, Mac),
    /// Questions for the address must reach us.
    Join(AnnouncedKey),
    /// They need not any more.
    Leave(AnnouncedKey),
}

/// All claims.
#[derive(Debug, Default)]
pub(super) struct Machine {
    claims: Claims,
    cases: BTreeMap<AnnouncedKey, Case>,
    deeds: Vec<Deed>,
    not_before: Option<Instant>,
}

/// One claim.
#[derive(Debug)]
struct Case {
    claim: Claim,
    /// Who else has the address.
    other: Option<Mac>,
    /// Everybody knows that it is here.
    told: bool,
    phase: Phase,
    due: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Questions that are left.
    Asking(u8),
    /// Announcements that are left.
    Announcing(u8),
    /// Until somebody should be asked again.
    Resting,
}

impl Machine {
    /// Takes over what is claimed now.
    pub(super) fn claim(&mut self, claims: Claims, now: Instant) {
        let before = std::mem::replace(&mut self.claims, claims);
        for (key, _) in before.wanted.iter().filter(|(key, claim)| claim.held && key.address.is_ipv6()) {
            if !self.claims.wanted.get(key).is_some_and(|claim| claim.held) {
                self.deeds.push(Deed::Leave(*key));
            }
        }
        self.cases.retain(|key, _| self.claims.wanted.contains_key(key));
        for (&key, &claim) in &self.claims.wanted {
            let case = self.cases.entry(key).or_insert_with(|| Case::new(claim, now));
            let held_before = before.wanted.get(&key).is_some_and(|claim| claim.held);
            if claim.held && !held_before && key.address.is_ipv6() {
                self.deeds.push(Deed::Join(key));
            }
            case.update(claim, now);
        }
    }

    /// Somebody on the link has said something; `true` if it concerns us.
    pub(super) fn hear(&mut self, ifindex: u32, heard: Heard, now: Instant) -> bool {
        let key = AnnouncedKey { ifindex, address: heard.address };
        let somebody_else = !self.claims.ours.contains(&heard.hardware);
        self.cases.get_mut(&key).filter(|_| somebody_else).is_some_and(|case| case.hear(heard, now))
    }

    /// What is due now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Deed> {
        let mut deeds = std::mem::take(&mut self.deeds);
        if self.not_before.is_some_and(|at| now < at) {
            return deeds;
        }
        let mut said = 0;
        let mut due: Vec<_> = self.cases.iter_mut().filter(|(_, case)| case.due <= now).collect();
        due.sort_by_key(|(_, case)| case.due);
        for (&key, case) in due {
            if said == BATCH {
                break;
            }
            if let Some(says) = case.step(now) {
                deeds.push(Deed::Say(says, key, case.claim.hardware));
                said += 1;
            }
        }
        self.not_before = (said > 0).then(|| now + BATCH_PAUSE);
        deeds
    }

    /// When to come back.
    pub(super) fn next(&self) -> Option<Instant> {
        let first = self.cases.values().map(|case| case.due).min()?;
        Some(self.not_before.map_or(first, |at| first.max(at)))
    }

    pub(super) fn standings(&self) -> Standings {
        let of = self.cases.iter().map(|(&key, case)| (key, case.standing()));
        Standings { number: self.claims.number, of: of.collect() }
    }
}

impl Case {
    fn new(claim: Claim, now: Instant) -> Self {
        Self { claim, other: None, told: false, phase: Phase::Asking(QUESTIONS), due: now }
    }

    fn update(&mut self, claim: Claim, now: Instant) {
        let before = std::mem::replace(&mut self.claim, claim);
        if before.hardware != claim.hardware || before.held && !claim.held {
            *self = Self { other: self.other, ..Self::new(claim, now) };
        } else if claim.held && !before.held && self.other.is_none() && self.phase == Phase::Resting {
            self.go_to(Phase::Announcing(ANNOUNCEMENTS), now);
        }
    }

    fn hear(&mut self, heard: Heard, now: Instant) -> bool {
        // Once is enough until it is looked again: nobody keeps us busy by saying so under many names.
        if self.other.is_some() && self.phase == Phase::Resting {
            return false;
        }
        // Of two that want it at the same time the one with the lower hardware address has it: if both
        // gave way, as RFC 5227 (section 2.1.1) has it, they would meet again and again.
        let asks = !self.claim.held && matches!(self.phase, Phase::Asking(_));
        let gives_way = asks && heard.hardware < self.claim.hardware;
        let concerns_us = heard.what == What::Has || gives_way;
        if concerns_us {
            self.other = Some(heard.hardware);
            self.go_to(Phase::Resting, now + AGAIN);
        }
        concerns_us
    }

    /// What is to be said now.
    fn step(&mut self, now: Instant) -> Option<Says> {
        match self.phase {
            Phase::Resting => {
                // A question that is lost must not look like silence where somebody was.
                let routine = self.claim.held && self.other.is_none();
                self.go_to(Phase::Asking(if routine { 1 } else { QUESTIONS }), now);
                self.step(now)
            }
            Phase::Asking(0) => {
                self.nobody_has_it(now);
                if self.due <= now { self.step(now) } else { None }
            }
            Phase::Asking(left) => {
                self.go_to(Phase::Asking(left - 1), now + ANSWER);
                Some(Says::Probe)
            }
            Phase::Announcing(left) => {
                self.told = true;
                match left {
                    0 | 1 => self.go_to(Phase::Resting, now + WATCH),
                    _ => self.go_to(Phase::Announcing(left - 1), now + BETWEEN),
                }
                Some(Says::Announcement)
            }
        }
    }

    fn nobody_has_it(&mut self, now: Instant) {
        self.told &= self.other.take().is_none();
        if self.claim.held && !self.told {
            self.go_to(Phase::Announcing(ANNOUNCEMENTS), now);
        } else {
            self.go_to(Phase::Resting, now + WATCH);
        }
    }

    fn go_to(&mut self, phase: Phase, due: Instant) {
        (self.phase, self.due) = (phase, due);
    }

    fn standing(&self) -> Standing {
        match (self.claim.held, self.other, self.phase) {
            (true, Some(other), _) => Standing::Contested(other),
            (false, Some(other), _) => Standing::Taken(other),
            (false, None, Phase::Asking(_)) => Standing::Asking,
            (_, None, _) => Standing::Ours,
        }
    }
}

#[cfg(test)]
mod tests;
