//! A data plane that fails on purpose, to prove that a failed apply leaves the old state or the new.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lb_common::abi::{FlowWord, RuleStats};
use lb_common::tables::Tier;
use lb_common::units::MemberId;

use super::{Attachment, Change, Counters, Dataplane, Error, FlowTable, Limits};
use crate::config::model::XdpMode;
use crate::state::{FlowKey, MapState, Translation};

/// Another data plane, some of whose writes fail.
#[derive(Debug)]
pub struct Faulty<D> {
    inner: D,
    faults: Faults,
}

/// Says which writes fail; a handle that a test keeps.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Default)]
struct Plan {
    /// Writes asked for so far, failed ones included.
    writes: u64,
    fails: Option<Fails>,
}

/// The number of the write, counted from 1, and what is written.
type Fails = Box<dyn FnMut(u64, &Change) -> bool + Send>;

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("writes", &self.writes).finish_non_exhaustive()
    }
}

impl<D> Faulty<D> {
    /// Fails nothing until it is told to.
    pub fn new(inner: D) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { inner, faults: faults.clone() }, faults)
    }
}

impl Faults {
    /// From now on a write fails, without effect, for which this says so. Writes count from 1.
    pub fn fail_when(&self, fails: impl FnMut(u64, &Change) -> bool + Send + 'static) {
        let mut plan = self.plan();
        plan.writes = 0;
        plan.fails = Some(Box::new(fails));
    }

    /// The `n`-th write from now on fails, once.
    pub fn fail_write(&self, n: u64) {
        self.fail_when(move |number, _| number == n);
    }

    /// The `n`-th write from now on fails, and all later ones: what a kill would leave.
    pub fn fail_from(&self, n: u64) {
        self.fail_when(move |number, _| number >= n);
    }

    /// No further write fails.
    pub fn heal(&self) {
        self.plan().fails = None;
    }

    /// Writes asked for since the last plan was made, or since the start.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.plan().writes
    }

    fn strikes(&self, change: &Change) -> Option<u64> {
        let mut plan = self.plan();
        plan.writes += 1;
        let number = plan.writes;
        plan.fails.as_mut().is_some_and(|fails| fails(number, change)).then_some(number)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Dataplane> Dataplane for Faulty<D> {
    fn read(&self) -> Result<MapState, Error> {
        self.inner.read()
    }

    fn write(&mut self, change: &Change) -> Result<(), Error> {
        match self.faults.strikes(change) {
            Some(number) => Err(Error::Map {
                map: "faulty",
                what: format!("cannot write the {change}"),
                cause: format!("write {number} was to fail"),
            }),
            None => self.inner.write(change),
        }
    }

    fn quiesce(&self) {
        self.inner.quiesce();
    }

    fn flows(&self, table: FlowTable, visit: &mut dyn FnMut(&FlowKey, FlowWord)) -> Result<(), Error> {
        self.inner.flows(table, visit)
    }

    fn forget(&mut self, table: FlowTable, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.inner.forget(table, key, seen)
    }

    fn tracked(
        &self,
        tier: Tier,
        visit: &mut dyn FnMut(&FlowKey, FlowWord, &Translation),
    ) -> Result<(), Error> {
        self.inner.tracked(tier, visit)
    }

    fn untrack(&mut self, tier: Tier, key: &FlowKey, seen: FlowWord) -> Result<(), Error> {
        self.inner.untrack(tier, key, seen)
    }

    fn counters(&self) -> Result<Counters, Error> {
        self.inner.counters()
    }

    fn rule_stats(&self, stats: u32) -> Result<RuleStats, Error> {
        self.inner.rule_stats(stats)
    }

    fn member_opened(&self, member: MemberId) -> Result<u64, Error> {
        self.inner.member_opened(member)
    }

    fn clock(&self) -> Result<(u64, u32), Error> {
        self.inner.clock()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn attach(&mut self, ifindex: u32, mode: XdpMode) -> Result<Attachment, Error> {
        self.inner.attach(ifindex, mode)
    }

    fn detach(&mut self, ifindex: u32) -> Result<(), Error> {
        self.inner.detach(ifindex)
    }

    fn attached(&self) -> Result<Vec<(u32, Attachment)>, Error> {
        self.inner.attached()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::fake::Fake;

    /// Which of these writes arrive.
    fn arrived(faulty: &mut Faulty<Fake>, words: std::ops::Range<u32>) -> Vec<bool> {
        words.map(|word| faulty.write(&Change::Health(word, 1)).is_ok()).collect()
    }

    #[test]
    fn the_write_that_was_named_fails_once() {
        let (mut dataplane, faults) = Faulty::new(Fake::default());
        assert_eq!(arrived(&mut dataplane, 0..2), [true, true]);
        faults.fail_write(2);
        assert_eq!(arrived(&mut dataplane, 0..3), [true, false, true]);
        assert_eq!(faults.writes(), 3);
    }

    #[test]
    fn a_kill_lets_nothing_through_until_it_heals() {
        let (mut dataplane, faults) = Faulty::new(Fake::default());
        faults.fail_from(2);
        assert_eq!(arrived(&mut dataplane, 0..3), [true, false, false]);
        faults.heal();
        assert_eq!(arrived(&mut dataplane, 0..1), [true]);
    }

    #[test]
    fn a_kind_of_write_fails_and_others_do_not() {
        let (mut dataplane, faults) = Faulty::new(Fake::default());
        faults.fail_when(|_, change| matches!(change, Change::Root(_)));
        let root = dataplane.read().unwrap().root;
        let error = dataplane.write(&Change::Root(root)).unwrap_err().to_string();
        assert_eq!(error, "map faulty: cannot write the root, epoch 0: write 1 was to fail");
        assert_eq!(arrived(&mut dataplane, 0..1), [true]);
    }
}
