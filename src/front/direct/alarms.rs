//! When which connection is to go on: of those that wait for the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The next one first. A connection that was closed meanwhile leaves its alarm behind, which wakes nobody then.
#[derive(Default)]
pub(super) struct Alarms(Mutex<BinaryHeap<Reverse<(Instant, u32)>>>);

impl Alarms {
    /// Sets one for the connection of this number. Returns whether it is the next one now.
    pub(super) fn set(&self, at: Instant, number: u32) -> bool {
        let mut alarms = self.lock();
        alarms.push(Reverse((at, number)));
        alarms.peek().is_some_and(|Reverse(next)| *next == (at, number))
    }

    /// When the next one is.
    pub(super) fn next(&self) -> Option<Instant> {
        self.lock().peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one whose time has come.
    pub(super) fn take(&self, now: Instant) -> Option<u32> {
        let mut alarms = self.lock();
        alarms.peek().filter(|Reverse((at, _))| *at <= now)?;
        alarms.pop().map(|Reverse((_, number))| number)
    }

    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<(Instant, u32)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn they_come_in_their_order_and_not_before_their_time() {
        let (alarms, begun) = (Alarms::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert!(alarms.set(at(5), 1) && !alarms.set(at(7), 2) && alarms.set(at(3), 3));
        assert_eq!((alarms.next(), alarms.take(at(2))), (Some(at(3)), None));
        assert_eq!([alarms.take(at(6)), alarms.take(at(6)), alarms.take(at(6))], [Some(3), Some(1), None]);
        assert_eq!((alarms.take(at(7)), alarms.next()), (Some(2), None));
    }
}
