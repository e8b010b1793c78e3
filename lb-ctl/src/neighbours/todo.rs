//! What has to be asked again, and when: soon after an event, never all the time.

use std::time::{Duration, Instant};

/// A first event is answered at once; those that follow, together, at most this often.
const SETTLE: Duration = Duration::from_millis(100);
/// Lost announcements mean that there are very many: read everything at most this often.
const REREAD_PAUSE: Duration = Duration::from_secs(1);
/// Everything is read again this often: what the kernel changes without an announcement (a path
/// MTU, the routes of a link that went down) is not missed for longer.
const REREAD: Duration = Duration::from_secs(30);
/// After each chore a pause of this many times what it took: many members or a huge table cost
/// more time, not more of the CPU.
const PAUSE_FACTOR: u32 = 10;

#[derive(Debug)]
pub(super) struct Todo {
    /// Read all links, addresses, neighbours and routes.
    pub(super) everything: Chore,
    /// Look up the route of each member.
    pub(super) routes: Chore,
    /// List the routing tables and their rules.
    pub(super) tables: Chore,
    /// Tell what follows from all that.
    pub(super) publish: Chore,
}

impl Todo {
    /// All of it, from then on.
    pub(super) fn everything(at: Instant) -> Self {
        let chore = Chore { wanted: false, not_before: at, pause: SETTLE, at_least_every: None };
        Self {
            everything: Chore { wanted: true, pause: REREAD_PAUSE, at_least_every: Some(REREAD), ..chore },
            routes: chore,
            tables: chore,
            publish: chore,
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        let chores = [self.everything, self.routes, self.tables, self.publish];
        chores.into_iter().filter_map(Chore::next).min()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Chore {
    wanted: bool,
    not_before: Instant,
    pause: Duration,
    at_least_every: Option<Duration>,
}

impl Chore {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Without waiting for the end of the pause.
    pub(super) fn want_now(&mut self, now: Instant) {
        self.wanted = true;
        self.not_before = self.not_before.min(now);
    }

    pub(super) fn is_due(self, now: Instant) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    pub(super) fn done(&mut self, started: Instant, now: Instant) {
        let took = now.saturating_duration_since(started);
        self.wanted = false;
        self.not_before = now + self.pause.max(took * PAUSE_FACTOR);
    }

    fn next(self) -> Option<Instant> {
        if self.wanted {
            Some(self.not_before)
        } else {
            self.at_least_every.map(|every| self.not_before + every)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Times in milliseconds at which the chore is done, if each takes `cost` and it is wanted
    /// every millisecond for a second.
    fn done_at(chore: impl Fn(&mut Todo) -> &mut Chore, cost: u32) -> Vec<u32> {
        let start = Instant::now();
        let mut todo = Todo::everything(start);
        let mut done = Vec::new();
        for millisecond in 0..1000 {
            let now = start + MILLISECOND * millisecond;
            let chore = chore(&mut todo);
            chore.want();
            if chore.is_due(now) {
                chore.done(now, now + MILLISECOND * cost);
                done.push(millisecond);
            }
        }
        done
    }

    #[test]
    fn the_first_event_is_answered_at_once_and_a_storm_ten_times_a_second() {
        let expected: Vec<_> = (0..10).map(|number| number * 100).collect();
        assert_eq!(done_at(|todo| &mut todo.routes, 0), expected);
    }

    #[test]
    fn a_chore_that_takes_long_is_done_less_often() {
        assert_eq!(done_at(|todo| &mut todo.routes, 30), [0, 330, 660, 990]);
    }

    #[test]
    fn without_any_event_everything_is_read_every_half_minute() {
        let start = Instant::now();
        let mut todo = Todo::everything(start);
        todo.everything.done(start, start);
        assert_eq!(todo.next(), Some(start + REREAD_PAUSE + REREAD));
    }

    #[test]
    fn who_asks_directly_does_not_wait_for_the_pause() {
        let start = Instant::now();
        let mut todo = Todo::everything(start);
        todo.everything.done(start, start);
        todo.routes.done(start, start);
        todo.routes.want_now(start + MILLISECOND);
        assert!(todo.routes.is_due(start + MILLISECOND));
    }
}
